package porttest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

var proveTests = []test{
	between("equal own clusters have equal proofs, on two hosts too", func(t *testing.T, x, y *subject) {
		a := x.snapshotOf(snapshotNamed("a"), 4, 1, 0, 3)
		parent := y.snapshotOf(snapshotNamed("parent"), 4, 9, 0, 1, 2, 3)
		b := y.snapshotOf(snapshotNamed("b"), 4, 1, 0, 3)
		y.graft(b, parent)
		proof := x.proof(a)
		require.EqualValues(t, 2, proof.Count)
		require.Equal(t, proof, y.proof(b), "the parent does not count")
	}),
	between("a copy has the proof of what was copied", func(t *testing.T, from, to *subject) {
		filled := from.create(inFlight(1), 4)
		from.fill(filled, 1, 1)
		from.fill(filled, 2, 2)
		from.fill(filled, 0, 3)
		a := from.seal(filled, snapshotNamed("a"))
		l := to.create(inFlight(1), 4)
		from.copies(a, to, l)
		require.Equal(t, from.proof(a), to.proof(to.seal(l, snapshotNamed("a"))))
	}),
	alone("the same bytes at other positions have another map", func(t *testing.T, h *subject) {
		a := h.proof(h.snapshotOf(snapshotNamed("a"), 8, 1, 2))
		b := h.proof(h.snapshotOf(snapshotNamed("b"), 8, 1, 5))
		require.Equal(t, a.Count, b.Count)
		require.NotEqual(t, a.Map, b.Map)
	}),
	alone("other bytes at the same positions have another checksum", func(t *testing.T, h *subject) {
		a := h.proof(h.snapshotOf(snapshotNamed("a"), 4, 1, 0, 1))
		b := h.proof(h.snapshotOf(snapshotNamed("b"), 4, 2, 0, 1))
		require.Equal(t, a.Map, b.Map)
		require.NotEqual(t, a.Checksum, b.Checksum)
	}),
	alone("two clusters in another order have another checksum", func(t *testing.T, h *subject) {
		var proofs []domain.Clusters
		for _, order := range [][2]byte{{1, 2}, {2, 1}} {
			l := h.create(inFlight(1), 2)
			h.fill(l, order[0], 0)
			h.fill(l, order[1], 1)
			proofs = append(proofs, h.proof(h.seal(l, snapshotNamed(string('a'+order[0])))))
		}
		require.Equal(t, proofs[0].Map, proofs[1].Map)
		require.NotEqual(t, proofs[0].Checksum, proofs[1].Checksum)
	}),
	alone("an empty snapshot is proven, and one of zeros is not the same", func(t *testing.T, h *subject) {
		empty := h.proof(h.snapshotOf(snapshotNamed("empty"), 2, 1))
		require.Zero(t, empty.Count)
		zeros := h.proof(h.snapshotOf(snapshotNamed("zeros"), 2, 0, 0))
		require.EqualValues(t, 1, zeros.Count)
		require.NotEqual(t, empty, zeros)
	}),
	alone("grafts and clones do not change a proof", func(t *testing.T, h *subject) {
		a := h.snapshotOf(snapshotNamed("a"), 3, 1, 0)
		short := h.snapshotOf(snapshotNamed("short"), 2, 2, 0, 1)
		proof := h.proof(a)
		h.graft(a, short)
		require.Equal(t, proof, h.proof(a))
		h.clone(a, replica)
		require.Equal(t, proof, h.proof(a))
		h.graft(a, "")
		require.Equal(t, proof, h.proof(a))
	}),
	alone("proving changes nothing on the store", func(t *testing.T, h *subject) {
		prover := h.prover()
		a := h.snapshotOf(snapshotNamed("a"), 2, 1, 0)
		b := h.snapshotOf(snapshotNamed("b"), 2, 2, 1)
		h.graft(b, a)
		before := h.list()
		_, err := prover.Prove(h.ctx, []string{a, b})
		require.NoError(t, err)
		require.Equal(t, before, h.list())
	}),
	alone("lvols that cannot be proven are left out", func(t *testing.T, h *subject) {
		prover := h.prover()
		a := h.snapshotOf(snapshotNamed("a"), 2, 1, 0)
		b := h.snapshotOf(snapshotNamed("b"), 2, 2, 1)
		gone := h.snapshotOf(snapshotNamed("gone"), 2, 3, 1)
		h.delete(gone)
		head := h.clone(b, replica)
		filling := h.create(inFlight(1), 2)
		h.fill(filling, 4, 0)
		proven, err := prover.Prove(h.ctx, []string{a, missing, head, b, gone, filling})
		require.NoError(t, err)
		require.Equal(t, map[string]domain.Clusters{a: h.proof(a), b: h.proof(b)}, proven)
		proven, err = prover.Prove(h.ctx, nil)
		require.NoError(t, err)
		require.Empty(t, proven)
	}),
	alone("ProveKnown computes nothing", func(t *testing.T, h *subject) {
		prover := h.prover()
		knows, ok := prover.(ports.KnownProver)
		if !ok {
			t.Skip("this host does not tell what it knows from what it would compute")
		}
		a := h.snapshotOf(snapshotNamed("a"), 2, 1, 0)
		b := h.snapshotOf(snapshotNamed("b"), 2, 2, 1)
		for range 2 {
			known, err := knows.ProveKnown(h.ctx, []string{a, b, missing})
			require.NoError(t, err)
			require.Empty(t, known, "it was asked of nobody")
		}
		proof := h.proof(a)
		known, err := knows.ProveKnown(h.ctx, []string{a, b, missing})
		require.NoError(t, err)
		require.Equal(t, map[string]domain.Clusters{a: proof}, known)
		known, err = knows.ProveKnown(h.ctx, nil)
		require.NoError(t, err)
		require.Empty(t, known)
	}),
	alone("a host without checksums is ErrUnsupported", func(t *testing.T, h *subject) {
		if h.store.Proves {
			t.Skip("this host proves")
		}
		a := h.snapshotOf(snapshotNamed("a"), 2, 1, 0)
		if prover, ok := h.Instance.Host.(ports.Prover); ok {
			h.refuses(ports.ErrUnsupported, func() error {
				_, err := prover.Prove(h.ctx, []string{a})
				return err
			}, "prove")
		}
	}),
}

func (s *subject) prover() ports.Prover {
	s.t.Helper()
	if !s.store.Proves {
		s.t.Skip("this host proves nothing")
	}
	require.Implements(s.t, (*ports.Prover)(nil), s.Instance.Host)
	return s.Instance.Host.(ports.Prover)
}

// proof is that of one snapshot; it agrees with what is listed.
func (s *subject) proof(snapshot string) domain.Clusters {
	s.t.Helper()
	proven, err := s.prover().Prove(s.ctx, []string{snapshot})
	require.NoError(s.t, err)
	require.Len(s.t, proven, 1)
	proof := proven[snapshot]
	require.True(s.t, proof.Proven(), "map and checksum have to be there: %+v", proof)
	require.Equal(s.t, s.look(snapshot).Own.Count, proof.Count)
	return proof
}
