package porttest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/ports"
)

var graftTests = []test{
	alone("an in-flight lvol onto a snapshot of the same size", func(t *testing.T, h *subject) {
		a := h.snapshotOf(snapshotNamed("a"), 3, 1, 0, 1)
		l := h.create(inFlight(1), 3)
		h.fill(l, 2, 1)
		h.graftsOnly(l, a)
		h.reads(l, 1, 2, 0)
	}),
	alone("an in-flight lvol onto a smaller snapshot: zeros beyond its end", func(t *testing.T, h *subject) {
		image := h.snapshotOf(snapshotNamed("a"), 2, 1, 0, 1)
		l := h.create(inFlight(1), 4)
		h.fill(l, 2, 1, 3)
		h.graftsOnly(l, image)
		h.reads(l, 1, 2, 0, 2)
	}),
	alone("an in-flight lvol onto a larger snapshot: as far as the lvol reaches", func(t *testing.T, h *subject) {
		a := h.snapshotOf(snapshotNamed("a"), 4, 1, 0, 1, 2, 3)
		l := h.create(inFlight(1), 2)
		h.fill(l, 2, 0)
		h.graftsOnly(l, a)
		h.reads(l, 2, 1)
	}),
	alone("bytes beyond the end of a short parent stay hidden", func(t *testing.T, h *subject) {
		large := h.snapshotOf(snapshotNamed("large"), 4, 1, 0, 1, 2, 3)
		short := h.snapshotOf(snapshotNamed("short"), 2, 2, 0)
		h.graftsOnly(short, large)
		l := h.create(inFlight(1), 4)
		h.graftsOnly(l, short)
		h.reads(l, 2, 1, 0, 0)
	}),
	alone("a snapshot with clones: their bytes change with it", func(t *testing.T, h *subject) {
		for name, image := range map[string]string{
			"same":    h.snapshotOf("same", 3, 1, 0, 1, 2),
			"larger":  h.snapshotOf("larger", 4, 2, 0, 1, 2, 3),
			"smaller": h.snapshotOf("smaller", 2, 3, 0, 1),
		} {
			a := h.snapshotOf(snapshotNamed("a"), 3, 4, 1)
			b := h.create(inFlight(2), 3)
			h.graft(b, a)
			head := h.clone(a, replica)
			h.fill(head, 5, 0)
			h.graftsOnly(a, image)
			seed := map[string]byte{"same": 1, "larger": 2, "smaller": 3}[name]
			end := map[string]byte{"same": 1, "larger": 2, "smaller": 0}[name]
			h.reads(a, seed, 4, end)
			h.reads(b, seed, 4, end)
			h.reads(head, 5, 4, end)
			h.delete(head)
			h.delete(b)
			h.delete(a)
		}
	}),
	alone("onto another parent; the old one can be deleted then", func(t *testing.T, h *subject) {
		a := h.snapshotOf(snapshotNamed("a"), 2, 1, 0)
		b := h.snapshotOf(snapshotNamed("b"), 3, 2, 1)
		c := h.snapshotOf(snapshotNamed("c"), 3, 3, 2)
		h.graft(c, a)
		h.graftsOnly(c, b)
		h.reads(c, 0, 2, 3)
		h.delete(a)
		h.reads(c, 0, 2, 3)
	}),
	alone("a writable lvol is detached", func(t *testing.T, h *subject) {
		a := h.snapshotOf(snapshotNamed("a"), 2, 1, 0, 1)
		head := h.clone(a, replica)
		h.fill(head, 2, 1)
		h.graftsOnly(head, "")
		h.reads(head, 0, 2)
		h.reads(a, 1, 1)
	}),
	alone("a snapshot is detached, with and without clones", func(t *testing.T, h *subject) {
		a := h.snapshotOf(snapshotNamed("a"), 2, 1, 0, 1)
		b := h.snapshotOf(snapshotNamed("b"), 2, 2, 1)
		h.graft(b, a)
		h.graftsOnly(b, "")
		h.reads(b, 0, 2)
		h.graft(b, a)
		head := h.clone(b, replica)
		h.reads(head, 1, 2)
		h.graftsOnly(b, "")
		h.reads(head, 0, 2)
	}),
	alone("a graft onto the current parent is no error", func(t *testing.T, h *subject) {
		a := h.snapshotOf(snapshotNamed("a"), 2, 1, 0)
		short := h.snapshotOf(snapshotNamed("short"), 1, 1, 0)
		l := h.create(inFlight(1), 2)
		for _, parent := range []string{a, short, ""} {
			h.graftsOnly(l, parent)
			before := h.list()
			h.graft(l, parent)
			require.Equal(t, before, h.list())
		}
	}),
	alone("own clusters mask the parent, written zeros too", func(t *testing.T, h *subject) {
		a := h.snapshotOf(snapshotNamed("a"), 4, 1, 0, 1, 2, 3)
		l := h.create(inFlight(1), 4)
		h.fill(l, 0, 1, 2)
		require.EqualValues(t, 2, h.look(l).Own.Count)
		h.graftsOnly(l, a)
		h.reads(l, 1, 0, 0, 1)
	}),
	alone("a grafted lvol can be written and sealed", func(t *testing.T, h *subject) {
		image := h.snapshotOf(snapshotNamed("a"), 2, 1, 0, 1)
		l := h.create(inFlight(1), 4)
		h.fill(l, 2, 3)
		h.graft(l, image)
		h.fill(l, 3, 0)
		sealed := h.seal(l, snapshotNamed("b"))
		require.Equal(t, image, h.look(sealed).Parent)
		h.reads(sealed, 3, 1, 0, 2)
		h.reads(image, 1, 1)
	}),
	// SPDK's own call would give it the parent of its parent.
	alone("a grandchild is detached from all its ancestors", func(t *testing.T, h *subject) {
		a := h.snapshotOf(snapshotNamed("a"), 3, 1, 0, 1)
		b := h.snapshotOf(snapshotNamed("b"), 3, 2, 1)
		c := h.snapshotOf(snapshotNamed("c"), 3, 3, 2)
		h.graft(b, a)
		h.graft(c, b)
		head := h.clone(c, replica)
		h.graftsOnly(c, "")
		h.reads(c, 0, 0, 3)
		h.reads(head, 0, 0, 3)
		h.reads(b, 1, 2, 0)
	}),
	alone("a snapshot is grafted onto its detached former clone", func(t *testing.T, h *subject) {
		a := h.snapshotOf(snapshotNamed("a"), 2, 1, 0)
		b := h.snapshotOf(snapshotNamed("b"), 2, 2, 1)
		h.graft(b, a)
		h.graft(b, "")
		h.graftsOnly(a, b)
		h.reads(a, 1, 2)
	}),
	alone("one parent has clones of different sizes", func(t *testing.T, h *subject) {
		image := h.snapshotOf(snapshotNamed("a"), 2, 1, 0, 1)
		for i, clusters := range []uint64{1, 2, 3} {
			h.graftsOnly(h.create(inFlight(i+1), clusters), image)
		}
		h.refuses(ports.ErrInvalid, func() error { return h.Delete(h.ctx, image) }, "delete of the parent")
	}),
	alone("an invalid parent is refused", func(t *testing.T, h *subject) {
		a := h.snapshotOf(snapshotNamed("a"), 2, 1, 0)
		l := h.create(inFlight(1), 2)
		writable := h.create(inFlight(2), 2)
		longer := h.create(inFlight(3), 3)
		h.refuses(ports.ErrInvalid, func() error { return h.Graft(h.ctx, l, writable) }, "onto a writable one")
		h.refuses(ports.ErrInvalid, func() error { return h.Graft(h.ctx, l, longer) }, "onto a longer writable one")
		h.refuses(ports.ErrInvalid, func() error { return h.Graft(h.ctx, a, a) }, "a snapshot onto itself")
		h.refuses(ports.ErrInvalid, func() error { return h.Graft(h.ctx, l, l) }, "a writable lvol onto itself")
	}),
	alone("a missing lvol or parent is refused", func(t *testing.T, h *subject) {
		a := h.snapshotOf(snapshotNamed("a"), 2, 1, 0)
		l := h.create(inFlight(1), 2)
		h.refuses(ports.ErrNotFound, func() error { return h.Graft(h.ctx, missing, a) }, "the lvol")
		h.refuses(ports.ErrNotFound, func() error { return h.Graft(h.ctx, l, missing) }, "the parent")
		h.refuses(ports.ErrNotFound, func() error { return h.Graft(h.ctx, missing, "") }, "the detached lvol")
	}),
}

// graftsOnly grafts, and expects that but for the lvol's parent nothing is
// another on the whole store: no UUID, name, size, attribute or own cluster,
// and no helper is left.
func (s *subject) graftsOnly(uuid, parent string) {
	s.t.Helper()
	want := s.list()
	for i := range want.Lvols {
		if want.Lvols[i].UUID == uuid {
			want.Lvols[i].Parent = parent
		}
	}
	s.graft(uuid, parent)
	require.Equal(s.t, want, s.list())
}
