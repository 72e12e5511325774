package porttest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

var mergeTests = []test{
	merging("a snapshot merges into its head", func(t *testing.T, h *subject, m ports.Merger) {
		a := h.snapshotOf(snapshotNamed("a"), 4, 1, 0, 1)
		head := h.clone(a, replica)
		h.fill(head, 2, 1, 2)
		require.NoError(t, m.Merge(h.ctx, a))
		require.Equal(t, []string{replica}, h.names())
		require.Equal(t, domain.Lvol{UUID: head, Name: replica, Size: h.bytes(4), Own: domain.Clusters{Count: 3}}, h.look(head))
		h.reads(head, 1, 2, 2, 0)
	}),
	merging("a snapshot merges into its clone, which keeps its metadata", func(t *testing.T, h *subject, m ports.Merger) {
		a := h.snapshotOf(snapshotNamed("a"), 4, 1, 0)
		b := h.snapshotOf(snapshotNamed("b"), 4, 2, 0, 1)
		c := h.snapshotOf(snapshotNamed("c"), 4, 3, 1, 2)
		h.graft(b, a)
		h.graft(c, b)
		head := h.clone(c, replica)
		was := h.look(c)
		require.NoError(t, m.Merge(h.ctx, b))
		was.Parent, was.Own.Count = a, 3
		require.Equal(t, was, h.look(c))
		require.Equal(t, []string{replica, snapshotNamed("a"), snapshotNamed("c")}, h.names())
		h.reads(head, 2, 3, 3, 0)
		h.reads(a, 1, 0, 0, 0)
	}),
	merging("the ancestor merges, and its clone gets the smaller image as parent", func(t *testing.T, h *subject, m ports.Merger) {
		image := h.snapshotOf("bi-base", 2, 1, 0, 1)
		a := h.snapshotOf(snapshotNamed("a"), 4, 2, 1)
		b := h.snapshotOf(snapshotNamed("b"), 4, 3, 2)
		h.graft(a, image)
		h.graft(b, a)
		require.NoError(t, m.Merge(h.ctx, a))
		require.Equal(t, image, h.look(b).Parent)
		require.EqualValues(t, 2, h.look(b).Own.Count)
		h.reads(b, 1, 2, 3, 0)
		h.reads(image, 1, 1)
	}),
	merging("a snapshot merges into a longer one", func(t *testing.T, h *subject, m ports.Merger) {
		a := h.snapshotOf(snapshotNamed("a"), 2, 1, 0, 1)
		head, err := h.Clone(h.ctx, a, replica, h.bytes(4), "")
		require.NoError(t, err)
		h.fill(head, 2, 1, 3)
		require.NoError(t, m.Merge(h.ctx, a))
		require.EqualValues(t, 3, h.look(head).Own.Count)
		h.reads(head, 1, 2, 0, 2)
	}),
	merging("the clone has another proof after a merge", func(t *testing.T, h *subject, m ports.Merger) {
		a := h.snapshotOf(snapshotNamed("a"), 3, 1, 0)
		b := h.snapshotOf(snapshotNamed("b"), 3, 2, 1)
		h.graft(b, a)
		before := h.proof(b)
		require.NoError(t, m.Merge(h.ctx, a))
		after := h.proof(b)
		require.EqualValues(t, 2, after.Count)
		require.NotEqual(t, before.Map, after.Map)
		require.NotEqual(t, before.Checksum, after.Checksum)
	}),
	merging("a snapshot without exactly one clone is refused", func(t *testing.T, h *subject, m ports.Merger) {
		a := h.snapshotOf(snapshotNamed("a"), 2, 1, 0)
		h.refuses(ports.ErrInvalid, func() error { return m.Merge(h.ctx, a) }, "nothing does")
		b := h.snapshotOf(snapshotNamed("b"), 2, 2, 1)
		h.graft(b, a)
		head := h.clone(a, replica)
		h.refuses(ports.ErrInvalid, func() error { return m.Merge(h.ctx, a) }, "two do")
		h.refuses(ports.ErrInvalid, func() error { return m.Merge(h.ctx, head) }, "it is writable")
		h.refuses(ports.ErrNotFound, func() error { return m.Merge(h.ctx, missing) }, "it is missing")
		h.reads(b, 1, 2)
		h.reads(head, 1, 0)
	}),
}

// merging is a test that is skipped on a host that cannot merge.
func merging(name string, run func(t *testing.T, h *subject, m ports.Merger)) test {
	return alone(name, func(t *testing.T, h *subject) {
		m, ok := h.Instance.Host.(ports.Merger)
		if !ok {
			t.Skip("the host is no ports.Merger")
		}
		run(t, h, m)
	})
}
