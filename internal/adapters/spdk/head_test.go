package spdk

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// whatOthersDoToAHead: what is remembered of heads saves round trips, and shows in
// nothing that is told of them.
func whatOthersDoToAHead(t *testing.T, p *pair) {
	h := openNew(t, p.from, 16)
	other := open(t, p.from.Socket, h.store.Name)
	ctx := t.Context()
	a := snapshotOf(t, p.from, h, "vol-1-snap-a", 2, 1)
	b := snapshotOf(t, p.from, h, "vol-1-snap-b", 2, 1)
	head, err := h.Clone(ctx, a, "vol-1", 2*cluster, "base")
	require.NoError(t, err)
	seen := func(change string) domain.Lvol {
		t.Helper()
		knows, err := h.Look(ctx, head)
		require.NoError(t, err, change)
		fresh, err := open(t, p.from.Socket, h.store.Name).Look(ctx, head)
		require.NoError(t, err, change)
		require.Equal(t, fresh, knows, change)
		store, err := h.List(ctx)
		require.NoError(t, err, change)
		require.Contains(t, store.Lvols, fresh, change)
		return fresh
	}
	record := func(record string) string {
		if !h.store.Can.Records {
			return ""
		}
		require.NoError(t, other.Record(ctx, head, record))
		return record
	}
	recorded := seen("it was made").Record

	if h.store.Can.Records {
		require.Equal(t, "base", recorded)
		recorded = record("another")
		require.Equal(t, recorded, seen("another record").Record)
	}
	require.NoError(t, other.Graft(ctx, head, b))
	require.Equal(t, b, seen("another parent").Parent)
	require.NoError(t, other.Graft(ctx, head, ""))
	require.Empty(t, seen("no parent").Parent)
	frozen, err := other.Snapshot(ctx, head, "vol-1-snap-c", domain.Attributes{})
	require.NoError(t, err)
	require.Equal(t, frozen, seen("it was frozen").Parent)
	require.NoError(t, other.Graft(ctx, head, a))
	require.NoError(t, other.Delete(ctx, frozen))
	require.Equal(t, a, seen("what it hung on is gone").Parent)
	require.Equal(t, recorded, seen("the record stays").Record)

	require.NoError(t, other.Delete(ctx, head))
	_, err = h.Look(ctx, head)
	require.ErrorIs(t, err, ports.ErrNotFound)
	require.Equal(t, []string{"vol-1-snap-a", "vol-1-snap-b"}, lvolNames(t, h))

	head, err = other.Clone(ctx, b, "vol-1", 2*cluster, "base")
	require.NoError(t, err)
	require.Equal(t, b, seen("another head of that name").Parent)
	p.from.Restart(t)
	require.Equal(t, b, seen("a restart").Parent)
}

// whatIsNamedAsAnImage is none of the heads, though it is writable: an image that
// somebody is filling.
func whatIsNamedAsAnImage(t *testing.T, p *pair) {
	h := openNew(t, p.from, 16)
	ctx := t.Context()
	uuid := create(t, h, domain.ImageLvolName("base", h.store.UUID), 1)
	if !h.store.Can.Records {
		t.Skip("this target keeps no xattrs")
	}
	require.NoError(t, rpc.SetXattr(uuid, xattrImageState, "in-progress").Do(ctx, h.store.Client))
	for range 2 { // the second time it was seen before
		store, err := h.List(ctx)
		require.NoError(t, err)
		require.Len(t, store.Lvols, 1)
		require.Equal(t, "in-progress", store.Lvols[0].Image.Unready)
		l, err := h.Look(ctx, uuid)
		require.NoError(t, err)
		require.Equal(t, store.Lvols[0], l)
	}
}
