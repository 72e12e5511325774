package app_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/freezer"
	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/liveclient"
)

// liveFixture is a volume in memory, mirrored to replicas on hosts of their own, and a
// destination.
type liveFixture struct {
	t       *testing.T
	members []*memory.Host
	names   []string
	to      *memory.Host
	mirror  *memory.Mirror
	freezer *freezer.Freezer
	clients *liveclient.Clients
	noTrims bool   // clients do not trim
	oldHead string // UUID of the destination's, which lacks writes
}

var liveNames = []string{"vol-1-r-a1a1a1a1", "vol-1-r-a2a2a2a2", "vol-1-r-a3a3a3a3"}

// newLiveFixture builds the tree on every member.
func newLiveFixture(t *testing.T, members int, tree string, c memory.Config) *liveFixture {
	t.Helper()
	fabric := memory.NewFabric()
	b := &liveFixture{t: t, names: slices.Clone(liveNames[:members])}
	c.ClusterSize, c.Seed = cluster, 1
	var heads []memory.Head
	for _, name := range b.names {
		c.Name = "disk-" + name[len(name)-2:]
		host := fabric.NewHost(c)
		newBuilder(t, host, name, "").build(tree)
		b.members = append(b.members, host)
		heads = append(heads, memory.Head{Host: host, UUID: list(t, host, name).Head.UUID})
	}
	c.Name = "disk-b"
	b.to = fabric.NewHost(c)
	var err error
	b.mirror, err = fabric.NewMirror(memory.MirrorConfig{Name: "vol-1", Heads: heads})
	require.NoError(t, err)
	b.freezer = freezer.Func(b.mirror.Suspend, b.mirror.Resume)
	return b
}

func (b *liveFixture) request() app.OnlineRequest {
	r := app.OnlineRequest{Mirror: b.mirror, Freezer: b.freezer}
	for i, host := range b.members {
		site := app.Site{Host: host, Replica: b.names[i]}
		if i == 0 {
			r.Source = site
		} else {
			r.MoreSources = append(r.MoreSources, site)
		}
	}
	r.Destination = app.Site{Host: b.to, Replica: copyName}
	r.Base = domain.NoBase()
	return r
}

// start lets clients read, write and trim until stop, with pauses.
func (b *liveFixture) start(pause time.Duration) {
	b.t.Helper()
	c := liveclient.Config{Pause: pause}
	if b.noTrims {
		c.Reads, c.Writes, c.Zeroes = 50, 35, 10
	}
	b.startAs(c)
}

func (b *liveFixture) startAs(c liveclient.Config) {
	b.t.Helper()
	c.Size, c.Seed, c.Unit = int64(b.mirror.Size()), 1, cluster
	if c.Longest == 0 {
		c.Longest = 2 * cluster
	}
	var err error
	b.clients, err = liveclient.Start(b.mirror, c)
	require.NoError(b.t, err)
}

// stop requires that clients noticed nothing but the freeze.
func (b *liveFixture) stop() liveclient.Stats {
	b.t.Helper()
	stats := b.clients.Stop()
	require.Zero(b.t, stats.Failures, "%+v", stats)
	require.Zero(b.t, stats.Wrong, "%+v", stats)
	require.NoError(b.t, b.clients.Check(b.mirror))
	return stats
}

// requireWhole compares the destination with every member, byte for byte.
func (b *liveFixture) requireWhole() {
	b.t.Helper()
	volume, err := b.mirror.Volume(context.Background())
	require.NoError(b.t, err)
	d := list(b.t, b.to, copyName)
	require.NotNil(b.t, d.Head)
	m, is := volume.Member(d.Head.UUID)
	require.True(b.t, is && m.Mode == domain.ModeRW, "%+v", volume.Members)
	require.Empty(b.t, d.InFlight)
	for i, host := range b.members {
		s := list(b.t, host, b.names[i])
		if m, is := volume.Member(s.Head.UUID); !is || m.Mode != domain.ModeRW {
			continue
		}
		require.Equal(b.t, sha(b.t, host, s.Head.UUID), sha(b.t, b.to, d.Head.UUID), "the head")
		require.Len(b.t, d.Snapshots, len(s.Snapshots))
		for n, want := range s.Snapshots {
			require.Equal(b.t, want.Name, d.Snapshots[n].Name)
			require.Equal(b.t, want.Lvol.Own.Count, d.Snapshots[n].Lvol.Own.Count, want.Name)
			require.Equal(b.t, sha(b.t, host, want.Lvol.UUID), sha(b.t, b.to, d.Snapshots[n].Lvol.UUID), want.Name)
		}
	}
}

const liveTree = "snap1 0=1 1=2\n  snap2 1=3 4=4\n    head 5=5\n  snap3 2=6\n"

// TestRebuildOnline: clients write all the time, and the volume has one more whole member.
func TestRebuildOnline(t *testing.T) {
	for _, members := range []int{1, 2, 3} {
		for _, flavour := range []memory.Flavour{memory.Fork, memory.Upstream} {
			synctest.Test(t, func(t *testing.T) {
				b := newLiveFixture(t, members, liveTree, memory.Config{Flavour: flavour})
				b.inject(func(int, liveCall) memory.Fault { return memory.Fault{Delay: 8 * time.Millisecond} })
				b.start(time.Millisecond)
				report, err := app.New(nil).RebuildOnline(t.Context(), b.request())
				stats := b.stop()
				require.NoError(t, err)
				b.requireWhole()
				require.Equal(t, 2, report.Online.Freezes, "the cut and the last graft")
				require.Greater(t, stats.Writes, uint64(100))
				require.Less(t, stats.Longest, report.Online.Frozen+50*time.Millisecond)
				t.Logf("%d members: frozen for %s, %+v", members, report.Online.Frozen, stats)
				require.Len(t, report.Online.Members, members+1)
				again, err := app.New(nil).RebuildOnline(t.Context(), b.request())
				require.NoError(t, err)
				require.Zero(t, again.Online.Freezes, "it is a whole member")
			})
		}
	}
}
