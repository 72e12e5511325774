package porttest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

var makerTests = []test{
	between("a mirror is made over heads at once", func(t *testing.T, a, b *subject) {
		m := newMaker(a, b)
		_, err := m.Mirror.Volume(a.ctx)
		require.ErrorIs(t, err, ports.ErrNotFound)
		isOfOneKind(t, err)
		m.begin()
		v, err := m.Mirror.Volume(a.ctx)
		require.NoError(t, err)
		require.True(t, v.Pending)
		require.ElementsMatch(t, m.heads[:], headsOf(v, domain.ModeERR))
		ways := m.ways()
		require.NoError(t, m.Make(a.ctx, ways...))
		require.ErrorIs(t, m.Make(a.ctx, ways...), ports.ErrExists)
		require.ErrorIs(t, m.Begin(a.ctx, m.heads[:]...), ports.ErrExists)
		require.NoError(t, m.End(a.ctx))
		require.NoError(t, m.End(a.ctx), "again")
		v, err = m.Mirror.Volume(a.ctx)
		require.NoError(t, err)
		require.False(t, v.Pending)
		require.Equal(t, a.bytes(mirroredClusters), v.Size)
		require.ElementsMatch(t, m.heads[:], headsOf(v, domain.ModeRW))
	}),
	between("a mirror that is removed leaves its heads as they are", func(t *testing.T, a, b *subject) {
		m := newMaker(a, b)
		m.begin()
		require.NoError(t, m.Make(a.ctx, m.ways()...))
		require.NoError(t, m.End(a.ctx))
		require.NoError(t, m.Remove(a.ctx))
		require.NoError(t, m.Remove(a.ctx), "again")
		v, err := m.Mirror.Volume(a.ctx)
		require.NoError(t, err)
		require.True(t, v.Pending, "until the end")
		require.ElementsMatch(t, m.heads[:], headsOf(v, domain.ModeERR))
		m.part()
		for i, h := range []*subject{a, b} {
			h.reads(m.heads[i], 1, 0, 1, 0)
			require.Zero(t, h.look(m.heads[i]).UsedBy)
		}
	}),
	between("a mirror that is removed notes a head that it has dropped, too", func(t *testing.T, a, b *subject) {
		m := newMaker(a, b)
		m.begin()
		require.NoError(t, m.Make(a.ctx, m.ways()...))
		require.NoError(t, m.End(a.ctx))
		require.NoError(t, m.Mirror.Leave(a.ctx, m.heads[1]))
		require.NoError(t, m.Remove(a.ctx, m.heads[:]...))
		v, err := m.Mirror.Volume(a.ctx)
		require.NoError(t, err)
		require.ElementsMatch(t, m.heads[:], headsOf(v, domain.ModeERR))
		m.part()
	}),
	between("a mirror that was begun can be given up, and begun again", func(t *testing.T, a, b *subject) {
		m := newMaker(a, b)
		m.begin()
		m.begin()
		require.ErrorIs(t, m.Begin(a.ctx, m.heads[0]), ports.ErrExists, "another head")
		m.ways()
		m.part()
		require.NoError(t, m.Begin(a.ctx, m.heads[0]))
		require.NoError(t, m.Make(a.ctx, m.way(0)))
		require.NoError(t, m.End(a.ctx))
		v, err := m.Mirror.Volume(a.ctx)
		require.NoError(t, err)
		require.Equal(t, m.heads[:1], headsOf(v, domain.ModeRW), "of one member")
	}),
	between("a mirror is not made over heads that are not shown, or of two sizes", func(t *testing.T, a, b *subject) {
		m := newMaker(a, b)
		m.begin()
		way := m.offer(0)
		err := m.Make(a.ctx, way)
		require.ErrorIs(t, err, ports.ErrUnavailable, "nothing is shown")
		isOfOneKind(t, err)
		m.part()
		b.delete(m.heads[1])
		m.heads[1] = b.create(replicaB, mirroredClusters+1)
		m.begin()
		require.ErrorIs(t, m.Make(a.ctx, m.ways()...), ports.ErrInvalid)
		v, err := m.Mirror.Volume(a.ctx)
		require.NoError(t, err)
		require.True(t, v.Pending)
		m.part()
	}),
}

func headsOf(v domain.Volume, mode domain.Mode) (heads []string) {
	for _, m := range v.Members {
		if m.Mode == mode {
			heads = append(heads, m.Head)
		}
	}
	return heads
}

// makerFixture is a mirror that does not exist yet, and equal heads on two hosts.
type makerFixture struct {
	ports.Maker
	Mirror ports.Mirror
	t      *testing.T
	hosts  [2]*subject
	heads  [2]string
}

func newMaker(a, b *subject) *makerFixture {
	a.t.Helper()
	if a.harness.NewMaker == nil {
		a.t.Skip("mirrors over heads of these hosts cannot be made")
	}
	m := &makerFixture{t: a.t, hosts: [2]*subject{a, b}}
	for i, h := range m.hosts {
		m.heads[i] = h.create(m.replica(i), mirroredClusters)
		h.fill(m.heads[i], 1, 0, 2)
	}
	m.Mirror = a.harness.NewMaker(a.t, []Instance{a.Instance, b.Instance})
	m.Maker = m.Mirror.(ports.Maker)
	m.t.Cleanup(func() {
		a.ctx, b.ctx = context.WithoutCancel(a.ctx), context.WithoutCancel(b.ctx)
		require.NoError(m.t, m.Remove(a.ctx))
		m.part()
	})
	return m
}

func (m *makerFixture) replica(i int) string { return []string{replicaA, replicaB}[i] }

func (m *makerFixture) run(i int) ports.Run { return ports.Run{Replica: m.replica(i), ID: "0badcafe"} }

func (m *makerFixture) begin() {
	m.t.Helper()
	require.NoError(m.t, m.Begin(m.hosts[0].ctx, m.heads[:]...))
}

// offer opens a way to a head for the mirror.
func (m *makerFixture) offer(i int) ports.Address {
	m.t.Helper()
	h := m.hosts[i]
	peer, err := m.Mirror.Peer(h.ctx)
	require.NoError(m.t, err)
	at, err := h.live().Offer(h.ctx, m.run(i), ports.Way{ID: "0badf1d0", Head: m.replica(i)}, peer)
	require.NoError(m.t, err)
	require.NoError(m.t, m.Mirror.Connect(h.ctx, m.run(i), at))
	return at
}

// way shows a head to the mirror.
func (m *makerFixture) way(i int) ports.Address {
	m.t.Helper()
	at := m.offer(i)
	require.NoError(m.t, m.hosts[i].live().Show(m.hosts[i].ctx, m.run(i), at, m.heads[i]))
	return at
}

func (m *makerFixture) ways() []ports.Address { return []ports.Address{m.way(0), m.way(1)} }

// part ends the connections to the heads and the ways, and forgets what was begun.
func (m *makerFixture) part() {
	m.t.Helper()
	for i, h := range m.hosts {
		if v, err := m.Mirror.Volume(h.ctx); err == nil && v.Pending {
			require.NoError(m.t, m.Mirror.Leave(h.ctx, m.heads[i]))
		}
		require.NoError(m.t, m.Mirror.Release(h.ctx, m.run(i)))
		require.NoError(m.t, h.live().HideHead(h.ctx, m.replica(i)))
		require.NoError(m.t, h.Release(h.ctx, m.run(i)))
	}
	require.NoError(m.t, m.End(m.hosts[0].ctx))
	_, err := m.Mirror.Volume(m.hosts[0].ctx)
	require.ErrorIs(m.t, err, ports.ErrNotFound)
}
