package porttest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/ports"
)

var deleteTests = []test{
	alone("writable lvols and snapshots without clones are deleted", func(t *testing.T, h *subject) {
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
	alone("a snapshot with clones is refused, and nothing merges", func(t *testing.T, h *subject) {
		a := h.snapshotOf(snapshotNamed("a"), 3, 1, 0, 1)
		b := h.snapshotOf(snapshotNamed("b"), 3, 2, 1)
		h.graft(b, a)
		h.refuses(ports.ErrInvalid, func() error { return h.Delete(h.ctx, a) }, "with a snapshot as its clone")
		head := h.clone(b, replica)
		h.refuses(ports.ErrInvalid, func() error { return h.Delete(h.ctx, b) }, "with a head as its clone")
		h.clone(b, "vol-2-r-4e5f6a7b")
		h.refuses(ports.ErrInvalid, func() error { return h.Delete(h.ctx, b) }, "with two clones")
		h.reads(head, 1, 2, 0)
		h.reads(b, 1, 2, 0)
		h.reads(a, 1, 1, 0)
	}),
	alone("a snapshot can be deleted after its clone was grafted elsewhere", func(t *testing.T, h *subject) {
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
	alone("deleting a missing lvol is refused", func(t *testing.T, h *subject) {
		h.refuses(ports.ErrNotFound, func() error { return h.Delete(h.ctx, missing) }, "delete")
		l := h.create(inFlight(1), 1)
		h.delete(l)
		h.refuses(ports.ErrNotFound, func() error { return h.Delete(h.ctx, l) }, "delete twice")
	}),
}
