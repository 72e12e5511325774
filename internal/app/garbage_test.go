package app_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

func names(lvols []domain.Leftover) []string {
	var all []string
	for _, l := range lvols {
		all = append(all, l.Lvol.Name)
	}
	return all
}

// crash is an engine that dies at a call: nothing that it asks for afterwards
// is heard.
func crash(b *fixture, method string, n int) {
	calls := on(method)
	later := on("").where(func(memory.Call) bool { return calls.calls() >= n }).fails(ports.ErrInvalid)
	inject(b.source, calls, later)
	inject(b.destination, calls, later)
}

// longhorn/longhorn#9122, #9190: lvols in flight piled up as orphans.
func TestField_9122_LeftoversAreFoundAndRemoved(t *testing.T) {
	b, request := newPlainFixture(t)
	request.Parallel = 1
	crash(b, "seal", 2)
	_, err := app.New(nil).Rebuild(context.Background(), request)
	require.ErrorIs(t, err, app.ErrCleanUp)
	b.source.Inject(nil)
	b.destination.Inject(nil)
	before := contents(t, b.destination)

	engine := app.New(nil)
	found, err := engine.FindGarbage(context.Background(), b.destination)
	require.NoError(t, err)
	require.NotEmpty(t, found.Lvols)
	require.Equal(t, before, contents(t, b.destination), "finding changes nothing")

	removed, err := engine.RemoveGarbage(context.Background(), b.destination)
	require.NoError(t, err)
	require.Equal(t, names(found.Lvols), names(removed.Lvols))
	after := list(t, b.destination, copyName)
	require.Empty(t, after.InFlight)
	require.Len(t, after.Snapshots, 1, "what was sealed stays")
	_, err = engine.Rebuild(context.Background(), request)
	require.NoError(t, err)
	requireEqualViews(t, b, sourceName, copyName, true)
}

// longhorn/longhorn#9190: deleting a replica while it rebuilt looped forever.
func TestField_9190_LvolsOfLiveRebuildsStay(t *testing.T) {
	b, request := newPlainFixture(t)
	engine, elsewhere := app.New(nil), app.New(nil)
	orphan := newBuilder(t, b.destination, "vol-7-r-0a1b2c3d", "").writable(domain.InFlightLvolName("vol-7-r-0a1b2c3d", "0badcafe"), "", 2)
	looked := on("copy").once().does(func() {
		for name, other := range map[string]*app.Engine{"in this process": engine, "in another process": elsewhere} {
			for _, host := range []*memory.Host{b.source, b.destination} {
				found, err := other.FindGarbage(context.Background(), host)
				require.NoError(t, err)
				for _, l := range found.Lvols {
					if l.Lvol.UUID == orphan {
						require.Empty(t, l.Stays)
						continue
					}
					require.Equal(t, "vol-1-r-4e5f6a7b is active "+name, l.Stays)
				}
				for _, o := range found.Opened {
					require.NotEmpty(t, o.Stays, o.What)
				}
			}
		}
		removed, err := elsewhere.RemoveGarbage(context.Background(), b.destination)
		require.NoError(t, err)
		require.Equal(t, []string{domain.InFlightLvolName("vol-7-r-0a1b2c3d", "0badcafe")}, names(removed.Lvols))
		require.Empty(t, removed.Opened)
	})
	inject(b.source, looked)
	request.Parallel = 1
	_, err := engine.Rebuild(context.Background(), request)
	require.NoError(t, err)
	require.Positive(t, looked.calls())
	requireEqualViews(t, b, sourceName, copyName, true)
}

// Two engines on one replica: the second is told.
func TestSecondProcessOnAReplicaIsRefused(t *testing.T) {
	b, request := newPlainFixture(t)
	request.Parallel = 1
	var second error
	duringCopy(b.source, func() { _, second = app.New(nil).Rebuild(context.Background(), request) })
	_, err := app.New(nil).Rebuild(context.Background(), request)
	require.NoError(t, err)
	require.ErrorIs(t, second, app.ErrRefused)
	require.ErrorContains(t, second, "is in use by the rebuild of replica vol-1-r-4e5f6a7b on lvstore disk-2 (process ")
	requireEqualViews(t, b, sourceName, copyName, true)
	_, err = app.New(nil).Rebuild(context.Background(), request)
	require.NoError(t, err, "the claim ended with its run")
}

// An image that another process fetches has no replica's name.
func TestInFlightImageOfLiveRebuildStays(t *testing.T) {
	b := newFixture(t, memory.Config{}, memory.Config{})
	newBuilder(t, b.source, sourceName, makeImage(t, b.source, 4)).build(fieldTree(10))
	request := app.Request{
		Source: app.Site{Host: b.source, Replica: sourceName}, Destination: app.Site{Host: b.destination, Replica: copyName}, Parallel: 1,
	}
	seen := ""
	inject(b.source, on("copy").does(func() {
		found, err := app.New(nil).FindGarbage(context.Background(), b.destination)
		require.NoError(t, err)
		for _, l := range found.Lvols {
			if domain.IsImageInFlight(l.Lvol.Name) {
				seen = l.Stays
			}
		}
	}))
	_, err := app.New(nil).Rebuild(context.Background(), request)
	require.NoError(t, err)
	require.Contains(t, seen, "is active in another process")
}
