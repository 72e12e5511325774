package porttest

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// An lvol that reads through to a bdev outside of the store has no parent there, but reads
// bytes that are not in its own clusters. If a listing does not show that, a rebuild copies
// zeros.
var externalTests = []test{
	alone("the external snapshot of an lvol is listed", func(t *testing.T, h *subject) {
		l := h.cloneExternal(inFlight(1), 1, 2, 3)
		listed := h.look(l)
		require.NotEmpty(t, listed.External)
		require.Equal(t, domain.Lvol{UUID: l, Name: inFlight(1), Size: h.bytes(3), External: listed.External}, listed)
		h.fill(l, 4, 1)
		require.EqualValues(t, 1, h.look(l).Own.Count, "the rest is not its own")
		h.reads(l, 1, 4, 3)
	}),
	alone("a snapshot takes the external snapshot over", func(t *testing.T, h *subject) {
		l := h.cloneExternal(replica, 1, 2)
		h.fill(l, 3, 0)
		s, err := h.Snapshot(h.ctx, l, snapshotNamed("a"), morning)
		require.NoError(t, err)
		snapshot, head := h.look(s), h.look(l)
		require.NotEmpty(t, snapshot.External)
		require.Empty(t, snapshot.Parent)
		require.Empty(t, head.External)
		require.Equal(t, s, head.Parent)
		h.reads(l, 3, 2)
	}),
	alone("a graft replaces the external snapshot", func(t *testing.T, h *subject) {
		same, short := h.snapshotOf(snapshotNamed("same"), 2, 5, 0, 1), h.snapshotOf(snapshotNamed("short"), 1, 6, 0)
		for i, c := range []struct {
			parent string
			reads  []byte
		}{{same, []byte{5, 3}}, {short, []byte{6, 3}}, {"", []byte{0, 3}}} {
			l := h.cloneExternal(inFlight(i), 1, 2)
			h.fill(l, 3, 1)
			h.graft(l, c.parent)
			require.Empty(t, h.look(l).External)
			require.Equal(t, c.parent, h.look(l).Parent)
			h.reads(l, c.reads...)
		}
	}),
	alone("a clone of an external snapshot can be deleted, and its snapshot", func(t *testing.T, h *subject) {
		head := h.cloneExternal(replica, 1, 2)
		h.fill(head, 3, 0)
		s, err := h.Snapshot(h.ctx, head, snapshotNamed("a"), morning)
		require.NoError(t, err)
		h.refuses(ports.ErrInvalid, func() error { return h.Delete(h.ctx, s) }, "it has a clone")
		h.delete(head)
		h.delete(s)
		h.delete(h.cloneExternal(inFlight(1), 1))
		require.Empty(t, h.names())
		require.Equal(t, h.store.FreeClusters, h.list().FreeClusters)
	}),
	alone("without the bdev the lvol and its descendants are degraded", func(t *testing.T, h *subject) {
		h.canRestart()
		head := h.cloneExternal(replica, 1, 2)
		s, err := h.Snapshot(h.ctx, head, snapshotNamed("a"), morning)
		require.NoError(t, err)
		healthy := h.snapshotOf(snapshotNamed("healthy"), 2, 4, 0)
		h.Restart(t)
		require.Equal(t, domain.Lvol{UUID: head, Name: replica, Degraded: true}, h.look(head))
		require.Equal(t, domain.Lvol{UUID: s, Name: snapshotNamed("a"), Degraded: true, ReadOnly: true}, h.look(s), "it may have clones")
		require.False(t, h.look(healthy).Degraded)
		h.refuses(ports.ErrNotFound, func() error { return h.Graft(h.ctx, head, healthy) }, "graft")
		h.refuses(ports.ErrNotFound, func() error { _, err := h.Clone(h.ctx, s, "vol-2-r-4e5f6a7b", h.bytes(2), ""); return err }, "clone")
		h.refuses(ports.ErrInvalid, func() error { return h.Delete(h.ctx, s) }, "it has a clone")
		h.delete(head)
		require.True(t, slices.Contains(h.names(), snapshotNamed("a")))
	}),
	alone("a degraded snapshot without clones is one no more", func(t *testing.T, h *subject) {
		h.canRestart()
		head := h.cloneExternal(replica, 1, 2)
		s, err := h.Snapshot(h.ctx, head, snapshotNamed("a"), morning)
		require.NoError(t, err)
		h.delete(head)
		h.Restart(t)
		require.Equal(t, domain.Lvol{UUID: s, Name: snapshotNamed("a"), Degraded: true}, h.look(s))
		h.delete(s)
		require.Empty(t, h.names())
		require.Equal(t, h.store.FreeClusters, h.list().FreeClusters)
	}),
}

// cloneExternal makes an lvol that reads through to a bdev of one cluster of each seed.
func (s *subject) cloneExternal(name string, seeds ...byte) (uuid string) {
	s.t.Helper()
	if s.CloneExternal == nil {
		s.t.Skip("lvols of this host read through to nothing outside of its store")
	}
	var content []byte
	for _, seed := range seeds {
		content = append(content, s.content(seed)...)
	}
	s.Host.(*notingHost).note(name)
	return s.CloneExternal(s.t, name, content)
}
