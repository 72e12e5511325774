package porttest

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

var prepareTests = []test{
	between("a prepared graft has the result of any other", func(t *testing.T, from, to *subject) {
		to.preparer()
		a := from.snapshotOf(snapshotNamed("a"), 3, 5, 1)
		for name, parent := range map[string]string{
			"same":    to.snapshotOf("same", 3, 1, 0, 1, 2),
			"larger":  to.snapshotOf("larger", 4, 2, 0, 1, 2, 3),
			"smaller": to.snapshotOf("smaller", 2, 3, 0, 1),
		} {
			before := to.list()
			to.prepares(3, parent)
			to.hasOnlyHelpersBesides(before)
			l := to.create(inFlight(1), 3)
			from.copies(a, to, l)
			to.graft(l, parent)
			require.NoError(t, to.Release(to.ctx, run))
			require.Len(t, to.list().Lvols, len(before.Lvols)+1, "no helper is left")
			require.Equal(t, parent, to.look(l).Parent)
			seed := map[string]byte{"same": 1, "larger": 2, "smaller": 3}[name]
			end := map[string]byte{"same": 1, "larger": 2, "smaller": 0}[name]
			to.reads(l, seed, 5, end)
			sealed := to.seal(l, snapshotNamed(name))
			require.Equal(t, parent, to.look(sealed).Parent)
			to.reads(sealed, seed, 5, end)
			to.delete(sealed)
			to.delete(parent)
		}
	}),
	alone("several grafts are prepared, and each is used once", func(t *testing.T, h *subject) {
		h.preparer()
		image := h.snapshotOf(snapshotNamed("a"), 2, 1, 0, 1)
		for _, clusters := range []uint64{3, 4, 3} {
			h.prepares(clusters, image)
		}
		var made []string
		for i, clusters := range []uint64{3, 3, 3, 4} { // one more than was prepared
			made = append(made, h.create(inFlight(i+1), clusters))
			h.graft(made[i], image)
		}
		require.Len(t, h.names(), 5)
		h.reads(made[2], 1, 1, 0)
		h.reads(made[3], 1, 1, 0, 0)
	}),
	alone("releasing the run removes unused helpers", func(t *testing.T, h *subject) {
		h.preparer()
		image := h.snapshotOf(snapshotNamed("image"), 2, 1, 0, 1)
		other := h.snapshotOf(snapshotNamed("other"), 2, 2, 0, 1)
		for name, use := range map[string]func(){
			"not at all":                       func() {},
			"another parent":                   func() { l := h.create(inFlight(1), 3); h.graft(l, other); h.delete(l) },
			"another size":                     func() { l := h.create(inFlight(1), 4); h.graft(l, image); h.delete(l) },
			"a graft of the clone of a helper": func() { l := h.clone(image, inFlight(1)); h.graft(l, other); h.delete(l) },
		} {
			want := h.list()
			h.prepares(3, image)
			use()
			require.NoError(t, h.Release(h.ctx, run))
			require.Equal(t, want, h.list(), name)
		}
		h.delete(image)
	}),
	alone("a prepared graft works after a restart", func(t *testing.T, h *subject) {
		h.preparer()
		h.canRestart()
		image := h.snapshotOf(snapshotNamed("a"), 2, 1, 0, 1)
		l := h.create(inFlight(1), 3)
		h.prepares(3, image)
		h.Restart(t)
		h.graft(l, image)
		require.Len(t, h.names(), 2)
		h.reads(l, 1, 1, 0)
	}),
	alone("a graft works without its deleted helpers", func(t *testing.T, h *subject) {
		h.preparer()
		image := h.snapshotOf(snapshotNamed("a"), 2, 1, 0, 1)
		l := h.create(inFlight(1), 3)
		want := h.list()
		h.prepares(3, image)
		for left := h.helpers(want); len(left) > 0; left = h.helpers(want) { // leaves first
			deleted := slices.ContainsFunc(left, func(helper domain.Lvol) bool { return h.Delete(h.ctx, helper.UUID) == nil })
			require.True(t, deleted, "%v", left)
		}
		h.graftsOnly(l, image)
		h.reads(l, 1, 1, 0)
	}),
	alone("an invalid parent is refused", func(t *testing.T, h *subject) {
		preparer := h.preparer()
		writable := h.create(inFlight(1), 2)
		for parent, kind := range map[string]error{missing: ports.ErrNotFound, writable: ports.ErrInvalid} {
			h.refuses(kind, func() error { return preparer.PrepareGraft(h.ctx, run, h.bytes(3), parent) }, parent)
		}
	}),
}

func (s *subject) preparer() ports.Preparer {
	s.t.Helper()
	preparer, ok := s.Instance.Host.(ports.Preparer)
	if !ok {
		s.t.Skip("this host does not prepare grafts")
	}
	return preparer
}

func (s *subject) prepares(clusters uint64, parent string) {
	s.t.Helper()
	require.NoError(s.t, s.preparer().PrepareGraft(s.ctx, run, s.bytes(clusters), parent))
}

// helpers are the lvols that are listed besides, which have in-flight names of the
// replica.
func (s *subject) helpers(besides domain.Listing) (helpers []domain.Lvol) {
	s.t.Helper()
	known := make(map[string]bool)
	for _, l := range besides.Lvols {
		known[l.UUID] = true
	}
	for _, l := range s.list().Lvols {
		if !known[l.UUID] {
			of, is := domain.ReplicaInFlight(l.Name)
			require.True(s.t, is && of == replica, "%s is no name in flight of %s", l.Name, replica)
			helpers = append(helpers, l)
		}
	}
	return helpers
}

// hasOnlyHelpersBesides expects that but for helpers all lvols are as they were.
func (s *subject) hasOnlyHelpersBesides(want domain.Listing) {
	s.t.Helper()
	now := s.list()
	helpers := make(map[string]bool)
	for _, l := range s.helpers(want) {
		helpers[l.UUID] = true
	}
	var others []domain.Lvol
	for _, l := range now.Lvols {
		if !helpers[l.UUID] {
			others = append(others, l)
		}
	}
	require.Equal(s.t, want.Lvols, others)
}
