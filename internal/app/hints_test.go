package app_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
)

// What a refusal advises, works.

// openebs/mayastor#1895: only snapshots were left of the source.
func TestField_Mayastor1895_HeadlessSourceGetsAHead(t *testing.T) {
	for _, flavour := range []memory.Flavour{memory.Fork, memory.Upstream} {
		g := newMultiSource(t, flavour, []memory.Flavour{flavour}, twoSnapshots(8))
		makeImage(t, g.destination, 4)
		g.deleteHead(0)
		engine := app.New(nil)
		_, err := engine.Rebuild(t.Context(), g.request)
		require.ErrorIs(t, err, app.ErrRefused)
		require.ErrorContains(t, err, "replica vol-1-r-00000011 on lvstore disk-1 has no head, so it is incomplete: rebuild it from another one or, if there is none, "+
			"revert it to its newest snapshot (snap2) with the size of the volume, which creates a head")
		_, err = engine.Revert(t.Context(), app.RevertRequest{Replica: g.request.Source, Snapshot: "snap2"})
		require.ErrorContains(t, err, "give the size of the volume")
		_, err = engine.Revert(t.Context(), app.RevertRequest{Replica: g.request.Source, Snapshot: "snap2", Size: 8 * cluster})
		require.NoError(t, err)
		_, err = engine.Rebuild(t.Context(), g.request)
		require.NoError(t, err)
		g.requireEqual(0)

		g.request.Source.Replica = "vol-1-r-00000077" // and where not even a snapshot is left
		g.sources[0].Inject(nil)
		newBuilder(t, g.sources[0], "vol-1-r-00000077", "").build("flight:01234567")
		_, err = engine.Rebuild(t.Context(), g.request)
		require.ErrorContains(t, err, "has no head, and no snapshot to create one from")
	}
}

// longhorn/longhorn#10116: what the refusal says that gc would free, it frees.
func TestField_10116_GarbageCollectionMakesRoom(t *testing.T) {
	fabric := memory.NewFabric()
	source := fabric.NewHost(memory.Config{Name: "disk-1", ClusterSize: cluster, Seed: 1, TotalClusters: 20})
	destination := fabric.NewHost(memory.Config{Name: "disk-2", ClusterSize: cluster, Seed: 2, TotalClusters: 6})
	newBuilder(t, source, sourceName, "").build("snap1 0=1 1=1 2=1 3=1\n head")
	newBuilder(t, destination, "vol-7-r-0a1b2c3d", "").build("flight:01234567 0=1 1=1 2=1")
	engine := app.New(nil)
	request := app.Request{
		Source: app.Site{Host: source, Replica: sourceName}, Destination: app.Site{Host: destination, Replica: copyName}, Base: domain.NoBase(),
	}
	_, err := engine.Rebuild(t.Context(), request)
	require.ErrorIs(t, err, app.ErrRefused)
	require.ErrorContains(t, err, "needs 4 clusters and 0 stay in reserve, but 3 are free and it frees 0; gc would free up to 3 more from leftovers: vol-7-r-0a1b2c3d-rebuilding-01234567")
	_, err = engine.RemoveGarbage(t.Context(), destination)
	require.NoError(t, err)
	_, err = engine.Rebuild(t.Context(), request)
	require.NoError(t, err)
}
