package app_test

import (
	"fmt"
	"hash/fnv"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// TestEveryCallFailsOnce is TestEveryStepFailsOnce for the JSON-RPC calls that the
// SPDK adapter makes of two simulated targets: so each moment of a graft over a
// spacer, of a seal, of an export is met. Before the rebuild both targets were
// started again, so that snapshots without clones are asleep.
func TestEveryCallFailsOnce(t *testing.T) {
	if *replay != "" {
		p := replayed(t, *replay)
		failCallOnce(t, p.world, p.flavours, p.verify, p.runs[0][0])
		return
	}
	var calls, runs atomic.Int64
	t.Cleanup(func() {
		t.Logf("%d JSON-RPC calls, %d runs with a fault, each with a run after it", calls.Load(), runs.Load())
	})
	for _, w := range faultWorlds {
		for _, f := range allFlavours {
			t.Run(fmt.Sprintf("%s/%s", w.name, f), func(t *testing.T) {
				t.Parallel()
				all := callsInBubble(t, w, f)
				calls.Add(int64(len(all)))
				for i, p := range all {
					if *soak && i%25 == 0 {
						t.Logf("%d of %d calls", i, len(all))
					}
					for _, k := range callFaultKinds {
						for _, lasts := range []bool{false, true} {
							s := strike{faultPoint: p, kind: k, lasts: lasts}
							if lasts && !k.lasts() || !callChosen(w, f, s) {
								continue
							}
							failCallOnce(t, w, f, verifyCounts, s)
							runs.Add(1)
						}
					}
				}
			})
		}
	}
}

func callChosen(w faultWorld, f flavours, s strike) bool {
	if *soak {
		return true
	}
	oneIn := uint32(600)
	if raceDetector {
		oneIn = 12000
	}
	sum := fnv.New32a()
	sum.Write([]byte(runText(w, f, verifyCounts, s)))
	return sum.Sum32()%oneIn == 0
}

// callsInBubble are the calls of a rebuild that nothing befalls.
func callsInBubble(t *testing.T, w faultWorld, f flavours) (all []faultPoint) {
	synctest.Test(t, func(t *testing.T) {
		on := growTargets(t, w, f)
		defer on.end()
		s, err := strikeCalls(on)
		require.NoError(t, err)
		on.requireEqual(w.image > 0)
		all = s.made
	})
	return all
}

func failCallOnce(t *testing.T, w faultWorld, f flavours, v verification, s strike) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		defer sayHowToReplay(t, "TestEveryCallFailsOnce", w, f, v, s)
		on := growTargets(t, w, f)
		defer on.end()
		after := newAftermath(t, w, f, on)
		seen, err := strikeCalls(on, s)
		after.look(seen, v, err)
		after.check()
		if s.heals() && len(seen.struck) > 0 {
			require.NoError(t, err, "the fault passes")
			on.requireEqual(w.image > 0)
		}
		after.converge()
	})
}
