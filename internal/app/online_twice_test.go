package app_test

import (
	"testing"
	"testing/synctest"

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
