package app_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
)

// Beside the progress of the run an observer sees that of each snapshot, in bytes, from
// its first cluster to its last.
func TestEventsTellTheProgressOfEachSnapshot(t *testing.T) {
	b := newFixture(t, memory.Config{}, memory.Config{})
	p := newBuilder(t, b.source, sourceName, makeImage(t, b.source, 4))
	p.snapshot("s1", p.image, 8, map[int]byte{0: 1, 1: 2, 5: 3}, minute(1))
	p.snapshot("s2", p.uuids["s1"], 8, map[int]byte{7: 4}, minute(2))
	p.writable(sourceName, p.uuids["s2"], 8)
	type progress struct{ done, total uint64 }
	last := make(map[string]progress)
	observer := func(e app.Event) {
		if e.Kind != app.EventCopying {
			require.Zero(t, e.SnapshotTotal, "%s", e.Kind)
			return
		}
		require.LessOrEqual(t, e.SnapshotDone, e.SnapshotTotal)
		require.GreaterOrEqual(t, e.SnapshotDone, last[e.Snapshot].done)
		require.LessOrEqual(t, e.SnapshotTotal, e.BytesTotal)
		last[e.Snapshot] = progress{e.SnapshotDone, e.SnapshotTotal}
	}
	_, err := app.New(nil).Rebuild(t.Context(), app.Request{
		Source: app.Site{Host: b.source, Replica: sourceName}, Destination: app.Site{Host: b.destination, Replica: copyName},
		Observer: observe(observer),
	})
	require.NoError(t, err)
	require.Equal(t, map[string]progress{
		"":   {4 * cluster, 4 * cluster}, // the image
		"s1": {3 * cluster, 3 * cluster},
		"s2": {cluster, cluster},
	}, last)
}
