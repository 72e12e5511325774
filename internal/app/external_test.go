package app_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
)

// makeExternal makes a replica whose only lvol reads through to a bdev outside of the
// store, and has a cluster of its own over it.
func makeExternal(t *testing.T, host *memory.Host, replica string) (head string) {
	t.Helper()
	head, err := host.CloneExternal(replica, "nvme0n1", bytes.Repeat([]byte{7}, 4*cluster))
	require.NoError(t, err)
	require.NoError(t, host.WriteAt(head, filled(1), 0))
	return head
}

// everything is a host's lvols with the digest of what each shows.
func everything(t *testing.T, host *memory.Host) map[string]string {
	t.Helper()
	store, err := host.List(t.Context())
	require.NoError(t, err)
	all := make(map[string]string)
	for _, l := range store.Lvols {
		all[l.UUID+" "+l.Name] = "degraded"
		if !l.Degraded {
			all[l.UUID+" "+l.Name] = sha(t, host, l.UUID)
		}
	}
	return all
}

// A source that reads through to an external snapshot was rebuilt as zeros where its
// bytes are outside, and that was called complete.
func TestSourceOnExternalSnapshotIsRefused(t *testing.T) {
	for _, snapshot := range []bool{false, true} {
		for _, proof := range []bool{false, true} {
			b := newFixture(t, memory.Config{}, memory.Config{})
			head := makeExternal(t, b.source, sourceName)
			if snapshot {
				_, err := b.source.Snapshot(t.Context(), head, domain.SnapshotLvolName(sourceName, "s1"), minute(1))
				require.NoError(t, err)
			}
			onSource, onDestination := everything(t, b.source), everything(t, b.destination)
			report, err := app.New(nil).Rebuild(t.Context(), app.Request{
				Source: app.Site{Host: b.source, Replica: sourceName}, Destination: app.Site{Host: b.destination, Replica: copyName},
				Base: domain.NoBase(), Proof: proof, Views: proof,
			})
			require.ErrorIs(t, err, app.ErrRefused)
			require.ErrorContains(t, err, "reads through to external snapshot nvme0n1")
			require.Equal(t, app.OutcomeRefused, report.Outcome)
			require.Equal(t, onSource, everything(t, b.source))
			require.Equal(t, onDestination, everything(t, b.destination))

			audit, err := app.New(nil).Audit(t.Context(), app.AuditRequest{Sites: []app.Site{{Host: b.source, Replica: sourceName}}, Base: domain.NoBase()})
			require.NoError(t, err)
			require.True(t, audit.Wrong(), "%+v", audit)
		}
	}
}

// A degraded source has a size of 0 bytes, and the destination was deleted before that
// was noticed.
func TestDegradedSourceCostsNothing(t *testing.T) {
	b := newFixture(t, memory.Config{}, memory.Config{})
	makeExternal(t, b.source, sourceName)
	b.source.Restart()
	newBuilder(t, b.destination, copyName, "").build("clusters 4\ns1 1=2 at=1\n head 2=3")
	before := everything(t, b.destination)
	report, err := app.New(nil).Rebuild(t.Context(), app.Request{
		Source: app.Site{Host: b.source, Replica: sourceName}, Destination: app.Site{Host: b.destination, Replica: copyName},
		Base: domain.NoBase(),
	})
	require.ErrorIs(t, err, app.ErrRefused)
	require.ErrorContains(t, err, "is degraded")
	require.Equal(t, app.OutcomeRefused, report.Outcome)
	require.Equal(t, before, everything(t, b.destination))
}

// What another engine's rebuild has left on an external snapshot gives way, also once
// that is gone.
func TestDestinationOnExternalSnapshotIsRebuilt(t *testing.T) {
	for _, gone := range []bool{false, true} {
		b := newFixture(t, memory.Config{}, memory.Config{})
		source := newBuilder(t, b.source, sourceName, "")
		source.build(chain(6, 4, 1))
		makeExternal(t, b.destination, copyName)
		if gone {
			b.destination.Restart()
		}
		report, err := app.New(nil).Rebuild(t.Context(), app.Request{
			Source: app.Site{Host: b.source, Replica: sourceName}, Destination: app.Site{Host: b.destination, Replica: copyName},
			Base: domain.NoBase(),
		})
		require.NoError(t, err)
		require.Len(t, report.Warnings, 1)
		require.Contains(t, report.Warnings[0], map[bool]string{false: "external snapshot nvme0n1; it is deleted", true: "is degraded"}[gone])
		requireEqualViews(t, b, sourceName, copyName, false)
	}
}

// What hangs on a degraded snapshot nobody can tell: it is refused before the head goes.
func TestDegradedLeftoverIsRefused(t *testing.T) {
	b := newFixture(t, memory.Config{}, memory.Config{})
	source := newBuilder(t, b.source, sourceName, "")
	source.build(chain(6, 4, 1))
	side := makeExternal(t, b.destination, domain.InFlightLvolName(copyName, "00000001"))
	_, err := b.destination.Snapshot(t.Context(), side, domain.SnapshotLvolName(copyName, "extra"), minute(1))
	require.NoError(t, err)
	newBuilder(t, b.destination, copyName, "").build("clusters 4\nhead 1=9")
	b.destination.Restart()
	before := everything(t, b.destination)
	request := app.Request{
		Source: app.Site{Host: b.source, Replica: sourceName}, Destination: app.Site{Host: b.destination, Replica: copyName},
		Base: domain.NoBase(),
	}
	_, err = app.New(nil).Rebuild(t.Context(), request)
	require.ErrorIs(t, err, app.ErrRefused)
	require.ErrorContains(t, err, "lvol vol-1-r-4e5f6a7b-snap-extra on lvstore disk-2 would be deleted, but it is degraded")
	require.Equal(t, before, everything(t, b.destination))

	// Once nothing hangs on it, and a restart has put it to sleep, it can go.
	require.NoError(t, b.destination.Delete(context.Background(), side))
	_, err = app.New(nil).Rebuild(t.Context(), request)
	require.NoError(t, err)
	requireEqualViews(t, b, sourceName, copyName, false)
}
