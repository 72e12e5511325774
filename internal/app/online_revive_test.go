package app_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/app"
)

// TestSnapshotOverALostCutIsRebuiltOnTargets is TestSnapshotOverALostCutIsRebuilt on simulated
// targets, where an lvol finds its external snapshot by its UUID.
func TestSnapshotOverALostCutIsRebuiltOnTargets(t *testing.T) {
	for _, flavour := range liveFlavours() {
		t.Run(flavour.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				v := newLiveTargets(t, flavour)
				defer v.end()
				v.start()
				defer func() { v.clients.Stop() }()
				v.killAfterUserSnapshot()
				v.machines[sideDestination].restart()
				daily, ok := v.replica(sideDestination).Snapshot("daily")
				require.True(t, ok && daily.Lvol.Degraded)

				r, end := v.request(liveSides[:2]...)
				defer end()
				_, err := app.New(nil).RebuildOnline(t.Context(), r)
				require.NoError(t, err)
				v.stop()
				v.requireWhole(liveSides[:2]...)
			})
		})
	}
}

// killAfterUserSnapshot rebuilds until a user has taken a snapshot after the cut. Then the engine
// dies.
func (v *liveTargets) killAfterUserSnapshot() {
	v.t.Helper()
	r, end := v.request(liveSides[:2]...)
	defer end()
	users, endUsers := v.request(liveSides[:2]...)
	defer endUsers()
	var taken, dead atomic.Bool
	ctx, cancel := context.WithCancel(v.t.Context())
	defer cancel()
	done := make(chan error, 1)
	r.Observer = observe(func(e app.Event) {
		if e.Kind != app.EventCut {
			return
		}
		go func() {
			_, err := app.New(nil).SnapshotVolume(v.t.Context(), app.VolumeRequest{
				Mirror: users.Mirror, Freezer: users.Freezer, Members: append(users.MoreSources, users.Source, users.Destination),
			}, "daily")
			taken.Store(true)
			done <- err
		}()
	})
	v.listen(func(side string, r simtarget.Request) simtarget.Fault {
		if dead.Load() || taken.Load() && side == sideDestination && r.Method == "bdev_lvol_snapshot" {
			dead.Store(true)
			cancel()
			return simtarget.Fault{Before: simtarget.Close}
		}
		return simtarget.Fault{}
	})
	_, err := app.New(nil).RebuildOnline(ctx, r)
	require.Error(v.t, err)
	require.NoError(v.t, <-done)
	v.listen(nil)
}
