package app_test

import (
	"flag"
	"fmt"
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
		failOnce(t, p)
		return
	}
	var points, runs atomic.Int64
	t.Cleanup(func() { t.Logf("%d calls, %d runs with a fault, each with a run after it", points.Load(), runs.Load()) })
	for _, w := range faultScenarios {
		for _, f := range w.flavours() {
			t.Run(fmt.Sprintf("%s/%s", w.name, f), func(t *testing.T) {
				t.Parallel()
				for _, v := range []verification{verifyCounts, verifyProof, verifyViews} {
					for _, parallel := range underDetector(atOnce) {
						clean := trial{world: w, flavours: f, verify: v, parallel: parallel}
						all := pointsInBubble(t, clean)
						points.Add(int64(len(all)))
						for _, p := range all {
							for _, s := range strikesAt(p, v) {
								if one := clean.with(s); chosen(one) {
									failOnce(t, one)
									runs.Add(1)
								}
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
func strikesAt(p faultPoint, v verification) (all []injection) {
	for _, k := range faultKinds {
		if !k.canBefall(p) || v != verifyCounts && p.method != "prove" && p.method != "open" && p.method != "read" && !k.spoils {
			continue
		}
		all = append(all, injection{faultPoint: p, kind: k})
		if k.lasts() {
			all = append(all, injection{faultPoint: p, kind: k, lasts: true})
		}
	}
	return all
}

// chosen picks one in so many, always the same.
func chosen(p trial) bool {
	if *soak {
		return true
	}
	oneIn := uint32(30)
	if p.parallel == 1 {
		oneIn = 60
	}
	if raceDetector {
		oneIn = 300
	}
	if p.runs[0][0].kind.copies {
		oneIn /= 5 // there are few copies
	}
	return p.isDrawn(oneIn)
}

func pointsInBubble(t *testing.T, p trial) (all []faultPoint) {
	synctest.Test(t, func(t *testing.T) { all = faultPoints(t, p) })
	return all
}

func failOnce(t *testing.T, p trial) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		defer sayHowToReplay(t, "TestEveryStepFailsOnce", p)
		b, request := p.build(t)
		after := newAftermath(t, p, memoryEnvironment{b, request})
		clean := after.missing(after.sourceBefore, after.before)
		seen, report, err := runWithFaults(b, request, p.runs[0]...)
		if p.parallel > 1 && p.runs[0][0].kind.copies && len(seen.struck) == 0 {
			return // the copies that it can befall came first
		}
		require.NotEmpty(t, seen.struck, "the fault has not struck")
		after.look(seen, p.verify, err)
		after.check()
		if len(after.spoilt) > 0 && !after.blind {
			require.Error(t, err, "the copy was spoiled")
		}
		if s := seen.struck[0]; s.heals() {
			after.heals(s, p.parallel, report, clean)
		}
		after.converge()
	})
}

func sayHowToReplay(t *testing.T, test string, p trial) {
	if t.Failed() {
		t.Logf("replay it: go test ./internal/app -run %s -replay '%s'", test, p)
	}
}
