package porttest

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/ports"
)

const wayID = "0badf00d"

// The live head of a destination reads through to a snapshot of another host, and is
// grafted onto the destination's own copy of it in the end.
var liveTests = []test{
	between("an empty lvol reads through to the snapshot that is shown", func(t *testing.T, from, to *subject) {
		ways := connected(to, from)
		l := to.create(inFlight(1), 3)
		to.refuses(ports.ErrUnavailable, func() error { return to.live().GraftExternal(to.ctx, run, l, ways...) }, "nothing is shown yet")
		to.reads(l, 0, 0, 0)
		from.show(ways[0], from.cut())
		require.NoError(t, to.live().GraftExternal(to.ctx, run, l, ways...))
		require.NoError(t, to.live().GraftExternal(to.ctx, run, l, ways...), "again")
		listed := to.look(l)
		require.NotEmpty(t, listed.External)
		require.Empty(t, listed.Parent)
		require.Zero(t, listed.Own.Count)
		to.reads(l, 1, 0, 2)
		to.fill(l, 3, 1)
		to.reads(l, 1, 3, 2)
		require.EqualValues(t, 1, to.look(l).Own.Count)

		to.graft(l, to.copyOfCut())
		require.Empty(t, to.look(l).External)
		to.reads(l, 1, 3, 2)
		require.NoError(t, from.Release(from.ctx, run))
		to.reads(l, 1, 3, 2)
	}),
	between("the snapshot can be shown before a host connects", func(t *testing.T, from, to *subject) {
		at := offered(from, to, ports.Way{ID: wayID})
		from.show(at, from.cut())
		require.NoError(t, to.live().Connect(to.ctx, run, at))
		l := to.create(inFlight(1), 3)
		to.eventually(func() error { return to.live().GraftExternal(to.ctx, run, l, at) })
		to.reads(l, 1, 0, 2)
	}),
	between("a partial write keeps the bytes of the external snapshot", func(t *testing.T, from, to *subject) {
		to.opener()
		l := to.liveHead(from)
		b := to.open(l)
		want := slices.Concat(from.content(1), from.content(0), from.content(2))
		to.writes(b, []byte("xy"), 3)
		copy(want[3:], "xy")
		to.readsBytes(b, want, 0)
		require.NoError(t, b.Close())
	}),
	between("a snapshot takes the external snapshot over, and is grafted", func(t *testing.T, from, to *subject) {
		l := to.liveHead(from)
		to.fill(l, 3, 1)
		s, err := to.Snapshot(to.ctx, l, snapshotNamed("meanwhile"), morning)
		require.NoError(t, err)
		require.NotEmpty(t, to.look(s).External)
		to.fill(l, 4, 0)
		to.reads(l, 4, 3, 2)
		to.graft(s, to.copyOfCut())
		require.Empty(t, to.look(s).External)
		to.reads(s, 1, 3, 2)
		to.reads(l, 4, 3, 2)
	}),
	between("an lvol that is not empty cannot be grafted onto an external snapshot", func(t *testing.T, from, to *subject) {
		ways := connected(to, from)
		from.show(ways[0], from.cut())
		refuses := func(kind error, uuid, what string) {
			t.Helper()
			to.refuses(kind, func() error { return to.live().GraftExternal(to.ctx, run, uuid, ways...) }, what)
		}
		filled := to.create(inFlight(1), 3)
		to.fill(filled, 3, 0)
		refuses(ports.ErrInvalid, filled, "it has a cluster")
		refuses(ports.ErrInvalid, to.create(inFlight(2), 4), "it is longer")
		a := to.snapshotOf(snapshotNamed("a"), 3, 4, 0)
		refuses(ports.ErrInvalid, a, "it is a snapshot")
		refuses(ports.ErrInvalid, to.clone(a, inFlight(3)), "it has a parent")
		refuses(ports.ErrNotFound, missing, "there is none")
	}),
	between("a way leads to one lvol", func(t *testing.T, from, to *subject) {
		at := offered(from, to, ports.Way{ID: wayID})
		a, b := from.snapshotOf(snapshotNamed("a"), 2, 1, 0), from.snapshotOf(snapshotNamed("b"), 2, 2, 0)
		from.refuses(ports.ErrNotFound, func() error { return from.live().Show(from.ctx, run, at, missing) }, "no lvol")
		from.show(at, a)
		from.show(at, a)
		from.refuses(ports.ErrExists, func() error { return from.live().Show(from.ctx, run, at, b) }, "another one is shown")
		require.NoError(t, from.live().Hide(from.ctx, run, at))
		require.NoError(t, from.live().Hide(from.ctx, run, at), "again")
		from.refuses(ports.ErrNotFound, func() error { return from.live().Show(from.ctx, run, at, a) }, "it is closed")
		from.show(offered(from, to, ports.Way{ID: wayID}), b)
	}),
	between("a way that is offered again is replaced", func(t *testing.T, from, to *subject) {
		from.show(offered(from, to, ports.Way{ID: wayID}), from.snapshotOf(snapshotNamed("a"), 2, 1, 0))
		ways := connected(to, from)
		from.show(ways[0], from.snapshotOf(snapshotNamed("b"), 2, 2, 0))
		l := to.create(inFlight(1), 2)
		require.NoError(t, to.live().GraftExternal(to.ctx, run, l, ways...))
		to.reads(l, 2, 0)
	}),
	between("releasing a run closes its ways, and takes lvols off them", func(t *testing.T, from, to *subject) {
		l := to.liveHead(from)
		later := ports.Run{Replica: run.Replica, ID: "0000cafe"}
		for _, h := range []*subject{to, from} {
			require.NoError(t, h.Release(h.ctx, later))
			if collector, ok := h.Instance.Host.(ports.Collector); ok {
				opened, err := collector.Opened(h.ctx)
				require.NoError(t, err)
				require.Empty(t, opened)
			}
		}
		require.Empty(t, to.look(l).External)
		to.reads(l, 0, 0, 0)
		to.delete(l)
	}),
	between("the way of a head outlives its run", func(t *testing.T, from, to *subject) {
		head := from.create(replica, 2)
		at := offered(from, to, ports.Way{ID: wayID, Head: replica})
		from.show(at, head)
		require.NoError(t, from.Release(from.ctx, ports.Run{Replica: replica, ID: "0000cafe"}))
		from.show(at, head)
		require.NoError(t, from.live().HideHead(from.ctx, replica))
		require.NoError(t, from.live().HideHead(from.ctx, replica), "again")
		from.refuses(ports.ErrNotFound, func() error { return from.live().Show(from.ctx, run, at, head) }, "it is closed")
		require.NoError(t, from.live().HideHead(from.ctx, "vol-2-r-4e5f6a7b"))
	}),
	{"reads go on through the other way when a host dies", 3, func(t *testing.T, hosts []*subject) {
		a, b, to := hosts[0], hosts[1], hosts[2]
		a.canRestart()
		ways := connected(to, a, b)
		a.show(ways[0], a.cut())
		b.show(ways[1], b.cut())
		l := to.create(inFlight(1), 3)
		require.NoError(t, to.live().GraftExternal(to.ctx, run, l, ways...))
		a.Restart(t)
		to.reads(l, 1, 0, 2)
		to.graft(l, to.copyOfCut())
		to.reads(l, 1, 0, 2)
	}},
	between("after a restart it is degraded until it is connected again", func(t *testing.T, from, to *subject) {
		to.canRestart()
		ways := connected(to, from)
		from.show(ways[0], from.cut())
		l := to.create(inFlight(1), 3)
		require.NoError(t, to.live().GraftExternal(to.ctx, run, l, ways...))
		to.Restart(t)
		require.True(t, to.look(l).Degraded)
		require.NoError(t, to.live().Connect(to.ctx, run, ways...))
		require.Eventually(t, func() bool { return !to.look(l).Degraded }, patience, 10*time.Millisecond)
		to.reads(l, 1, 0, 2)
	}),
}

func (s *subject) live() ports.Live {
	s.t.Helper()
	live, ok := s.Instance.Host.(ports.Live)
	if !ok {
		s.t.Skip("replicas of this host are not rebuilt under live volumes")
	}
	return live
}

func (s *subject) peer() ports.Peer {
	s.t.Helper()
	peer, err := s.Peer(s.ctx)
	require.NoError(s.t, err)
	return peer
}

// offered opens a way from one host to another.
func offered(from, to *subject, way ports.Way) ports.Address {
	from.t.Helper()
	at, err := from.live().Offer(from.ctx, run, way, to.peer())
	require.NoError(from.t, err)
	return at
}

// connected connects a host to a way of each of the others.
func connected(to *subject, from ...*subject) []ports.Address {
	to.t.Helper()
	ways := make([]ports.Address, len(from))
	for i, h := range from {
		ways[i] = offered(h, to, ports.Way{ID: wayID, Path: i})
	}
	require.NoError(to.t, to.live().Connect(to.ctx, run, ways...))
	return ways
}

func (s *subject) show(at ports.Address, uuid string) {
	s.t.Helper()
	require.NoError(s.t, s.live().Show(s.ctx, run, at, uuid))
}

// cut is a snapshot that reads as the seeds 1, 0 and 2, on an ancestor.
func (s *subject) cut() string {
	s.t.Helper()
	a := s.snapshotOf(snapshotNamed("a"), 3, 1, 0, 2)
	head := s.clone(a, replica)
	s.fill(head, 2, 2)
	cut, err := s.Snapshot(s.ctx, head, snapshotNamed("cut"), morning)
	require.NoError(s.t, err)
	return cut
}

// copyOfCut reads as the cut does.
func (s *subject) copyOfCut() string {
	s.t.Helper()
	l := s.create(inFlight(0), 3)
	s.fill(l, 1, 0)
	s.fill(l, 2, 2)
	return s.seal(l, snapshotNamed("copy"))
}

// liveHead reads through to a cut of another host.
func (s *subject) liveHead(from *subject) string {
	s.t.Helper()
	ways := connected(s, from)
	from.show(ways[0], from.cut())
	l := s.create(inFlight(1), 3)
	require.NoError(s.t, s.live().GraftExternal(s.ctx, run, l, ways...))
	return l
}
