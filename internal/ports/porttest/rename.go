package porttest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// aside is the name that a rebuild gives a snapshot with entry points.
var aside = domain.InFlightLvolName(source, "0badcafe")

var renameTests = []test{
	renaming("a head is renamed, with and without users", func(t *testing.T, h *subject, r ports.Renamer) {
		a := h.snapshotOf(snapshotNamed("a"), 2, 1, 0)
		head := h.clone(a, inFlight(1))
		h.fill(head, 2, 1)
		was := h.look(head)
		was.Name = replica
		require.NoError(t, r.Rename(h.ctx, head, replica))
		require.Equal(t, was, h.look(head))
		require.Equal(t, []string{replica, snapshotNamed("a")}, h.names())
		if h.Use == nil {
			return
		}
		for i, user := range []domain.User{exported, mirrored} {
			_, end := h.use(head, user)
			require.NoError(t, r.Rename(h.ctx, head, inFlight(i+2)))
			require.Equal(t, inFlight(i+2), h.listed(head).Name)
			end()
		}
		h.reads(head, 1, 2)
	}),
	renaming("a snapshot with an entry point is renamed, and its name is free", func(t *testing.T, h *subject, r ports.Renamer) {
		h.renamesSnapshots()
		entryPoint, head := h.cloned()
		daily := h.look(entryPoint).Parent
		was := h.look(daily)
		name := was.Name
		was.Name = aside
		require.NoError(t, r.Rename(h.ctx, daily, aside))
		require.Equal(t, was, h.look(daily))
		require.Equal(t, daily, h.look(entryPoint).Parent)
		h.reads(head, 2, 1, 0)
		h.snapshotOf(name, 3, 4, 0)
		require.NoError(t, r.Rename(h.ctx, daily, aside), "it has the name already")
		require.Equal(t, daily, h.look(entryPoint).Parent)
	}),
	renaming("a renamed snapshot is set aside: its entry point goes to the new one, and it is deleted", func(t *testing.T, h *subject, r ports.Renamer) {
		h.renamesSnapshots()
		entryPoint, head := h.cloned()
		daily := h.look(entryPoint).Parent
		name := h.look(daily).Name
		require.NoError(t, r.Rename(h.ctx, daily, aside))
		made := h.snapshotOf(name, 3, 5, 1, 2)
		h.graft(entryPoint, made)
		h.reads(head, 2, 5, 5)
		h.delete(daily)
		require.Equal(t, made, h.look(entryPoint).Parent)
		h.reads(head, 2, 5, 5)
	}),
	renaming("a renamed snapshot and the one that has its name are there after a restart", func(t *testing.T, h *subject, r ports.Renamer) {
		h.renamesSnapshots()
		h.canRestart()
		entryPoint, head := h.cloned()
		daily := h.look(entryPoint).Parent
		name := h.look(daily).Name
		require.NoError(t, r.Rename(h.ctx, daily, aside))
		h.snapshotOf(name, 3, 4, 0)
		before := h.list()
		h.Restart(t)
		require.Equal(t, before, h.list())
		require.Equal(t, daily, h.look(entryPoint).Parent)
		h.reads(head, 2, 1, 0)
	}),
	renaming("a snapshot without clones is renamed after a restart, too", func(t *testing.T, h *subject, r ports.Renamer) {
		h.renamesSnapshots()
		h.canRestart()
		a := h.snapshotOf(snapshotNamed("a"), 2, 1, 0)
		h.Restart(t)
		require.NoError(t, r.Rename(h.ctx, a, snapshotNamed("b")))
		h.Restart(t)
		require.Equal(t, []string{snapshotNamed("b")}, h.names())
	}),
	renaming("a host that does not rename snapshots refuses, and nothing changes", func(t *testing.T, h *subject, r ports.Renamer) {
		if h.store.RenamesSnapshots {
			t.Skip("this host renames snapshots")
		}
		entryPoint, head := h.cloned()
		daily := h.look(entryPoint).Parent
		for _, l := range []string{daily, entryPoint} {
			h.refuses(ports.ErrUnsupported, func() error { return r.Rename(h.ctx, l, aside) }, "rename")
		}
		require.NoError(t, r.Rename(h.ctx, daily, h.look(daily).Name), "it has the name already")
		require.Equal(t, daily, h.look(entryPoint).Parent)
		h.reads(head, 2, 1, 0)
	}),
	renaming("a missing lvol, a taken name and one that is too long are refused", func(t *testing.T, h *subject, r ports.Renamer) {
		a := h.snapshotOf(snapshotNamed("a"), 2, 1, 0)
		head := h.clone(a, replica)
		h.refuses(ports.ErrNotFound, func() error { return r.Rename(h.ctx, missing, "x") }, "missing")
		h.refuses(ports.ErrExists, func() error { return r.Rename(h.ctx, head, snapshotNamed("a")) }, "taken")
		if h.store.RenamesSnapshots {
			h.refuses(ports.ErrExists, func() error { return r.Rename(h.ctx, a, replica) }, "taken by a head")
		}
		if h.store.NameLimit > 0 {
			h.refuses(ports.ErrInvalid, func() error { return r.Rename(h.ctx, head, strings.Repeat("x", h.store.NameLimit+1)) }, "too long")
		}
		require.NoError(t, r.Rename(h.ctx, head, replica), "it has the name already")
	}),
}

// renaming is a test that is skipped on a host that cannot rename.
func renaming(name string, run func(t *testing.T, h *subject, r ports.Renamer)) test {
	return alone(name, func(t *testing.T, h *subject) {
		r, ok := h.Instance.Host.(ports.Renamer)
		if !ok {
			t.Skip("the host is no ports.Renamer")
		}
		run(t, h, notingRenamer{r, h.Host.(*notingHost)})
	})
}

func (s *subject) renamesSnapshots() {
	s.t.Helper()
	if !s.store.RenamesSnapshots {
		s.t.Skip("this host renames writable lvols only")
	}
}
