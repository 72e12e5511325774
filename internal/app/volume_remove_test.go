package app_test

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/ports"
)

// A creation of the volume died, and one of its replicas was deleted and made again since, so it has
// another head. The deletion of the volume does not touch that, and then the volume can be made.
func TestVolumeDeletionLeavesReplicaThatWasMadeAgain(t *testing.T) {
	for _, dies := range []string{"peer", "make"} { // before, and after the heads are exported
		b := newMakeFixture(t, 2, memory.Config{})
		dead := false
		b.inject(func(_ int, c memory.Call) memory.Fault {
			dead = dead || c.Method == dies
			if dead {
				return memory.Fault{Before: ports.ErrCorrupt}
			}
			return memory.Fault{}
		})
		_, err := app.New(nil).CreateVolume(t.Context(), b.request(), madeSize)
		require.Error(t, err)
		b.noFaults()
		again := b.request().Members[1]
		require.NoError(t, b.hosts[1].Delete(t.Context(), list(t, b.hosts[1], again.Replica).Head.UUID))
		head, err := b.hosts[1].Create(t.Context(), again.Replica, madeSize)
		require.NoError(t, err)

		_, err = app.New(nil).CreateVolume(t.Context(), b.request(), madeSize)
		require.ErrorIs(t, err, app.ErrRefused)
		require.ErrorContains(t, err, "name every replica of the volume, or delete the volume first")
		one := b.request()
		one.Members = one.Members[:1]
		_, err = app.New(nil).DeleteVolume(t.Context(), one, true)
		require.ErrorIs(t, err, app.ErrRefused, "both are named")
		removed, err := app.New(nil).DeleteVolume(t.Context(), b.request(), true)
		require.NoError(t, err)
		require.Len(t, removed.Replicas, 1)
		require.False(t, list(t, b.hosts[0], one.Members[0].Replica).Exists())
		require.Equal(t, head, list(t, b.hosts[1], again.Replica).Head.UUID)
		_, err = app.New(nil).CreateVolume(t.Context(), b.request(), madeSize)
		require.NoError(t, err)
		b.requireMade(b.request().Members)
	}
}

// An engine died while it rebuilt a replica, and the volume is deleted: nothing stays open on any
// host.
func TestVolumeDeletionClosesWaysOfDeadRebuild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		b.dieAt("copy")
		opened, err := b.members[0].Opened(t.Context())
		require.NoError(t, err)
		require.NotEmpty(t, opened)
		_, err = app.New(nil).DeleteVolume(t.Context(), b.volumeWithDestination(), true)
		require.NoError(t, err)
		for _, host := range append(b.members, b.to) {
			opened, err := host.Opened(t.Context())
			require.NoError(t, err)
			require.Empty(t, opened)
			store, err := host.List(t.Context())
			require.NoError(t, err)
			require.Empty(t, store.Lvols)
		}
	})
}
