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
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
	"github.com/rootgraft/rebuild/internal/randid"
)

// TestFreezeRoundTrips counts the answers that a freeze waits for, one after the other. The
// first call of Suspend stops nobody yet, and is counted, too. On a busy machine calls that go
// together may not overlap, and one that asks for a bdev may come too early: of several freezes
// those with the fewest count.
func TestFreezeRoundTrips(t *testing.T) {
	for flavour, most := range map[simtarget.Flavour]int{simtarget.Fork: 9, simtarget.Upstream: 13} {
		t.Run(flavour.String(), func(t *testing.T) {
			t.Parallel()
			const mostLanding = 6
			fewest, fewestLanding := most+1, mostLanding+1
			for attempt := 0; attempt < 8 && (fewest > most || fewestLanding > mostLanding); attempt++ {
				t.Run("freeze", func(t *testing.T) {
					cut, landing := freezeTrips(t, flavour)
					fewest, fewestLanding = min(fewest, cut), min(fewestLanding, landing)
				})
			}
			require.LessOrEqual(t, fewest, most)
			require.LessOrEqual(t, fewestLanding, mostLanding)
		})
	}
}

func freezeTrips(t *testing.T, flavour simtarget.Flavour) (cut, landing int) {
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
	frozen := func(work func()) int {
		tally.Take()
		var stopping, working int
		require.NoError(t, freezer.Func(v.Suspend, v.Resume).Freeze(t.Context(), time.Minute, func(context.Context) error {
			stopping = tally.Take().Trips
			work()
			working = tally.Take().Trips
			return nil
		}))
		return stopping + working + tally.Take().Trips
	}
	cut = frozen(func() { b.cut(t, v) })
	_, now := v.members(t)
	require.Len(t, now.Members, 3)

	copied, err := b.host.Create(t.Context(), domain.InFlightLvolName(b.run.Replica, randid.Hex(4)), clusters*cluster)
	require.NoError(t, err)
	copied, err = b.host.Seal(t.Context(), copied, domain.SnapshotLvolName(b.run.Replica, "cut"), ports.SealRecord{})
	require.NoError(t, err)
	seen, err := b.host.Look(t.Context(), b.head)
	require.NoError(t, err)
	landing = frozen(func() {
		again, err := b.host.Look(t.Context(), b.head)
		require.NoError(t, err)
		require.Equal(t, seen, again)
		require.NoError(t, b.host.Graft(t.Context(), b.head, copied))
	})
	t.Logf("%d round trips, and %d for the landing", cut, landing)
	b.end(t, v)
	return cut, landing
}
