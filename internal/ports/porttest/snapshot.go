package porttest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

var snapshotTests = []test{
	alone("a snapshot takes over clusters and parent of its lvol", func(t *testing.T, h *subject) {
		a := h.snapshotOf(snapshotNamed("a"), 4, 1, 0, 1)
		head := h.clone(a, replica)
		h.fill(head, 2, 1, 2)
		b, err := h.Snapshot(h.ctx, head, snapshotNamed("b"), evening)
		require.NoError(t, err)

		require.Equal(t, domain.Lvol{
			UUID: b, Name: snapshotNamed("b"), Parent: a, Size: h.bytes(4), ReadOnly: true,
			Own: domain.Clusters{Count: 2}, Attributes: h.attributes(evening),
		}, h.look(b))
		require.Equal(t, domain.Lvol{UUID: head, Name: replica, Parent: b, Size: h.bytes(4)}, h.look(head))
		h.reads(b, 1, 2, 2, 0)
		h.reads(head, 1, 2, 2, 0)
	}),
	alone("a snapshot of an lvol without a parent has none either", func(t *testing.T, h *subject) {
		head := h.create(replica, 2)
		h.fill(head, 1, 0)
		a, err := h.Snapshot(h.ctx, head, snapshotNamed("a"), morning)
		require.NoError(t, err)
		require.Empty(t, h.look(a).Parent)
		require.Equal(t, h.attributes(morning), h.look(a).Attributes)
		h.reads(a, 1, 0)
	}),
	alone("later writes are not in the snapshot", func(t *testing.T, h *subject) {
		head := h.create(replica, 3)
		h.fill(head, 1, 0, 1)
		a, err := h.Snapshot(h.ctx, head, snapshotNamed("a"), morning)
		require.NoError(t, err)
		h.fill(head, 2, 1, 2)
		h.reads(a, 1, 1, 0)
		h.reads(head, 1, 2, 2)
		require.EqualValues(t, 2, h.look(head).Own.Count)
	}),
	alone("an empty snapshot of an empty clone reads as its parent", func(t *testing.T, h *subject) {
		a := h.snapshotOf(snapshotNamed("a"), 2, 1, 1)
		b, err := h.Snapshot(h.ctx, h.clone(a, replica), snapshotNamed("b"), morning)
		require.NoError(t, err)
		require.Zero(t, h.look(b).Own.Count)
		h.reads(b, 0, 1)
	}),
	alone("a snapshot of a snapshot is refused", func(t *testing.T, h *subject) {
		a := h.snapshotOf(snapshotNamed("a"), 2, 1, 0)
		h.refuses(ports.ErrInvalid, func() error {
			_, err := h.Snapshot(h.ctx, a, snapshotNamed("b"), morning)
			return err
		}, "of a leaf")
		h.clone(a, replica)
		h.refuses(ports.ErrInvalid, func() error {
			_, err := h.Snapshot(h.ctx, a, snapshotNamed("b"), morning)
			return err
		}, "of one with a clone")
	}),
	alone("a snapshot of a missing lvol is refused", func(t *testing.T, h *subject) {
		h.refuses(ports.ErrNotFound, func() error {
			_, err := h.Snapshot(h.ctx, missing, snapshotNamed("a"), morning)
			return err
		}, "snapshot")
	}),
}
