package app_test

import (
	"flag"
	"fmt"
	"hash/fnv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

var (
	soak   = flag.Bool("soak", false, "play every fault at every call, and 100,000 pairs of them; takes minutes")
	replay = flag.String("replay", "", "play one run with faults, as a failure has printed it, such as 'branching/fork-fork/counts: destination seal 2 answer-lost'")
)

// TestEveryStepFailsOnce has each call of a rebuild fail in each way, once and for
// the rest of the run, and rebuilds again over what is left. aftermath_test.go says
// what must hold then. Without -soak it plays a part, another one for each kind, so
// that every call fails in some ways and every way is met at some calls.
func TestEveryStepFailsOnce(t *testing.T) {
	if *replay != "" {
		p := replayed(t, *replay)
		failOnce(t, p.world, p.flavours, p.verify, p.runs[0][0])
		return
	}
	var points, runs atomic.Int64
	t.Cleanup(func() { t.Logf("%d calls, %d runs with a fault, each with a run after it", points.Load(), runs.Load()) })
	for _, w := range faultWorlds {
		for _, f := range allFlavours {
			t.Run(fmt.Sprintf("%s/%s", w.name, f), func(t *testing.T) {
				t.Parallel()
				for _, v := range []verification{verifyCounts, verifyProof, verifyViews} {
					all := pointsInBubble(t, w, f, v)
					points.Add(int64(len(all)))
					for _, p := range all {
						for _, s := range strikesAt(p, v) {
							if chosen(w, f, v, s) {
								failOnce(t, w, f, v, s)
								runs.Add(1)
							}
						}
					}
				}
			})
		}
	}
}

// strikesAt are all faults that can befall a call. A stricter verification only
// adds calls at the end, so what is not about copies is played there alone.
func strikesAt(p faultPoint, v verification) (all []strike) {
	for _, k := range faultKinds {
		if !k.canBefall(p) || v != verifyCounts && p.method != "prove" && p.method != "open" && p.method != "read" && !k.spoils {
			continue
		}
		all = append(all, strike{faultPoint: p, kind: k})
		if k.lasts() {
			all = append(all, strike{faultPoint: p, kind: k, lasts: true})
		}
	}
	return all
}

// chosen picks one in so many, always the same.
func chosen(w faultWorld, f flavours, v verification, s strike) bool {
	if *soak {
		return true
	}
	oneIn := uint32(20)
	if raceDetector {
		oneIn = 300
	}
	if s.kind.copies {
		oneIn /= 5 // there are few copies
	}
	sum := fnv.New32a()
	sum.Write([]byte(runText(w, f, v, s)))
	return sum.Sum32()%oneIn == 0
}

func pointsInBubble(t *testing.T, w faultWorld, f flavours, v verification) (all []faultPoint) {
	synctest.Test(t, func(t *testing.T) { all = faultPoints(t, w, f, v) })
	return all
}

func failOnce(t *testing.T, w faultWorld, f flavours, v verification, s strike) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		defer sayHowToReplay(t, "TestEveryStepFailsOnce", w, f, v, s)
		b, request := w.grow(t, f)
		after := newAftermath(t, w, f, inMemory{b, request})
		clean := after.missing(after.sourceBefore, after.before)
		seen, report, err := strikeRun(b, v.of(request), s)
		require.NotEmpty(t, seen.struck, "the fault has not struck")
		after.look(seen, v, err)
		after.check()
		if after.spoilt && !after.blind {
			require.Error(t, err, "the copy was spoiled")
		}
		if s.heals() {
			after.heals(s, report, clean)
		}
		after.converge()
	})
}

func sayHowToReplay(t *testing.T, test string, w faultWorld, f flavours, v verification, s strike) {
	if t.Failed() {
		t.Logf("replay it: go test ./internal/app -run %s -replay '%s'", test, runText(w, f, v, s))
	}
}

// replayed is a run as a failure prints it.
func replayed(t *testing.T, text string) pair {
	t.Helper()
	where, what, ok := strings.Cut(text, ": ")
	place := strings.Split(where, "/")
	require.True(t, ok && len(place) == 3, "%q: expected WORLD/FLAVOURS/VERIFICATION: SIDE CALL N KIND [lasting]; …", text)
	strikes, err := parseStrikes(what)
	require.NoError(t, err)
	for _, w := range faultWorlds {
		for _, f := range allFlavours {
			if w.name == place[0] && f.String() == place[1] {
				return pair{world: w, flavours: f, verify: verification(place[2]), parallel: 1, runs: [][]strike{strikes}}
			}
		}
	}
	t.Fatalf("%q: there is no %s", text, where)
	return pair{}
}
