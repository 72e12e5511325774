package porttest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

var sealTests = []test{
	alone("sealing keeps data, size and parent, records attributes and leaves nothing behind", func(t *testing.T, h *subject) {
		a := h.snapshotOf(snapshotNamed("a"), 4, 1, 0, 1)
		filling := h.create(inFlight(1), 4)
		h.fill(filling, 2, 1, 3)
		h.graft(filling, a)
		b, err := h.Seal(h.ctx, filling, snapshotNamed("b"), ports.SealRecord{Attributes: evening})
		require.NoError(t, err)

		require.Equal(t, domain.Lvol{
			UUID: b, Name: snapshotNamed("b"), Parent: a, Size: h.bytes(4), ReadOnly: true,
			Own: domain.Clusters{Count: 2}, Attributes: h.attributes(evening),
		}, h.look(b))
		require.Equal(t, []string{snapshotNamed("a"), snapshotNamed("b")}, h.names())
		h.reads(b, 1, 2, 0, 2)
	}),
	alone("both values of user-created are kept", func(t *testing.T, h *subject) {
		for name, attributes := range map[string]domain.Attributes{"by-user": morning, "by-system": evening} {
			l, err := h.Seal(h.ctx, h.create(inFlight(1), 1), snapshotNamed(name), ports.SealRecord{Attributes: attributes})
			require.NoError(t, err)
			require.Equal(t, h.attributes(attributes), h.look(l).Attributes, "%s", name)
		}
	}),
	alone("a sealed lvol without a parent has none, and stays sealed with clones or without", func(t *testing.T, h *subject) {
		a := h.snapshotOf(snapshotNamed("a"), 2, 1, 0)
		require.Empty(t, h.look(a).Parent)
		require.True(t, h.look(a).ReadOnly)
		head := h.clone(a, replica)
		require.True(t, h.look(a).ReadOnly)
		h.delete(head)
		require.True(t, h.look(a).ReadOnly)
		h.refuses(ports.ErrInvalid, func() error {
			_, err := h.Seal(h.ctx, a, snapshotNamed("b"), ports.SealRecord{Attributes: morning})
			return err
		}, "seal a snapshot")
	}),
	alone("an empty lvol can be sealed", func(t *testing.T, h *subject) {
		a := h.seal(h.create(inFlight(1), 2), snapshotNamed("a"))
		require.Zero(t, h.look(a).Own.Count)
		h.reads(a, 0, 0)
	}),
	alone("sealing onto a taken name leaves the lvol as it was", func(t *testing.T, h *subject) {
		h.snapshotOf(snapshotNamed("a"), 2, 1, 0)
		filling := h.create(inFlight(1), 2)
		h.fill(filling, 2, 1)
		h.refuses(ports.ErrExists, func() error {
			_, err := h.Seal(h.ctx, filling, snapshotNamed("a"), ports.SealRecord{Attributes: morning})
			return err
		}, "seal")
		h.fill(filling, 3, 0)
		b := h.seal(filling, snapshotNamed("b"))
		h.reads(b, 3, 2)
	}),
	alone("an image is sealed with its record", func(t *testing.T, h *subject) {
		record := domain.ImageRecord{UUID: "7b0c2a52-5f6e-4b86-9e0f-2d1c0b9a8f7e", Checksum: "cf83e1357eefb8bd"}
		name := domain.ImageLvolName("base", h.store.UUID)
		l, err := h.Seal(h.ctx, h.create(domain.ImageInFlightLvolName("00000001"), 1), name, ports.SealRecord{Image: &record})
		require.NoError(t, err)
		if !h.store.Records {
			record = domain.ImageRecord{}
		}
		require.Equal(t, record, h.look(l).Image)
		require.Equal(t, []string{name}, h.names())
	}),
	alone("sealing what is missing is refused", func(t *testing.T, h *subject) {
		h.refuses(ports.ErrNotFound, func() error {
			_, err := h.Seal(h.ctx, missing, snapshotNamed("a"), ports.SealRecord{})
			return err
		}, "seal")
	}),
}
