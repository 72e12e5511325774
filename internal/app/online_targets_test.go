package app_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"

	"github.com/rootgraft/rebuild/internal/adapters/freezer"
	"github.com/rootgraft/rebuild/internal/adapters/spdk"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmetcp"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmetcp/wire"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/raid"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// volumeOnTargets is a RAID1 over a head on its own target and one of another target, and a
// third target with nothing.
type volumeOnTargets struct {
	t       *testing.T
	targets []*targettest.Target
	hosts   []*spdk.Host
	names   []string
	heads   []string
	mirror  *raid.Mirror
	client  *nvmetcp.Namespace
	want    []byte
	writes  atomic.Int64
}

func newVolumeOnTargets(t *testing.T, start func(*testing.T) *targettest.Target) *volumeOnTargets {
	t.Helper()
	v := &volumeOnTargets{t: t}
	for i := range 3 {
		target := start(t)
		host := openTarget(t, target.Socket, target.NewStore(t, 100))
		v.targets, v.hosts = append(v.targets, target), append(v.hosts, host)
		v.names = append(v.names, fmt.Sprintf("vol-1-r-%08d", i+1))
		if i < 2 {
			newBuilderOn(t, onTarget(t, target, host), v.names[i], "").build(liveTree)
			v.heads = append(v.heads, replicaOn(t, host, v.names[i]).Head.UUID)
		}
	}
	l, err := v.hosts[0].Look(t.Context(), v.heads[0])
	require.NoError(t, err)
	filler, err := v.hosts[0].Create(t.Context(), "filler", l.Size) // upstream has no RAID of one base
	require.NoError(t, err)
	exported := v.targets[0].NewRAIDVolume(t, v.heads[0], filler)
	v.mirror, err = raid.OpenMirror(t.Context(), raid.MirrorConfig{Socket: v.targets[0].Socket, RAID: exported.RAID, Logger: zaptest.NewLogger(t)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, v.mirror.Close()) })
	joinMirror(t, v.mirror, v.hosts[1], v.names[1], v.heads[1])
	require.NoError(t, v.mirror.Leave(t.Context(), filler))
	require.NoError(t, v.hosts[0].Delete(t.Context(), filler))
	v.client = exported.Connect(t)
	v.want = make([]byte, v.client.Size())
	require.NoError(t, v.client.Read(t.Context(), v.want, 0))
	return v
}

func joinMirror(t *testing.T, mirror *raid.Mirror, host *spdk.Host, replica, head string) {
	t.Helper()
	ctx, run := t.Context(), ports.Run{Replica: replica, ID: "0badcafe"}
	peer, err := mirror.Peer(ctx)
	require.NoError(t, err)
	at, err := host.Offer(ctx, run, ports.Way{ID: "0badcafe", Head: replica}, peer)
	require.NoError(t, err)
	require.NoError(t, host.Show(ctx, run, at, head))
	require.NoError(t, mirror.Connect(ctx, run, at))
	_, err = mirror.Join(ctx, run, at)
	require.NoError(t, err)
}

// startClient writes blocks and reads them back, until stop.
func (v *volumeOnTargets) startClient() (stop func()) {
	ctx, cancel := context.WithCancel(v.t.Context())
	done, failure := make(chan struct{}), error(nil)
	again := func(do func() error) error {
		for {
			err := do()
			var status *wire.StatusError
			if !errors.As(err, &status) || status.Status != wire.StatusInaccessible && status.Status != wire.StatusInvalidNamespace {
				return err
			}
			time.Sleep(time.Millisecond)
		}
	}
	go func() {
		defer close(done)
		random := rand.New(rand.NewPCG(1, 2))
		got := make([]byte, 4096)
		for ctx.Err() == nil && failure == nil {
			at := random.IntN(len(v.want)/4096) * 4096
			block := v.want[at : at+4096]
			failure = again(func() error { return v.client.Read(v.t.Context(), got, uint64(at)) })
			if failure == nil && string(got) != string(block) {
				failure = fmt.Errorf("other bytes at %d after %d writes", at, v.writes.Load())
			}
			if failure != nil {
				return
			}
			for i := range block {
				block[i] = byte(random.Uint32())
			}
			failure = again(func() error { return v.client.Write(v.t.Context(), block, uint64(at)) })
			v.writes.Add(1)
		}
	}()
	return func() {
		cancel()
		<-done
		require.NoError(v.t, failure)
	}
}

func (v *volumeOnTargets) request() app.OnlineRequest {
	r := app.OnlineRequest{Mirror: v.mirror, Freezer: freezer.Func(v.mirror.Suspend, v.mirror.Resume)}
	r.Source = app.Site{Host: v.hosts[0], Replica: v.names[0]}
	r.MoreSources = []app.Site{{Host: v.hosts[1], Replica: v.names[1]}}
	r.Destination = app.Site{Host: v.hosts[2], Replica: v.names[2]}
	r.Base = domain.NoBase()
	return r
}

// testsOnTargets are tests by name. Each starts targets of one flavour.
type testsOnTargets map[string]func(t *testing.T, start func(*testing.T) *targettest.Target)

func (tests testsOnTargets) onSimulated(t *testing.T) {
	t.Parallel()
	for name, test := range tests {
		for _, flavour := range []simtarget.Flavour{simtarget.Fork, simtarget.Upstream} {
			t.Run(name+" "+flavour.String(), func(t *testing.T) {
				t.Parallel()
				fabric := simtarget.NewFabric()
				test(t, func(t *testing.T) *targettest.Target { return targettest.Simulate(t, fabric, flavour) })
			})
		}
	}
}

func (tests testsOnTargets) onReal(t *testing.T) {
	for name, test := range tests {
		for _, binary := range targettest.Binaries(t) {
			t.Run(name+" "+filepath.Base(filepath.Dir(binary)), func(t *testing.T) {
				test(t, func(t *testing.T) *targettest.Target { return targettest.Start(t, binary) })
			})
		}
	}
}

// onlineTests: the mirror, one of its members and the destination are on targets of their
// own, and clients read and write over NVMe/TCP.
var onlineTests = testsOnTargets{
	"plain":                  rebuildOnline,
	"it outlives its source": outliveSource,
}

func TestRebuildOnlineOnTargets(t *testing.T) {
	onlineTests.onSimulated(t)
}

func TestRealTargetRebuildOnline(t *testing.T) {
	onlineTests.onReal(t)
}

func rebuildOnline(t *testing.T, start func(*testing.T) *targettest.Target) {
	v := newVolumeOnTargets(t, start)
	v.rebuild(v.request())
	require.NoError(t, v.mirror.Leave(t.Context(), v.heads[0]))
	require.NoError(t, v.mirror.Leave(t.Context(), v.heads[1]))
	v.reads()
}

// rebuild rebuilds while a client is at work, and expects a whole member.
func (v *volumeOnTargets) rebuild(r app.OnlineRequest) {
	v.t.Helper()
	stop := v.startClient()
	report, err := app.New(zaptest.NewLogger(v.t)).RebuildOnline(v.t.Context(), r)
	require.NoError(v.t, err)
	before := v.writes.Load()
	require.Eventually(v.t, func() bool { return v.writes.Load() > before+20 }, time.Minute, time.Millisecond)
	stop()
	v.t.Logf("%d writes, frozen for %v", v.writes.Load(), report.Online.Frozen)
	volume, err := v.mirror.Volume(v.t.Context())
	require.NoError(v.t, err)
	d := replicaOn(v.t, v.hosts[2], v.names[2])
	m, is := volume.Member(d.Head.UUID)
	require.True(v.t, is && m.Mode == domain.ModeRW, "%+v", volume.Members)
}

// reads compares what clients read with what they have written.
func (v *volumeOnTargets) reads() {
	v.t.Helper()
	got := make([]byte, len(v.want))
	require.NoError(v.t, v.client.Read(v.t.Context(), got, 0))
	require.Equal(v.t, v.want, got)
}

// outliveSource kills the target of the source right after the cut.
func outliveSource(t *testing.T, start func(*testing.T) *targettest.Target) {
	v := newVolumeOnTargets(t, start)
	r := v.request()
	r.Source, r.MoreSources = r.MoreSources[0], []app.Site{r.Source}
	r.Observer = observe(func(e app.Event) {
		if e.Kind == app.EventCut {
			v.targets[1].Kill(t)
		}
	})
	v.rebuild(r)
	require.NoError(t, v.mirror.Leave(t.Context(), v.heads[1]))
	require.NoError(t, v.mirror.Leave(t.Context(), v.heads[0]))
	v.reads()
	v.targets[1].Restart(t)
}

func replicaOn(t *testing.T, host *spdk.Host, name string) domain.Replica {
	t.Helper()
	store, err := host.List(t.Context())
	require.NoError(t, err)
	r, err := domain.NewReplica(store, name)
	require.NoError(t, err)
	return r
}
