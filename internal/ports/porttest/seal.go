package porttest

import (
	"fmt"
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
	alone("sealing onto a taken name does not change the lvol", func(t *testing.T, h *subject) {
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
	alone("lvols can be grafted onto a snapshot as soon as Sealed is called", func(t *testing.T, h *subject) {
		const n = 6
		parent, grafts := "", make(chan error, n)
		for i := range n {
			filling := h.create(inFlight(2*i), 2)
			h.fill(filling, byte(i+1), uint64(i%2))
			child := h.create(inFlight(2*i+1), 2)
			if parent != "" {
				h.graft(filling, parent)
			}
			said := 0
			sealed, err := h.Seal(h.ctx, filling, snapshotNamed(fmt.Sprint("s", i)), ports.SealRecord{Sealed: func(snapshot string) {
				said++
				parent = snapshot
				go func() { grafts <- untilFree(h.ctx, func() error { return h.Graft(h.ctx, child, snapshot) }) }()
			}})
			require.NoError(t, err)
			if said == 0 {
				t.Skip("this host does not say before its seal is over")
			}
			require.Equal(t, 1, said)
			require.Equal(t, parent, sealed)
			require.NoError(t, <-grafts)
			require.Equal(t, sealed, h.look(child).Parent)
			require.Len(t, h.names(), 2*(i+1), "nothing else is left")
		}
		h.reads(parent, n-1, n)
		filling := h.create(inFlight(99), 2)
		_, err := h.Seal(h.ctx, filling, snapshotNamed("s0"), ports.SealRecord{Sealed: func(string) { require.Fail(t, "it is not there") }})
		require.ErrorIs(t, err, ports.ErrExists)
	}),
	alone("Count agrees with Look", func(t *testing.T, h *subject) {
		counter, ok := h.Instance.Host.(ports.Counter)
		if !ok {
			t.Skip("this host does not count: its Look costs no more")
		}
		a := h.snapshotOf(snapshotNamed("a"), 4, 1, 0, 2)
		l := h.create(inFlight(1), 4)
		h.fill(l, 2, 3)
		h.graft(l, a)
		for _, uuid := range []string{a, l} {
			own, err := counter.Count(h.ctx, uuid)
			require.NoError(t, err)
			require.Equal(t, h.look(uuid).Own.Count, own)
		}
		h.refuses(ports.ErrNotFound, func() error { _, err := counter.Count(h.ctx, missing); return err }, "count")
	}),
	alone("sealing a missing lvol is refused", func(t *testing.T, h *subject) {
		h.refuses(ports.ErrNotFound, func() error {
			_, err := h.Seal(h.ctx, missing, snapshotNamed("a"), ports.SealRecord{})
			return err
		}, "seal")
	}),
}
