package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
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
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.run(t, at)
			at.requireAlive(t)
		})
	}
}

func rebuildUnderTwoMembers(t *testing.T, at *liveTargets) {
	v := newLiveVolume(t, at, 2)
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
