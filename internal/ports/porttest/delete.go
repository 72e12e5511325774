package porttest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/ports"
)

var deleteTests = []test{
	alone("writable lvols and snapshots without clones are gone", func(t *testing.T, h *subject) {
		a := h.snapshotOf(snapshotNamed("a"), 2, 1, 0)
		b := h.snapshotOf(snapshotNamed("b"), 2, 2, 1)
		h.graft(b, a)
		head := h.clone(b, replica)
		h.fill(head, 3, 0)
		left := []string{replica, snapshotNamed("a"), snapshotNamed("b")}
		for i, uuid := range []string{head, b, a} {
			require.Equal(t, left, h.names())
			h.delete(uuid)
			_, err := h.Look(h.ctx, uuid)
			require.ErrorIs(t, err, ports.ErrNotFound)
			left = [][]string{{snapshotNamed("a"), snapshotNamed("b")}, {snapshotNamed("a")}, nil}[i]
		}
		require.Empty(t, h.names())
	}),
	alone("what something hangs on is refused, and nothing merges", func(t *testing.T, h *subject) {
		a := h.snapshotOf(snapshotNamed("a"), 3, 1, 0, 1)
		b := h.snapshotOf(snapshotNamed("b"), 3, 2, 1)
		h.graft(b, a)
		h.refuses(ports.ErrInvalid, func() error { return h.Delete(h.ctx, a) }, "under one snapshot")
		head := h.clone(b, replica)
		h.refuses(ports.ErrInvalid, func() error { return h.Delete(h.ctx, b) }, "under one head")
		h.clone(b, "vol-2-r-4e5f6a7b")
		h.refuses(ports.ErrInvalid, func() error { return h.Delete(h.ctx, b) }, "under two heads")
		h.reads(head, 1, 2, 0)
		h.reads(b, 1, 2, 0)
		h.reads(a, 1, 1, 0)
	}),
	alone("what hung on a snapshot is grafted elsewhere, and then it can go", func(t *testing.T, h *subject) {
		a := h.snapshotOf(snapshotNamed("a"), 2, 1, 0)
		b := h.snapshotOf(snapshotNamed("b"), 2, 2, 1)
		c := h.snapshotOf(snapshotNamed("c"), 2, 3)
		h.graft(b, a)
		h.graft(c, b)
		h.graft(c, a)
		h.delete(b)
		h.reads(c, 1, 0)
		require.Zero(t, h.look(c).Own.Count)
	}),
	alone("what is missing is refused", func(t *testing.T, h *subject) {
		h.refuses(ports.ErrNotFound, func() error { return h.Delete(h.ctx, missing) }, "delete")
		l := h.create(inFlight(1), 1)
		h.delete(l)
		h.refuses(ports.ErrNotFound, func() error { return h.Delete(h.ctx, l) }, "delete twice")
	}),
}
