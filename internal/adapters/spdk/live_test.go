package spdk

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmetcp"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmf"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

func TestRealTargetLive(t *testing.T) {
	for _, binary := range targettest.Binaries(t) {
		t.Run(filepath.Base(filepath.Dir(binary)), func(t *testing.T) {
			live(t, func(t *testing.T) *targettest.Target { return targettest.Start(t, binary) })
		})
	}
}

func TestSimulatedTargetLive(t *testing.T) {
	t.Parallel()
	for _, flavour := range []simtarget.Flavour{simtarget.Fork, simtarget.Upstream} {
		t.Run(flavour.String(), func(t *testing.T) {
			t.Parallel()
			fabric := simtarget.NewFabric()
			live(t, func(t *testing.T) *targettest.Target { return targettest.Simulate(t, fabric, flavour) })
		})
	}
}

// liveTargets are a source and a destination. more starts another one, for one test.
type liveTargets struct {
	a, to *targettest.Target
	more  func(*testing.T) *targettest.Target
}

func live(t *testing.T, start func(*testing.T) *targettest.Target) {
	p := &liveTargets{start(t), start(t), start}
	tests := []struct {
		name string
		run  func(t *testing.T, p *liveTargets)
	}{
		{"a head reads through two paths, and is grafted while it is open", headReadsThroughPaths},
		{"calls of ways can be repeated", waysAreRepeated},
		{"a release keeps the way of a head", releaseKeepsHead},
		{"a release loosens lvols from external snapshots", releaseLoosens},
		{"within one target the lvol itself is shown", withinOneTarget},
		{"one target is one path", oneTargetIsOnePath},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, p) })
	}
}

const mirrorNQN = "nqn.2014-08.org.nvmexpress:uuid:11111111-2222-4333-8444-555555555555"

// elsewhere is a mirror on a target of its own.
func elsewhere(t *testing.T) ports.Peer {
	t.Helper()
	peer, err := nvmf.RAIDPeer("00000000-0000-4000-8000-00000000beef", mirrorNQN)
	require.NoError(t, err)
	return peer
}

// offer opens a way from one host to another.
func offer(t *testing.T, run ports.Run, from *Host, way ports.Way, to *Host) ports.Address {
	t.Helper()
	peer, err := to.Peer(t.Context())
	require.NoError(t, err)
	at, err := from.Offer(t.Context(), run, way, peer)
	require.NoError(t, err)
	return at
}

// exceptPort reads the address of a way. Another process may take the port while the way
// is replaced, so the port may change.
func exceptPort(t *testing.T, at ports.Address) nvmf.Way {
	t.Helper()
	w, err := nvmf.ParseWay(at)
	require.NoError(t, err)
	w.Remote.Trsvcid = ""
	return w
}

// dial connects to a way as the mirror does.
func dial(t *testing.T, at ports.Address) *nvmetcp.Namespace {
	t.Helper()
	w, err := nvmf.ParseWay(at)
	require.NoError(t, err)
	session, err := nvmetcp.Dial(t.Context(), nvmetcp.Config{
		Address: w.Remote.Traddr + ":" + w.Remote.Trsvcid, NQN: w.NQN, HostNQN: mirrorNQN,
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = session.Close() })
	ns, err := session.Namespace(t.Context(), 1)
	require.NoError(t, err)
	return ns
}

func readsAs(t *testing.T, ns *nvmetcp.Namespace, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	require.NoError(t, ns.Read(t.Context(), got, 0))
	require.Equal(t, want, got)
}

func viewOf(t *testing.T, target *targettest.Target, uuid string, clusters int) []byte {
	t.Helper()
	view := make([]byte, clusters*cluster)
	target.Read(t, uuid, view, 0)
	return view
}

func headReadsThroughPaths(t *testing.T, p *liveTargets) {
	ctx, run := t.Context(), newRun()
	second := p.more(t)
	a, b, to := openNew(t, second, 16), openNew(t, p.a, 16), openNew(t, p.to, 32)
	cuts := []string{snapshotOf(t, second, a, "vol-0-snap-cut", 4, 2), snapshotOf(t, p.a, b, "vol-0-snap-cut", 4, 2)}
	want := viewOf(t, p.a, cuts[1], 4)

	head := create(t, to, domain.InFlightLvolName(run.Replica, newID()), 4)
	toHead, err := to.Offer(ctx, run, ports.Way{ID: newID(), Head: run.Replica}, elsewhere(t))
	require.NoError(t, err)
	require.NoError(t, to.Show(ctx, run, toHead, head))
	way := ports.Way{ID: newID()}
	var ways []ports.Address
	for path, from := range []*Host{a, b} {
		way.Path = path
		ways = append(ways, offer(t, run, from, way, to))
	}
	require.NoError(t, to.Connect(ctx, run, ways...))
	client := dial(t, toHead)
	id := client.NGUID()
	require.Equal(t, head, uuidOfBytes(id))
	readsAs(t, client, make([]byte, 4*cluster))

	require.ErrorIs(t, to.GraftExternal(ctx, run, head, ways...), ports.ErrUnavailable, "nothing is shown yet")
	for i, from := range []*Host{a, b} {
		require.NoError(t, from.Show(ctx, run, ways[i], cuts[i]))
	}
	require.NoError(t, to.GraftExternal(ctx, run, head, ways...))
	require.NoError(t, to.GraftExternal(ctx, run, head, ways...), "again")
	readsAs(t, client, want)
	l, err := to.Look(ctx, head)
	require.NoError(t, err)
	require.NotEmpty(t, l.External)

	second.Kill(t)
	readsAs(t, client, want)

	local := snapshotOf(t, p.to, to, "vol-1-snap-cut", 4, 2)
	require.NoError(t, to.Graft(ctx, head, local))
	readsAs(t, client, want)
	require.NoError(t, to.Rename(ctx, head, run.Replica))
	require.NoError(t, to.Release(ctx, run))
	readsAs(t, client, want)
	require.NoError(t, to.HideHead(ctx, run.Replica))
	require.NoError(t, to.HideHead(ctx, run.Replica), "again")
	require.NoError(t, b.Release(ctx, run))
	second.Restart(t)
	require.NoError(t, a.Release(ctx, run))
}

func waysAreRepeated(t *testing.T, p *liveTargets) {
	ctx, run := t.Context(), newRun()
	from, to := openNew(t, p.a, 16), openNew(t, p.to, 16)
	x, y := snapshotOf(t, p.a, from, "x", 2, 1), snapshotOf(t, p.a, from, "y", 2, 1)
	way := ports.Way{ID: newID()}
	lost := offer(t, run, from, way, to)
	at := offer(t, run, from, way, to)
	require.Equal(t, exceptPort(t, lost), exceptPort(t, at), "it was replaced")
	require.NoError(t, to.Connect(ctx, run, at))
	require.NoError(t, to.Connect(ctx, run, at))
	require.ErrorIs(t, from.Show(ctx, run, at, "00000000-0000-4000-8000-000000000000"), ports.ErrNotFound)
	require.NoError(t, from.Show(ctx, run, at, x))
	require.NoError(t, from.Show(ctx, run, at, x))
	require.ErrorIs(t, from.Show(ctx, run, at, y), ports.ErrExists)
	require.NoError(t, to.Release(ctx, run))
	require.NoError(t, from.Hide(ctx, run, at))
	require.NoError(t, from.Hide(ctx, run, at))
	require.ErrorIs(t, from.Show(ctx, run, at, x), ports.ErrNotFound)
	require.ErrorIs(t, to.Show(ctx, run, at, x), ports.ErrNotFound, "of another host")
	require.NoError(t, from.Release(ctx, run))
}

func releaseKeepsHead(t *testing.T, p *liveTargets) {
	ctx, run := t.Context(), newRun()
	to := openNew(t, p.to, 16)
	head := create(t, to, domain.InFlightLvolName(run.Replica, newID()), 2)
	at, err := to.Offer(ctx, run, ports.Way{ID: newID(), Head: run.Replica}, elsewhere(t))
	require.NoError(t, err)
	require.NoError(t, to.Show(ctx, run, at, head))
	require.NoError(t, to.Release(ctx, run))
	require.NoError(t, open(t, p.to.Socket, to.store.Name).Release(ctx, newRun()))
	dial(t, at)
	l, err := to.Look(ctx, head)
	require.NoError(t, err)
	require.Equal(t, domain.UserExport, l.UsedBy.Kind)
	require.NoError(t, to.Delete(ctx, head))

	next := create(t, to, domain.InFlightLvolName(run.Replica, newID()), 2)
	again, err := to.Offer(ctx, run, ports.Way{ID: newID(), Head: run.Replica}, elsewhere(t))
	require.NoError(t, err)
	require.NoError(t, to.Show(ctx, run, again, next))
	id := dial(t, again).NGUID()
	require.Equal(t, next, uuidOfBytes(id))
	require.NoError(t, to.HideHead(ctx, run.Replica))
}

func releaseLoosens(t *testing.T, p *liveTargets) {
	ctx, run := t.Context(), newRun()
	from, to := openNew(t, p.a, 16), openNew(t, p.to, 16)
	cut := snapshotOf(t, p.a, from, "cut", 2, 1)
	head := create(t, to, domain.InFlightLvolName(run.Replica, newID()), 2)
	toHead, err := to.Offer(ctx, run, ports.Way{ID: newID(), Head: run.Replica}, elsewhere(t))
	require.NoError(t, err)
	require.NoError(t, to.Show(ctx, run, toHead, head))
	at := offer(t, run, from, ports.Way{ID: newID()}, to)
	require.NoError(t, to.Connect(ctx, run, at))
	require.NoError(t, from.Show(ctx, run, at, cut))
	require.NoError(t, to.GraftExternal(ctx, run, head, at))

	above, err := to.Snapshot(ctx, head, "vol-1-snap-user", domain.Attributes{})
	require.NoError(t, err)

	later := open(t, p.to.Socket, to.store.Name) // of another process
	require.ErrorIs(t, later.Release(ctx, newRun()), ports.ErrBusy, "a mirror may be reading it")
	require.NoError(t, later.HideHead(ctx, run.Replica))
	require.NoError(t, later.Release(ctx, newRun()))
	l, err := later.Look(ctx, above)
	require.NoError(t, err)
	require.Empty(t, l.External)
	require.NoError(t, later.Delete(ctx, head))
	require.NoError(t, later.Delete(ctx, l.UUID))
	require.NoError(t, from.Release(ctx, newRun()))
	require.Empty(t, lvolNames(t, later))
}

func withinOneTarget(t *testing.T, p *liveTargets) {
	ctx, run := t.Context(), newRun()
	from, to := openNew(t, p.to, 16), openNew(t, p.to, 16)
	cut := snapshotOf(t, p.to, from, "cut", 2, 1)
	want := viewOf(t, p.to, cut, 2)
	head := create(t, to, domain.InFlightLvolName(run.Replica, newID()), 2)
	at := offer(t, run, from, ports.Way{ID: newID()}, to)
	require.NoError(t, to.Connect(ctx, run, at))
	require.ErrorIs(t, to.GraftExternal(ctx, run, head, at), ports.ErrUnavailable)
	require.ErrorIs(t, from.Show(ctx, run, at, "00000000-0000-4000-8000-000000000000"), ports.ErrNotFound)
	require.NoError(t, from.Show(ctx, run, at, cut))
	require.NoError(t, from.Show(ctx, run, at, cut))
	require.NoError(t, to.GraftExternal(ctx, run, head, at))
	require.NoError(t, to.GraftExternal(ctx, run, head, at))
	require.Equal(t, want, viewOf(t, p.to, head, 2))
	require.NoError(t, to.Delete(ctx, head))
	require.NoError(t, to.Release(ctx, run))
	require.NoError(t, from.Release(ctx, run))
	opened, err := from.Opened(ctx)
	require.NoError(t, err)
	require.Empty(t, opened)
}

func oneTargetIsOnePath(t *testing.T, p *liveTargets) {
	ctx, run := t.Context(), newRun()
	a, b, to := openNew(t, p.a, 16), openNew(t, p.a, 16), openNew(t, p.to, 16)
	way := ports.Way{ID: newID()}
	ways := []ports.Address{offer(t, run, a, way, to)}
	way.Path = 1
	ways = append(ways, offer(t, run, b, way, to))
	require.NoError(t, to.Connect(ctx, run, ways...))
	cut := snapshotOf(t, p.a, a, "cut", 2, 1)
	require.NoError(t, a.Show(ctx, run, ways[0], cut))
	require.NoError(t, b.Show(ctx, run, ways[1], snapshotOf(t, p.a, b, "cut", 2, 1)))
	head := create(t, to, domain.InFlightLvolName(run.Replica, newID()), 2)
	require.NoError(t, to.GraftExternal(ctx, run, head, ways...))
	require.NoError(t, b.Hide(ctx, run, ways[1]))
	require.Equal(t, viewOf(t, p.a, cut, 2), viewOf(t, p.to, head, 2))
	require.NoError(t, to.Delete(ctx, head))
	require.NoError(t, to.Release(ctx, run))
	require.NoError(t, a.Release(ctx, run))
}

func uuidOfBytes(id [16]byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
