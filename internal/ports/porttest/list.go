package porttest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

var listTests = []test{
	alone("the store lists its properties", func(t *testing.T, h *subject) {
		require.NotEmpty(t, h.store.UUID)
		require.NotEmpty(t, h.store.Name)
		require.NotZero(t, h.store.ClusterSize)
		require.NotZero(t, h.store.BlockSize)
		require.Zero(t, h.store.ClusterSize%h.store.BlockSize)
		require.NotZero(t, h.store.FreeClusters)
		require.LessOrEqual(t, h.store.FreeClusters, h.store.TotalClusters)
	}),
	between("two stores have different UUIDs and the same cluster size", func(t *testing.T, a, b *subject) {
		require.NotEqual(t, a.store.UUID, b.store.UUID)
		require.Equal(t, a.store.ClusterSize, b.store.ClusterSize)
	}),
	alone("the host implements the capabilities that it lists", func(t *testing.T, h *subject) {
		if h.store.Proves {
			require.Implements(t, (*ports.Prover)(nil), h.Instance.Host)
		}
		if h.store.Records {
			require.Implements(t, (*ports.Recorder)(nil), h.Instance.Host)
		}
	}),
	alone("free clusters agree with writes and deletes", func(t *testing.T, h *subject) {
		free := func() uint64 {
			listed := h.list().FreeClusters
			if gauge, ok := h.Instance.Host.(ports.Gauge); ok {
				told, err := gauge.FreeClusters(h.ctx)
				require.NoError(t, err)
				require.Equal(t, listed, told, "alone as in the listing")
			}
			return listed
		}
		before := free()
		l := h.create(inFlight(1), 8)
		require.Equal(t, before, free(), "it is thin")
		h.fill(l, 1, 0, 3, 4)
		require.Equal(t, before-3, free())
		require.NoError(t, h.Delete(h.ctx, l))
		require.Equal(t, before, free())
	}),
	alone("every kind of lvol is listed", func(t *testing.T, h *subject) {
		image, err := h.Seal(h.ctx, h.create(domain.ImageInFlightLvolName("00000001"), 2),
			domain.ImageLvolName("base", h.store.UUID), ports.SealRecord{})
		require.NoError(t, err)
		ancestor := h.snapshotOf(snapshotNamed("a"), 4, 1, 0)
		h.graft(ancestor, image)
		head := h.clone(ancestor, replica)
		filling := h.create(inFlight(1), 3)

		require.Equal(t, []string{
			domain.ImageLvolName("base", h.store.UUID), replica, inFlight(1), snapshotNamed("a"),
		}, h.names())
		for _, want := range []domain.Lvol{
			{UUID: image, Name: domain.ImageLvolName("base", h.store.UUID), Size: h.bytes(2), ReadOnly: true},
			{UUID: ancestor, Name: snapshotNamed("a"), Parent: image, Size: h.bytes(4), ReadOnly: true, Own: domain.Clusters{Count: 1}, Attributes: h.attributes(morning)},
			{UUID: head, Name: replica, Parent: ancestor, Size: h.bytes(4)},
			{UUID: filling, Name: inFlight(1), Size: h.bytes(3)},
		} {
			require.Equal(t, want, h.look(want.UUID))
		}
	}),
	alone("own clusters do not include those of ancestors", func(t *testing.T, h *subject) {
		a := h.snapshotOf(snapshotNamed("a"), 4, 1, 0, 1, 2)
		b := h.snapshotOf(snapshotNamed("b"), 4, 2, 3)
		h.graft(b, a)
		head := h.clone(b, replica)
		h.fill(head, 3, 0, 3)
		require.EqualValues(t, 3, h.look(a).Own.Count)
		require.EqualValues(t, 1, h.look(b).Own.Count)
		require.EqualValues(t, 2, h.look(head).Own.Count)
	}),
	alone("writing the same cluster again allocates nothing more", func(t *testing.T, h *subject) {
		l := h.create(inFlight(1), 4)
		h.fill(l, 1, 2)
		free := h.list().FreeClusters
		h.fill(l, 2, 2)
		require.EqualValues(t, 1, h.look(l).Own.Count)
		require.Equal(t, free, h.list().FreeClusters)
		h.reads(l, 0, 0, 2, 0)
	}),
	alone("a delete frees the written clusters", func(t *testing.T, h *subject) {
		l := h.create(inFlight(1), 8)
		require.Equal(t, h.store.FreeClusters, h.list().FreeClusters, "thin: nothing is taken yet")
		h.fill(l, 1, 0, 1, 5)
		require.Equal(t, h.store.FreeClusters-3, h.list().FreeClusters)
		snapshot := h.seal(l, snapshotNamed("a"))
		require.Equal(t, h.store.FreeClusters-3, h.list().FreeClusters, "sealing takes and gives nothing")
		h.delete(snapshot)
		require.Equal(t, h.store.FreeClusters, h.list().FreeClusters)
	}),
	alone("a Look at a missing lvol is refused", func(t *testing.T, h *subject) {
		h.refuses(ports.ErrNotFound, func() error {
			_, err := h.Look(h.ctx, missing)
			return err
		}, "look")
	}),
}
