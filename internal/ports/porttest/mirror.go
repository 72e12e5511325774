package porttest

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/liveclient"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Mirrored is a mirror with the functions that the tests need besides its port.
type Mirrored struct {
	Mirror ports.Mirror

	// Freezer freezes Clients.
	Freezer ports.Freezer

	// Clients reads and writes the volume as its clients do. Offsets and lengths are
	// multiples of 4096.
	Clients Volume
}

// Volume is a volume as its clients see it. Several goroutines use it at once.
type Volume interface {
	io.ReaderAt
	io.WriterAt

	// Trim deallocates a range: each byte of it is the old one or zero afterwards.
	Trim(offset, length int64) error
	// WriteZeroes writes zeros.
	WriteZeroes(offset, length int64) error
}

const (
	replicaA = "vol-1-r-0a1b2c3d"
	replicaB = "vol-1-r-1b2c3d4e"

	mirroredClusters = 4
)

var mirrorTests = []test{
	between("the heads of a mirror are its members", func(t *testing.T, a, b *subject) {
		m := mirrorOver(a, b)
		v := m.volume()
		require.Equal(t, a.bytes(mirroredClusters), v.Size)
		require.Equal(t, []domain.Mode{domain.ModeRW, domain.ModeRW}, modes(v))
		for _, head := range m.heads {
			_, is := v.Member(head)
			require.True(t, is)
		}
	}),
	between("clients notice nothing of a head that joins and lands", func(t *testing.T, a, b *subject) {
		m := mirrorOver(a, b)
		m.start()
		joined := m.join()
		require.NoError(t, m.volume().CheckUnbroken(joined))
		m.awaitWrites(20)
		cut := b.create(inFlight(2), mirroredClusters)
		at, err := b.Receive(b.ctx, run, cut, a.peer())
		require.NoError(t, err)
		require.NoError(t, a.Copy(a.ctx, run, m.cuts[0], at, nil))
		require.NoError(t, b.Withdraw(b.ctx, run, cut))
		b.graft(m.live, b.seal(cut, snapshotNamed("cut")))
		m.awaitWrites(20)
		if renamer, ok := b.Instance.Host.(ports.Renamer); ok {
			b.Host.(*notingHost).note(replica)
			require.NoError(t, renamer.Rename(b.ctx, m.live, replica))
		}
		require.NoError(t, b.Release(b.ctx, run))
		require.NoError(t, a.Release(a.ctx, run))
		require.NoError(t, m.Mirror.Release(b.ctx, run))
		m.awaitWrites(20)
		require.NoError(t, m.volume().CheckUnbroken(joined))
		m.stop()
		for _, head := range m.heads {
			require.NoError(t, m.Mirror.Leave(b.ctx, head))
		}
		require.NoError(t, m.clients.Check(m.Clients), "the new member alone has other bytes")
	}),
	between("clients notice nothing of a head that leaves again", func(t *testing.T, a, b *subject) {
		m := mirrorOver(a, b)
		m.start()
		m.join()
		m.awaitWrites(20)
		require.NoError(t, m.Mirror.Leave(b.ctx, m.live))
		require.NoError(t, m.Mirror.Leave(b.ctx, m.live), "again")
		require.NoError(t, b.live().HideHead(b.ctx, replica))
		b.delete(m.live)
		m.awaitWrites(20)
		m.stop()
		require.Len(t, m.volume().Members, 2)
	}),
	between("clients notice nothing of snapshots", func(t *testing.T, a, b *subject) {
		m := mirrorOver(a, b)
		m.start()
		for _, name := range []string{"x", "y", "z"} {
			_, err := a.Snapshot(a.ctx, m.heads[0], domain.SnapshotLvolName(replicaA, name), morning)
			require.NoError(t, err)
			m.awaitWrites(5)
		}
		m.stop()
	}),
	between("a head cannot join twice", func(t *testing.T, a, b *subject) {
		m := mirrorOver(a, b)
		at := m.offerLive()
		_, err := m.Mirror.Join(b.ctx, run, at)
		require.ErrorIs(t, err, ports.ErrUnavailable, "nothing is shown")
		b.show(at, m.live)
		joined, err := m.Mirror.Join(b.ctx, run, at)
		require.NoError(t, err)
		require.Equal(t, m.live, joined.Head)
		require.False(t, joined.Since.IsZero())
		_, err = m.Mirror.Join(b.ctx, run, at)
		require.ErrorIs(t, err, ports.ErrExists)
		isOfOneKind(t, err)
		require.Len(t, m.volume().Members, 3)
	}),
	between("the last member cannot leave", func(t *testing.T, a, b *subject) {
		m := mirrorOver(a, b)
		require.NoError(t, m.Mirror.Leave(a.ctx, m.heads[0]))
		err := m.Mirror.Leave(a.ctx, m.heads[1])
		require.ErrorIs(t, err, ports.ErrInvalid)
		isOfOneKind(t, err)
		require.NoError(t, m.Mirror.Leave(a.ctx, missing))
		m.start()
		m.awaitWrites(5)
		m.stop()
	}),
	between("a head that left and joined again has missed writes", func(t *testing.T, a, b *subject) {
		m := mirrorOver(a, b)
		first := m.join()
		require.NoError(t, m.volume().CheckUnbroken(first))
		require.NoError(t, m.Mirror.Leave(b.ctx, m.live))
		require.Error(t, m.volume().CheckUnbroken(first))
		at := m.offerLive()
		b.show(at, m.live)
		second, err := m.Mirror.Join(b.ctx, run, at)
		require.NoError(t, err)
		require.Error(t, m.volume().CheckUnbroken(first))
		require.NoError(t, m.volume().CheckUnbroken(second))
	}),
	between("an export for a mirror alone tells so, also without the member", func(t *testing.T, a, b *subject) {
		m := mirrorOver(a, b)
		host := m.volume().Host
		if host == "" {
			t.Skip("this mirror does not tell its host")
		}
		m.join()
		require.Equal(t, host, b.look(m.live).UsedBy.Host)
		require.NoError(t, m.Mirror.Leave(b.ctx, m.live))
		require.Equal(t, host, b.look(m.live).UsedBy.Host)
		require.Equal(t, host, b.listed(m.live).UsedBy.Host)
		peer, err := m.Mirror.Peer(b.ctx)
		require.NoError(t, err)
		var shared ports.Address
		for _, to := range [][]ports.Peer{{a.peer()}, {peer, a.peer()}} {
			require.NoError(t, b.live().HideHead(b.ctx, replica))
			shared, err = b.live().Offer(b.ctx, run, ports.Way{ID: "0badf1d0", Head: replica}, to...)
			require.NoError(t, err)
			b.show(shared, m.live)
			require.Equal(t, domain.UserExport, b.look(m.live).UsedBy.Kind)
			require.NotEqual(t, host, b.look(m.live).UsedBy.Host)
		}
	}),
	between("a member is lost with its host, and clients go on", func(t *testing.T, a, b *subject) {
		b.canRestart()
		m := mirrorOver(a, b)
		joined := m.join()
		m.start()
		m.awaitWrites(5)
		b.Restart(t)
		require.Eventually(t, func() bool { return m.volume().CheckUnbroken(joined) != nil }, patience, 10*time.Millisecond)
		m.awaitWrites(5)
		m.stop()
		require.ErrorIs(t, m.Mirror.Leave(a.ctx, m.heads[0]), ports.ErrInvalid, "it is the last that is not lost")
		require.NoError(t, m.Mirror.Leave(a.ctx, m.live))
		require.NoError(t, m.Mirror.Leave(a.ctx, m.heads[1]))
	}),
	between("a mirror that takes snapshots takes all or none", func(t *testing.T, a, b *subject) {
		m := mirrorOver(a, b)
		cutter, ok := m.Mirror.(ports.Cutter)
		if !ok {
			t.Skip("this mirror takes no snapshots of its members itself")
		}
		taken := domain.SnapshotLvolName(replicaB, "taken")
		b.snapshotOf(taken, 1, 1, 0)
		_, err := cutter.Cut(a.ctx, run, "taken", morning)
		require.ErrorIs(t, err, ports.ErrExists)
		require.Equal(t, []string{replicaA}, a.names())
		require.ElementsMatch(t, []string{replicaB, taken, inFlight(1)}, b.names())
		var name string
		require.NoError(t, m.Freezer.Freeze(a.ctx, patience, func(ctx context.Context) error {
			name, err = cutter.Cut(ctx, run, "first", morning)
			return err
		}))
		requireTaken := func(h *subject, of string) {
			h.Host.(*notingHost).note(domain.SnapshotLvolName(of, name))
			require.Contains(t, h.names(), domain.SnapshotLvolName(of, name))
		}
		requireTaken(a, replicaA)
		requireTaken(b, replicaB)
		m.join()
		require.NoError(t, m.Freezer.Freeze(a.ctx, patience, func(ctx context.Context) error {
			name, err = cutter.Cut(ctx, ports.Run{}, "users", morning)
			return err
		}))
		requireTaken(a, replicaA)
		requireTaken(b, replicaB)
		requireTaken(b, replica) // its head has an in-flight name
	}),
}

// mirrorFixture is a mirror over a head on each of two hosts, with an empty live head on the
// second.
type mirrorFixture struct {
	Mirrored
	t       *testing.T
	a, b    *subject
	heads   [2]string
	cuts    [2]string
	live    string
	clients *liveclient.Clients
}

func mirrorOver(a, b *subject) *mirrorFixture {
	a.t.Helper()
	if a.harness.NewMirror == nil {
		a.t.Skip("there are no mirrors over heads of these hosts")
	}
	m := &mirrorFixture{t: a.t, a: a, b: b}
	for i, h := range []*subject{a, b} {
		m.heads[i] = h.create([]string{replicaA, replicaB}[i], mirroredClusters)
		h.fill(m.heads[i], 1, 0, 2)
	}
	m.live = b.create(inFlight(1), mirroredClusters)
	if live, ok := b.Instance.Host.(ports.Live); ok {
		m.t.Cleanup(func() { _ = live.HideHead(context.WithoutCancel(b.ctx), replica) })
	}
	m.Mirrored = a.harness.NewMirror(m.t, []Instance{a.Instance, b.Instance}, m.heads[:])
	return m
}

func (m *mirrorFixture) volume() domain.Volume {
	m.t.Helper()
	v, err := m.Mirror.Volume(m.a.ctx)
	require.NoError(m.t, err)
	return v
}

func modes(v domain.Volume) (found []domain.Mode) {
	for _, member := range v.Members {
		found = append(found, member.Mode)
	}
	return found
}

// start starts clients, until stop.
func (m *mirrorFixture) start() {
	m.t.Helper()
	size := m.a.bytes(mirroredClusters)
	clients, err := liveclient.Start(m.Clients, liveclient.Config{
		Size: int64(size), Seed: 1, Block: 4096, Unit: int64(m.a.store.ClusterSize),
	})
	require.NoError(m.t, err)
	m.clients = clients
	m.t.Cleanup(func() { clients.Stop() })
}

// awaitWrites waits until clients have written that many times more.
func (m *mirrorFixture) awaitWrites(n uint64) {
	m.t.Helper()
	enough := m.clients.Stats().Writes + n
	for m.clients.Stats().Writes < enough {
		require.NoError(m.t, m.a.ctx.Err(), "clients do not go on")
		time.Sleep(time.Millisecond)
	}
}

// stop stops the clients, which must have noticed nothing.
func (m *mirrorFixture) stop() {
	m.t.Helper()
	stats := m.clients.Stop()
	require.NoError(m.t, stats.Failure)
	require.NoError(m.t, stats.FirstWrong)
}

// offerLive opens a way to the live head for the mirror.
func (m *mirrorFixture) offerLive() ports.Address {
	m.t.Helper()
	peer, err := m.Mirror.Peer(m.b.ctx)
	require.NoError(m.t, err)
	at, err := m.b.live().Offer(m.b.ctx, run, ports.Way{ID: "0badf1d0", Head: replica}, peer)
	require.NoError(m.t, err)
	require.NoError(m.t, m.Mirror.Connect(m.b.ctx, run, at))
	return at
}

// join cuts the members in a freeze, and makes the live head a member on the cut of the
// first.
func (m *mirrorFixture) join() (joined domain.Member) {
	m.t.Helper()
	m.b.live()
	ways := connected(m.b, m.a)
	head := m.offerLive()
	m.b.show(head, m.live)
	require.NoError(m.t, m.Freezer.Freeze(m.a.ctx, patience, func(ctx context.Context) (err error) {
		for i, h := range []*subject{m.a, m.b} {
			name := domain.SnapshotLvolName([]string{replicaA, replicaB}[i], "cut")
			if m.cuts[i], err = h.Snapshot(ctx, m.heads[i], name, morning); err != nil {
				return err
			}
		}
		if err := m.a.live().Show(ctx, run, ways[0], m.cuts[0]); err != nil {
			return err
		}
		if err := m.b.live().GraftExternal(ctx, run, m.live, ways...); err != nil {
			return err
		}
		joined, err = m.Mirror.Join(ctx, run, head)
		return err
	}))
	return joined
}
