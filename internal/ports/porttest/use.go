package porttest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

var (
	exported = domain.User{Kind: domain.UserExport}
	mirrored = domain.User{Kind: domain.UserRAID}
	attached = domain.User{Kind: domain.UserExport, NoDelete: true}
	claimed  = domain.User{Kind: domain.UserClaim, NoDelete: true}
)

var useTests = []test{
	alone("an lvol is listed with its user", func(t *testing.T, h *subject) {
		a := h.snapshotOf(snapshotNamed("a"), 2, 1, 0)
		head, other := h.clone(a, replica), h.clone(a, replica+"0")
		for _, user := range []domain.User{exported, mirrored, attached} {
			user, end := h.use(head, user)
			require.Equal(t, user, h.look(head).UsedBy)
			require.Equal(t, user, h.listed(head).UsedBy)
			require.Zero(t, h.listed(other).UsedBy)
			require.Zero(t, h.listed(a).UsedBy)
			end()
			require.Zero(t, h.listed(head).UsedBy)
			require.Zero(t, h.look(head).UsedBy)
		}
	}),
	alone("a snapshot has users, too", func(t *testing.T, h *subject) {
		a := h.snapshotOf(snapshotNamed("a"), 2, 1, 0)
		for _, user := range []domain.User{exported, claimed} {
			user, end := h.use(a, user)
			require.Equal(t, user, h.listed(a).UsedBy)
			require.Equal(t, user, h.look(a).UsedBy)
			end()
			require.Zero(t, h.listed(a).UsedBy)
		}
	}),
	alone("a snapshot can be taken of an lvol in use", func(t *testing.T, h *subject) {
		head := h.create(replica, 2)
		for i, user := range []domain.User{exported, mirrored, attached} {
			user, end := h.use(head, user)
			snapshot, err := h.Snapshot(h.ctx, head, snapshotNamed(string(rune('a'+i))), morning)
			require.NoError(t, err)
			require.Zero(t, h.listed(snapshot).UsedBy, "the head is used, not its snapshot")
			require.Equal(t, user, h.listed(head).UsedBy)
			end()
		}
	}),
	alone("an lvol in use can be deleted", func(t *testing.T, h *subject) {
		for _, user := range []domain.User{exported, mirrored} {
			head := h.create(replica, 2)
			_, end := h.use(head, user)
			h.eventually(func() error { return h.Delete(h.ctx, head) })
			end()
		}
		require.Empty(t, h.list().Lvols)
	}),
	alone("a delete that would hang the host is refused", func(t *testing.T, h *subject) {
		for _, user := range []domain.User{attached, claimed} {
			l := h.create(inFlight(1), 2)
			if user == claimed {
				l = h.seal(l, snapshotNamed("a"))
			}
			_, end := h.use(l, user)
			h.refuses(ports.ErrInvalid, func() error { return h.Delete(h.ctx, l) }, "delete")
			end()
			h.delete(l)
		}
	}),
	alone("a merge that would hang the host is refused", func(t *testing.T, h *subject) {
		merger, ok := h.Instance.Host.(ports.Merger)
		if !ok {
			t.Skip("this host does not merge")
		}
		a := h.snapshotOf(snapshotNamed("a"), 2, 1, 0)
		head := h.clone(a, replica)
		for _, user := range []domain.User{attached, claimed} {
			_, end := h.use(a, user)
			h.refuses(ports.ErrInvalid, func() error { return merger.Merge(h.ctx, a) }, "merge")
			end()
		}
		require.NoError(t, merger.Merge(h.ctx, a))
		h.reads(head, 1, 0)
	}),
	between("a run is no user of its exports", func(t *testing.T, from, to *subject) {
		l := to.create(inFlight(1), 2)
		to.receive(l, from)
		require.Zero(t, to.listed(l).UsedBy)
		require.Zero(t, to.look(l).UsedBy)
		if opener, ok := to.Instance.Host.(ports.Opener); ok {
			head := to.create(replica, 2)
			bytes, err := opener.Open(to.ctx, run, head)
			require.NoError(t, err)
			require.Zero(t, to.listed(head).UsedBy)
			require.Zero(t, to.look(head).UsedBy)
			require.NoError(t, bytes.Close())
		}
	}),
}

func (s *subject) use(uuid string, user domain.User) (listed domain.User, end func()) {
	s.t.Helper()
	if s.Use == nil {
		s.t.Skip("this host's lvols have no other users")
	}
	listed, end = s.Use(s.t, uuid, user)
	require.Equal(s.t, user.Kind, listed.Kind)
	require.NotEmpty(s.t, listed.Name)
	return listed, end
}

// listed is an lvol as List has it.
func (s *subject) listed(uuid string) domain.Lvol {
	s.t.Helper()
	for _, l := range s.list().Lvols {
		if l.UUID == uuid {
			return l
		}
	}
	s.t.Fatalf("lvol %s is not listed", uuid)
	return domain.Lvol{}
}
