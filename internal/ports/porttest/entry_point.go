package porttest

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// source is a replica of the volume that linked clones share a snapshot of.
const source = "vol-9-r-0a1b2c3d"

var entryPointTests = []test{
	alone("an empty lvol on a snapshot of another replica is sealed as its entry point", func(t *testing.T, h *subject) {
		daily := h.daily()
		l := h.create(inFlight(1), 3)
		h.graft(l, daily)
		name := domain.EntryPointLvolName(source, "daily")
		entryPoint, err := h.Seal(h.ctx, l, name, ports.SealRecord{})
		require.NoError(t, err)
		require.Equal(t, domain.Lvol{UUID: entryPoint, Name: name, Parent: daily, Size: h.bytes(3), ReadOnly: true}, h.look(entryPoint))
		require.Equal(t, []string{name, domain.SnapshotLvolName(source, "daily")}, h.names())
		h.reads(entryPoint, 1, 1, 0)
	}),
	alone("linked clones of any size are grafted onto it, and cloned from it", func(t *testing.T, h *subject) {
		entryPoint := h.entryPoint(h.daily())
		same, longer := h.create(inFlight(1), 3), h.create(inFlight(2), 4)
		h.fill(same, 2, 1)
		h.graftsOnly(same, entryPoint)
		h.graftsOnly(longer, entryPoint)
		h.reads(same, 1, 2, 0)
		h.reads(longer, 1, 1, 0, 0)
		h.reads(h.clone(entryPoint, replica), 1, 1, 0)
	}),
	alone("without clones it can be a parent after a restart, too", func(t *testing.T, h *subject) {
		h.canRestart()
		entryPoint := h.entryPoint(h.daily())
		before := h.list()
		h.Restart(t)
		require.Equal(t, before, h.list())
		same, longer := h.create(inFlight(1), 3), h.create(inFlight(2), 4)
		h.graftsOnly(same, entryPoint)
		h.graftsOnly(longer, entryPoint)
		h.reads(same, 1, 1, 0)
		h.reads(longer, 1, 1, 0, 0)
	}),
	alone("it is grafted onto a snapshot without clones after a restart", func(t *testing.T, h *subject) {
		h.canRestart()
		entryPoint, head := h.cloned()
		later := h.later()
		h.Restart(t)
		h.graftsOnly(entryPoint, later)
		h.reads(head, 2, 3, 3)
	}),
	// SPDK itself would give the clone the snapshot as its parent.
	alone("it is not deleted while it has one clone", func(t *testing.T, h *subject) {
		entryPoint, head := h.cloned()
		h.refuses(ports.ErrInvalid, func() error { return h.Delete(h.ctx, entryPoint) }, "delete")
		h.reads(head, 2, 1, 0)
		h.delete(head)
		h.delete(entryPoint)
	}),
	// SPDK itself would move the snapshot's clusters into the entry point.
	alone("its snapshot is not deleted, also if it has no other clone", func(t *testing.T, h *subject) {
		daily := h.daily()
		entryPoint := h.entryPoint(daily)
		h.refuses(ports.ErrInvalid, func() error { return h.Delete(h.ctx, daily) }, "delete")
		require.Zero(t, h.look(entryPoint).Own.Count)
		h.reads(entryPoint, 1, 1, 0)
	}),
	alone("it is grafted while a clone is in use", func(t *testing.T, h *subject) {
		entryPoint, head := h.cloned()
		later := h.later()
		_, end := h.use(head, exported)
		h.graft(entryPoint, later)
		end()
		h.reads(head, 2, 3, 3)
	}),
	alone("while it is grafted, its clones read the old or the new data", func(t *testing.T, h *subject) {
		entryPoint, head := h.cloned()
		daily, later := h.look(entryPoint).Parent, h.later()
		grafted := make(chan error, 1)
		go func() { grafted <- h.graftInTurn(entryPoint, 10, later, daily) }()
		h.readsUntil(grafted, head, 1, h.content(1), h.content(3))
		require.Equal(t, daily, h.look(entryPoint).Parent)
		require.EqualValues(t, 1, h.look(head).Own.Count)
	}),
}

// daily is a snapshot of the source volume: 3 clusters, of which 0 and 1 are of seed 1.
func (s *subject) daily() (uuid string) {
	s.t.Helper()
	return s.snapshotOf(domain.SnapshotLvolName(source, "daily"), 3, 1, 0, 1)
}

// later is another snapshot of the source volume: clusters 1 and 2 are of seed 3.
func (s *subject) later() (uuid string) {
	s.t.Helper()
	return s.snapshotOf(domain.SnapshotLvolName(source, "later"), 3, 3, 1, 2)
}

// entryPoint makes the entry point on daily.
func (s *subject) entryPoint(daily string) (uuid string) {
	s.t.Helper()
	l := s.create(inFlight(0), 3)
	s.graft(l, daily)
	uuid, err := s.Seal(s.ctx, l, domain.EntryPointLvolName(source, "daily"), ports.SealRecord{})
	require.NoError(s.t, err)
	return uuid
}

// cloned is an entry point on daily with one clone, whose cluster 0 is of seed 2.
func (s *subject) cloned() (entryPoint, head string) {
	s.t.Helper()
	entryPoint = s.entryPoint(s.daily())
	head = s.clone(entryPoint, replica)
	s.fill(head, 2, 0)
	return entryPoint, head
}

// graftInTurn grafts the lvol onto each of the parents, n times.
func (s *subject) graftInTurn(uuid string, n int, parents ...string) error {
	for range n {
		for _, parent := range parents {
			if err := s.Graft(s.ctx, uuid, parent); err != nil {
				return err
			}
		}
	}
	return nil
}

// readsUntil reads a cluster again and again until the change has ended, which must not
// fail. Each time it expects one of these contents.
func (s *subject) readsUntil(changed <-chan error, uuid string, cluster uint64, contents ...[]byte) {
	s.t.Helper()
	got := make([]byte, s.store.ClusterSize)
	for ended := false; !ended; {
		select {
		case err := <-changed:
			require.NoError(s.t, err)
			ended = true
		default:
		}
		s.Read(s.t, uuid, got, s.bytes(cluster))
		known := false
		for _, content := range contents {
			known = known || bytes.Equal(content, got)
		}
		require.True(s.t, known, "cluster %d has %s", cluster, s.describe(got))
	}
}
