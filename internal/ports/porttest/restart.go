package porttest

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

var restartTests = []test{
	alone("everything is listed as before, and reads the same", func(t *testing.T, h *subject) {
		h.canRestart()
		image, err := h.Seal(h.ctx, h.create(domain.ImageInFlightLvolName("00000001"), 2),
			domain.ImageLvolName("base", h.store.UUID),
			ports.SealRecord{Image: &domain.ImageRecord{UUID: missing, Checksum: "cf83e1357eefb8bd"}})
		require.NoError(t, err)
		a := h.snapshotOf(snapshotNamed("a"), 4, 1, 0)
		h.graft(a, image) // of another size
		head, err := h.Clone(h.ctx, a, replica, h.bytes(5), "base")
		require.NoError(t, err)
		h.fill(head, 2, 4)
		h.snapshotOf(snapshotNamed("leaf"), 4, 3, 2)
		h.create(inFlight(1), 3)
		before := h.list()
		h.Restart(t)
		require.Equal(t, before, h.list())
		for _, l := range before.Lvols {
			require.Equal(t, l, h.look(l.UUID))
		}
		h.reads(head, 1, 0, 0, 0, 2)
	}),
	alone("a snapshot without clones is still a snapshot", func(t *testing.T, h *subject) {
		a := h.restartedLeaf()
		require.True(t, h.look(a).ReadOnly)
		h.refuses(ports.ErrInvalid, func() error {
			_, err := h.Seal(h.ctx, a, snapshotNamed("b"), ports.SealRecord{})
			return err
		}, "seal")
		h.refuses(ports.ErrInvalid, func() error {
			_, err := h.Snapshot(h.ctx, a, snapshotNamed("b"), morning)
			return err
		}, "snapshot")
		h.reads(a, 0, 1, 1)
	}),
	alone("a leaf can be a parent of lvols of any size", func(t *testing.T, h *subject) {
		a := h.restartedLeaf()
		same, longer := h.create(inFlight(1), 3), h.create(inFlight(2), 4)
		h.fill(same, 2, 0)
		h.graftsOnly(same, a)
		h.reads(same, 2, 1, 1)
		h.graftsOnly(longer, a)
		h.reads(longer, 0, 1, 1, 0)
	}),
	alone("a leaf can first be a parent of a longer lvol", func(t *testing.T, h *subject) {
		a := h.restartedLeaf()
		longer := h.create(inFlight(2), 4)
		h.graftsOnly(longer, a)
		h.reads(longer, 0, 1, 1, 0)
	}),
	alone("a leaf can be grafted and detached", func(t *testing.T, h *subject) {
		parent := h.snapshotOf(snapshotNamed("parent"), 2, 2, 0)
		a := h.restartedLeaf()
		h.graftsOnly(a, parent)
		h.reads(a, 2, 1, 1)
		h.graftsOnly(a, "")
		h.reads(a, 0, 1, 1)
	}),
	alone("a leaf can be cloned", func(t *testing.T, h *subject) {
		a := h.restartedLeaf()
		h.reads(h.clone(a, replica), 0, 1, 1)
		longer, err := h.Clone(h.ctx, a, "vol-2-r-4e5f6a7b", h.bytes(4), "base")
		require.NoError(t, err)
		h.reads(longer, 0, 1, 1, 0)
	}),
	alone("a leaf has the same proof", func(t *testing.T, h *subject) {
		h.prover()
		h.canRestart()
		proven := h.snapshotOf(snapshotNamed("proven"), 3, 1, 1, 2)
		proof := h.proof(proven)
		a := h.restartedLeaf()
		require.Equal(t, proof, h.proof(a), "never proven before")
		require.Equal(t, proof, h.proof(proven), "proven before")
	}),
	between("a leaf can be copied", func(t *testing.T, from, to *subject) {
		a := from.restartedLeaf()
		l := to.create(inFlight(1), 3)
		from.copies(a, to, l)
		to.reads(l, 0, 1, 1)
	}),
	alone("a leaf can be deleted", func(t *testing.T, h *subject) {
		a := h.restartedLeaf()
		h.delete(a)
		require.Empty(t, h.names())
		require.Equal(t, h.store.FreeClusters, h.list().FreeClusters)
	}),
	alone("an in-flight lvol can be written, grafted and sealed", func(t *testing.T, h *subject) {
		h.canRestart()
		a := h.snapshotOf(snapshotNamed("a"), 2, 1, 0)
		l := h.create(inFlight(1), 2)
		h.fill(l, 2, 1)
		h.Restart(t)
		h.fill(l, 3, 1)
		h.graft(l, a)
		h.reads(h.seal(l, snapshotNamed("b")), 1, 3)
	}),
	between("a restarted host can receive and send", func(t *testing.T, from, to *subject) {
		from.canRestart()
		to.canRestart()
		a := from.snapshotOf(snapshotNamed("a"), 2, 1, 0)
		x, y := to.create(inFlight(1), 2), to.create(inFlight(2), 2)
		to.receive(x, from)
		to.Restart(t)
		require.NoError(t, to.Release(to.ctx, run))
		from.copies(a, to, x)
		from.Restart(t)
		require.NoError(t, from.Release(from.ctx, run))
		from.copies(a, to, y)
		to.reads(x, 1, 0)
		to.reads(y, 1, 0)
	}),
	between("a copy ends with a restart, and can be repeated", func(t *testing.T, from, to *subject) {
		to.canRestart()
		const clusters = 16
		a := from.snapshotOf(snapshotNamed("a"), clusters, 1, upTo(clusters)...)
		l := to.create(inFlight(1), clusters)
		address := to.receive(l, from)
		ended := make(chan error, 1)
		go func() { ended <- from.Copy(from.ctx, run, a, address, ignore) }()
		to.Restart(t)
		err := <-ended
		// If both are one host, the copy may have begun during the restart, before the
		// store was loaded.
		if err != nil && !errors.Is(err, ports.ErrNotFound) {
			require.ErrorIs(t, err, ports.ErrUnavailable)
		}
		require.NoError(t, from.Release(from.ctx, run))
		require.NoError(t, to.Release(to.ctx, run))
		from.eventually(func() error { return from.copy(from.ctx, a, to, l, nil) })
		require.EqualValues(t, clusters, to.look(l).Own.Count)
	}),
}

func (s *subject) canRestart() {
	s.t.Helper()
	if s.Restart == nil {
		s.t.Skip("this host cannot be restarted here")
	}
}

// restartedLeaf is a snapshot that had no clone when its host was restarted. Its own
// clusters are 1 and 2 of 3, with seed 1.
func (s *subject) restartedLeaf() (uuid string) {
	s.t.Helper()
	s.canRestart()
	uuid = s.snapshotOf(snapshotNamed("leaf"), 3, 1, 1, 2)
	s.Restart(s.t)
	return uuid
}
