package raid_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/freezer"
	"github.com/rootgraft/rebuild/internal/adapters/spdk"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/raid"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
)

// TestFreezeRoundTrips counts the answers that a freeze waits for, one after the other. The
// first call of Suspend stops nobody yet, and is counted, too. On a busy machine calls that go
// together may not overlap, and one that asks for a bdev may come too early: of several freezes
// the one with the fewest counts.
func TestFreezeRoundTrips(t *testing.T) {
	for flavour, most := range map[simtarget.Flavour]int{simtarget.Fork: 9, simtarget.Upstream: 13} {
		t.Run(flavour.String(), func(t *testing.T) {
			t.Parallel()
			fewest := most + 1
			for attempt := 0; attempt < 8 && fewest > most; attempt++ {
				t.Run("freeze", func(t *testing.T) { fewest = min(fewest, freezeTrips(t, flavour)) })
			}
			require.LessOrEqual(t, fewest, most)
		})
	}
}

func freezeTrips(t *testing.T, flavour simtarget.Flavour) int {
	t.Helper()
	fabric := simtarget.NewFabric()
	home, to := targettest.SimulatePolled(t, fabric, flavour), targettest.SimulatePolled(t, fabric, flavour)
	tally := targettest.NewTally()
	v := newVolume(t, home)
	_, all := v.members(t)
	through := func(target *targettest.Target, h *spdk.Host) *spdk.Host {
		_, store := h.Identity()
		proxied, err := spdk.Open(t.Context(), spdk.Config{Socket: tally.Proxy(t, target.Socket), Lvstore: store})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, proxied.Close()) })
		return proxied
	}
	for i, h := range v.hosts {
		v.hosts[i] = through(home, h)
	}
	var err error
	v.Mirror, err = raid.OpenMirror(t.Context(), raid.MirrorConfig{Socket: tally.Proxy(t, home.Socket), RAID: all.Name})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, v.Close()) })
	b := prepare(t, v, through(to, openStore(t, to)))
	tally.Take()
	var work int
	require.NoError(t, freezer.Func(v.Suspend, v.Resume).Freeze(t.Context(), time.Minute, func(context.Context) error {
		stopping := tally.Take().Trips
		b.cut(t, v)
		work = stopping + tally.Take().Trips
		return nil
	}))
	trips := work + tally.Take().Trips
	t.Logf("%d round trips", trips)
	_, now := v.members(t)
	require.Len(t, now.Members, 3)
	b.end(t, v)
	return trips
}
