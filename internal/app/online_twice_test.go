package app_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
)

// TestMemberGivenTwiceIsRefused: a cut or a snapshot would be taken of it twice.
func TestMemberGivenTwiceIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		r := b.request()
		r.MoreSources = append(r.MoreSources, r.Source)
		engine := app.New(nil)
		_, err := engine.RebuildOnline(t.Context(), r)
		require.ErrorIs(t, err, app.ErrRefused)
		require.ErrorContains(t, err, "replica vol-1-r-a1a1a1a1 on lvstore disk-a1 is given as a source twice")
		_, err = engine.PlanOnline(t.Context(), r)
		require.ErrorContains(t, err, "twice")

		volume := app.VolumeRequest{Mirror: b.mirror, Freezer: b.freezer, Members: append(r.MoreSources, r.Source)}
		_, err = engine.SnapshotVolume(t.Context(), volume, "daily")
		require.ErrorIs(t, err, app.ErrRefused)
		require.ErrorContains(t, err, "is given twice")
		_, err = engine.PurgeVolume(t.Context(), volume)
		require.ErrorContains(t, err, "is given twice")
		_, err = engine.CheckVolume(t.Context(), volume)
		require.ErrorContains(t, err, "is given twice")
		volume.Members[0].Host = nil
		_, err = engine.CheckVolume(t.Context(), volume)
		require.ErrorContains(t, err, "no host")
	})
}

// TestTwoRebuildsOfOneVolumeAtOnce: the second is not cut after the live head of the first has joined, which would have
// no snapshot.
func TestTwoRebuildsOfOneVolumeAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		b.slowly(nil)
		engine, second := app.New(nil), b.request()
		second.Destination.Replica = "vol-1-r-5e5e5e5e"
		failures := make(chan error, 2)
		for _, r := range []app.OnlineRequest{b.request(), second} {
			go func() {
				_, err := engine.RebuildOnline(t.Context(), r)
				failures <- err
			}()
			time.Sleep(time.Millisecond)
		}
		require.ErrorContains(t, errors.Join(<-failures, <-failures), "has joined volume vol-1 since the plan was made")
		volume := app.VolumeRequest{Mirror: b.mirror, Members: append(second.MoreSources, second.Source, b.request().Destination, second.Destination)}
		check, err := engine.CheckVolume(t.Context(), volume)
		require.NoError(t, err)
		require.Empty(t, check.Audit.Differences)
		require.Len(t, check.Volume.Members, 3)
	})
}
