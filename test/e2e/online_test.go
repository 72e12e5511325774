package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/liveclient"
)

// TestOnline rebuilds under a live volume, each time on another volume of the same targets.
func TestOnline(t *testing.T) {
	for _, binary := range targettest.Binaries(t) {
		t.Run(flavour(binary), func(t *testing.T) {
			testOnline(t, func() *targettest.Target { return targettest.Start(t, binary) })
		})
	}
}

func TestSimulatedOnline(t *testing.T) {
	for _, flavour := range []simtarget.Flavour{simtarget.Fork, simtarget.Upstream} {
		t.Run(flavour.String(), func(t *testing.T) {
			fabric := simtarget.NewFabric()
			testOnline(t, func() *targettest.Target { return targettest.Simulate(t, fabric, flavour) })
		})
	}
}

func testOnline(t *testing.T, start func() *targettest.Target) {
	at := &liveTargets{home: start(), to: start(), members: []*targettest.Target{start(), start()}}
	tests := []struct {
		name string
		run  func(t *testing.T, at *liveTargets)
	}{
		{"two members", rebuildUnderTwoMembers},
		{"reads through the snapshot until it lands", landUnderReads},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.run(t, at)
			at.requireAlive(t)
		})
	}
}

func rebuildUnderTwoMembers(t *testing.T, at *liveTargets) {
	v := growLiveVolume(t, at, 2, true, func(p *place, replica string) { p.growSource(t, replica) })
	v.start(t, liveclient.Config{Longest: 8192, Pause: 4 * time.Millisecond})
	v.awaitWrites(t, 20)
	report := v.rebuild(t)
	v.awaitWrites(t, 20)
	v.stop(t)
	require.NotEmpty(t, report.Online.Cut)
	v.requireWhole(t)
	for i, p := range v.members {
		p.requireAsItWas(t, liveMembers[i])
		p.requireHealthy(t, liveMembers[i])
	}
	require.Zero(t, v.rebuild(t).Online.Freezes, "it is whole")
}

// No client writes, so that all reads of the destination go through the members' snapshots
// until the live head lands. A target that exchanges its parent then without a freeze crashes.
func landUnderReads(t *testing.T, at *liveTargets) {
	v := growLiveVolume(t, at, 1, true, func(p *place, replica string) { p.growSource(t, replica) })
	v.start(t, liveclient.Config{Clients: 24, Longest: 4096, Pause: 100 * time.Microsecond, Reads: 1})
	v.rebuild(t)
	v.stop(t)
	v.requireWhole(t)
}
