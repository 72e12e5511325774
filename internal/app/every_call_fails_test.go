package app_test

import (
	"fmt"
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
		failCallOnce(t, p)
		return
	}
	var calls, runs atomic.Int64
	t.Cleanup(func() {
		t.Logf("%d JSON-RPC calls, %d runs with a fault, each with a run after it", calls.Load(), runs.Load())
	})
	for _, w := range faultScenarios {
		for _, f := range w.flavours() {
			t.Run(fmt.Sprintf("%s/%s", w.name, f), func(t *testing.T) {
				t.Parallel()
				for _, parallel := range underDetector(atOnce) {
					clean := trial{world: w, flavours: f, verify: verifyCounts, parallel: parallel}
					all := callsInBubble(t, clean)
					calls.Add(int64(len(all)))
					for i, p := range all {
						if *soak && i%25 == 0 {
							t.Logf("%d of %d calls", i, len(all))
						}
						for _, s := range callStrikesAt(p) {
							if one := clean.with(s); callChosen(one) {
								failCallOnce(t, one)
								runs.Add(1)
							}
						}
					}
				}
			})
		}
	}
}

func callStrikesAt(p faultPoint) (all []injection) {
	for _, k := range callFaultKinds {
		all = append(all, injection{faultPoint: p, kind: k})
		if k.lasts() {
			all = append(all, injection{faultPoint: p, kind: k, lasts: true})
		}
	}
	return all
}

func callChosen(p trial) bool {
	if *soak {
		return true
	}
	oneIn := uint32(800)
	if p.parallel == 1 {
		oneIn = 2400
	}
	if raceDetector {
		oneIn = 12000
	}
	return p.isDrawn(oneIn)
}

// callsInBubble are the calls of a rebuild that nothing befalls.
func callsInBubble(t *testing.T, p trial) (all []faultPoint) {
	synctest.Test(t, func(t *testing.T) {
		on := newTargets(t, p)
		defer on.end()
		s, err := runWithCallFaults(on)
		require.NoError(t, err)
		on.requireEqual(p.world.image > 0)
		all = s.made
	})
	return all
}

func failCallOnce(t *testing.T, p trial) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		defer sayHowToReplay(t, "TestEveryCallFailsOnce", p)
		on := newTargets(t, p)
		defer on.end()
		after := newAftermath(t, p, on)
		seen, err := runWithCallFaults(on, p.runs[0]...)
		after.look(seen, p.verify, err)
		after.check()
		if len(seen.struck) > 0 && seen.struck[0].heals() {
			require.NoError(t, err, "the fault passes")
			on.requireEqual(p.world.image > 0)
		}
		after.converge()
	})
}
