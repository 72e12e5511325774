package memory_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

const wayID = "0badf00d"

// liveFixture has two sources with equal heads of four clusters, two of them written, and
// a destination with an empty live head.
type liveFixture struct {
	t       *testing.T
	fabric  *memory.Fabric
	sources [2]*memory.Host
	heads   [2]string
	to      *memory.Host
	live    string // lvol on to
	ways    []ports.Address
}

func newLive(t *testing.T) *liveFixture {
	t.Helper()
	f := &liveFixture{t: t, fabric: memory.NewFabric()}
	host := func(name string) *memory.Host {
		return f.fabric.NewHost(memory.Config{Name: name, ClusterSize: kib4})
	}
	for i, name := range []string{"disk-1", "disk-2"} {
		f.sources[i] = host(name)
		f.heads[i] = create(t, f.sources[i], "vol-1-r-0a1b2c3d", 4)
		fill(t, f.sources[i], f.heads[i], 7, 0, 2)
	}
	f.to = host("disk-3")
	f.live = create(t, f.to, "live", 4)
	return f
}

func (f *liveFixture) mirror() *memory.Mirror {
	f.t.Helper()
	m, err := f.fabric.NewMirror(memory.MirrorConfig{Name: "vol-1", Heads: []memory.Head{
		{Host: f.sources[0], UUID: f.heads[0]}, {Host: f.sources[1], UUID: f.heads[1]},
	}})
	require.NoError(f.t, err)
	return m
}

// prepare opens and connects a way to each of the first n sources.
func (f *liveFixture) prepare(n int) {
	f.t.Helper()
	peer, err := f.to.Peer(f.t.Context())
	require.NoError(f.t, err)
	f.ways = nil
	for i := range n {
		at, err := f.sources[i].Offer(f.t.Context(), run, ports.Way{ID: wayID, Path: i}, peer)
		require.NoError(f.t, err)
		f.ways = append(f.ways, at)
	}
	require.NoError(f.t, f.to.Connect(f.t.Context(), run, f.ways...))
}

// cut takes a snapshot of each source, shows those with a way, and grafts the live head
// onto them.
func (f *liveFixture) cut() {
	f.t.Helper()
	for i, source := range f.sources {
		snapshot, err := source.Snapshot(f.t.Context(), f.heads[i], "cut", domain.Attributes{})
		require.NoError(f.t, err)
		if i < len(f.ways) {
			require.NoError(f.t, source.Show(f.t.Context(), run, f.ways[i], snapshot))
		}
	}
	require.NoError(f.t, f.to.GraftExternal(f.t.Context(), run, f.live, f.ways...))
}

// join makes the live head a member.
func (f *liveFixture) join(m *memory.Mirror) domain.Member {
	f.t.Helper()
	peer, err := m.Peer(f.t.Context())
	require.NoError(f.t, err)
	at, err := f.to.Offer(f.t.Context(), run, ports.Way{ID: "0badf1d0", Head: "vol-1-r-4e5f6a7b"}, peer)
	require.NoError(f.t, err)
	require.NoError(f.t, f.to.Show(f.t.Context(), run, at, f.live))
	require.NoError(f.t, m.Connect(f.t.Context(), run, at))
	joined, err := m.Join(f.t.Context(), run, at)
	require.NoError(f.t, err)
	return joined
}

// reads expects clusters full of these bytes.
func reads(t *testing.T, h *memory.Host, uuid string, want ...byte) {
	t.Helper()
	p := make([]byte, len(want)*kib4)
	require.NoError(t, h.ReadAt(uuid, p, 0))
	for i, b := range want {
		for _, got := range p[i*kib4 : (i+1)*kib4] {
			require.Equal(t, b, got, "cluster %d", i)
		}
	}
}

func TestExternalGoesOnThroughTheOtherWay(t *testing.T) {
	f := newLive(t)
	f.prepare(2)
	f.cut()
	require.Equal(t, "way-"+wayID, look(t, f.to, f.live).External)
	reads(t, f.to, f.live, 7, 0, 7, 0)
	f.sources[0].Kill()
	reads(t, f.to, f.live, 7, 0, 7, 0)
	f.sources[0].Start()
	f.sources[1].Isolate()
	require.ErrorIs(t, f.to.ReadAt(f.live, make([]byte, 1), 0), ports.ErrUnavailable, "the first one's exports ended with it")
	require.ErrorIs(t, f.to.WriteAt(f.live, []byte{1}, 0), ports.ErrUnavailable, "the rest of the cluster cannot be read")
	require.NoError(t, f.to.WriteAt(f.live, make([]byte, kib4), 0))
	f.sources[1].Rejoin()
	reads(t, f.to, f.live, 0, 0, 7, 0)
}

func TestRestartDegradesExternalUntilConnected(t *testing.T) {
	f := newLive(t)
	f.prepare(1)
	f.cut()
	f.to.Restart()
	require.True(t, look(t, f.to, f.live).Degraded)
	require.ErrorIs(t, f.to.ReadAt(f.live, make([]byte, 1), 0), ports.ErrNotFound)
	require.NoError(t, f.to.Connect(t.Context(), run, f.ways...))
	require.False(t, look(t, f.to, f.live).Degraded)
	reads(t, f.to, f.live, 7, 0, 7, 0)
	f.sources[0].Kill()
	require.False(t, look(t, f.to, f.live).Degraded, "a target that lives on does not notice")
}

func TestGraftExternalRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		change func(f *liveFixture)
		want   error
	}{
		"nothing is shown": {func(f *liveFixture) { require.NoError(f.t, f.sources[0].Hide(f.t.Context(), run, f.ways[0])) }, ports.ErrUnavailable},
		"not connected":    {func(f *liveFixture) { require.NoError(f.t, f.to.Release(f.t.Context(), run)) }, ports.ErrUnavailable},
		"source is down":   {func(f *liveFixture) { f.sources[0].Kill() }, ports.ErrUnavailable},
		"own clusters":     {func(f *liveFixture) { fill(f.t, f.to, f.live, 1, 0) }, ports.ErrInvalid},
		"other size":       {func(f *liveFixture) { require.NoError(f.t, f.to.Resize(f.live, 5*kib4)) }, ports.ErrInvalid},
		"a parent": {func(f *liveFixture) {
			require.NoError(f.t, f.to.Graft(f.t.Context(), f.live, snapshot(f.t, f.to, "a", 4, 1)))
		}, ports.ErrInvalid},
		"missing": {func(f *liveFixture) { require.NoError(f.t, f.to.Delete(f.t.Context(), f.live)) }, ports.ErrNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			f := newLive(t)
			f.prepare(1)
			cut, err := f.sources[0].Snapshot(t.Context(), f.heads[0], "cut", domain.Attributes{})
			require.NoError(t, err)
			require.NoError(t, f.sources[0].Show(t.Context(), run, f.ways[0], cut))
			c.change(f)
			require.ErrorIs(t, f.to.GraftExternal(t.Context(), run, f.live, f.ways...), c.want)
			l, _ := f.to.Look(t.Context(), f.live)
			require.Empty(t, l.External)
		})
	}
}

func TestShownLvolsAndWays(t *testing.T) {
	f := newLive(t)
	f.prepare(1)
	from, at := f.sources[0], f.ways[0]
	other := snapshot(t, from, "other", 4, 1)
	require.ErrorIs(t, from.Show(t.Context(), run, "memory:0:way:99", other), ports.ErrNotFound)
	require.ErrorIs(t, from.Show(t.Context(), run, at, "nobody"), ports.ErrNotFound)
	require.NoError(t, from.Show(t.Context(), run, at, other))
	require.NoError(t, from.Show(t.Context(), run, at, other), "again")
	require.ErrorIs(t, from.Show(t.Context(), run, at, f.heads[0]), ports.ErrExists)
	require.NoError(t, from.Delete(t.Context(), other))
	require.NoError(t, from.Show(t.Context(), run, at, f.heads[0]), "the other one is gone")
	require.ErrorIs(t, f.sources[1].Connect(t.Context(), run, at), ports.ErrUnavailable, "it is for another peer")
	require.ErrorIs(t, f.to.GraftExternal(t.Context(), run, f.live, at), ports.ErrInvalid, "a writable lvol")
	_, err := from.Offer(t.Context(), run, ports.Way{ID: "0BADF00D"})
	require.ErrorIs(t, err, ports.ErrInvalid)
}

func TestReleaseTakesLvolsOffExternals(t *testing.T) {
	f := newLive(t)
	m := f.mirror()
	f.prepare(1)
	f.cut()
	f.join(m)
	_, err := f.to.Snapshot(t.Context(), f.live, "meanwhile", domain.Attributes{})
	require.NoError(t, err)
	require.ErrorIs(t, f.to.Release(t.Context(), run), ports.ErrBusy, "the mirror may read it")
	reads(t, f.to, f.live, 7, 0, 7, 0)
	require.NoError(t, f.to.HideHead(t.Context(), "vol-1-r-4e5f6a7b"))
	require.NoError(t, f.to.Release(t.Context(), run))
	reads(t, f.to, f.live, 0, 0, 0, 0)
}

func TestReleaseKeepsWaysOfHeads(t *testing.T) {
	f := newLive(t)
	m := f.mirror()
	f.prepare(1)
	f.cut()
	f.join(m)
	opened, err := f.to.Opened(t.Context())
	require.NoError(t, err)
	require.Equal(t, []ports.Opened{{Run: run, What: "connection to way " + wayID}}, opened)
	opened, err = f.sources[0].Opened(t.Context())
	require.NoError(t, err)
	require.Equal(t, []ports.Opened{{Run: run, What: "way " + wayID}}, opened)
	local := snapshot(t, f.to, "local", 4, 7, 0, 2)
	require.NoError(t, f.to.Graft(t.Context(), f.live, local))
	for _, h := range []interface {
		Release(ctx context.Context, run ports.Run) error
	}{f.to, f.sources[0], m} {
		require.NoError(t, h.Release(t.Context(), run))
	}
	_, err = m.WriteAt([]byte{1}, 0)
	require.NoError(t, err)
	p := make([]byte, 2)
	require.NoError(t, m.ReadMember(f.live, p, 0))
	require.Equal(t, []byte{1, 7}, p)
	require.Equal(t, domain.UserExport, look(t, f.to, f.live).UsedBy.Kind)
	require.NoError(t, f.to.HideHead(t.Context(), "vol-1-r-4e5f6a7b"))
	require.False(t, look(t, f.to, f.live).UsedBy.Any())
	require.ErrorIs(t, f.to.Connect(t.Context(), run, f.ways...), ports.ErrUnavailable)
}
