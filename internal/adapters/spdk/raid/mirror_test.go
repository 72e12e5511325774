package raid_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"sync"
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
	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
	"github.com/rootgraft/rebuild/internal/randid"
)

const (
	cluster  = targettest.ClusterSize
	clusters = 4 // of the volume
)

func TestRealTarget(t *testing.T) {
	for _, binary := range targettest.Binaries(t) {
		t.Run(filepath.Base(filepath.Dir(binary)), func(t *testing.T) {
			mirrors(t, func(t *testing.T) *targettest.Target { return targettest.Start(t, binary) })
		})
	}
}

func TestSimulatedTarget(t *testing.T) {
	t.Parallel()
	for _, flavour := range []simtarget.Flavour{simtarget.Fork, simtarget.Upstream} {
		t.Run(flavour.String(), func(t *testing.T) {
			t.Parallel()
			fabric := simtarget.NewFabric()
			mirrors(t, func(t *testing.T) *targettest.Target { return targettest.Simulate(t, fabric, flavour) })
		})
	}
}

// fixture is a target with a mirror over local heads, and one with a destination. more
// starts another one, for one test.
type fixture struct {
	home, to *targettest.Target
	more     func(*testing.T) *targettest.Target
}

func mirrors(t *testing.T, start func(*testing.T) *targettest.Target) {
	f := &fixture{start(t), start(t), start}
	tests := []struct {
		name string
		run  func(t *testing.T, f *fixture)
	}{
		{"a head of another target joins and leaves", remoteHeadJoins},
		{"a head of the same target joins and leaves", localHeadJoins},
		{"a member whose target was killed is lost", killedMemberIsLost},
		{"a head whose target dies as it joins leaves nothing", deadHeadJoins},
		{"heads that cannot join are refused", refusedHeads},
		{"the last member stays", lastMemberStays},
		{"clients are stopped and go on", clientsAreStopped},
		{"clients are stopped when no command is in flight", suspendDrains},
		{"a freeze needs ANA reporting", freezeNeedsANA},
		{"a mirror that is not there names the others", missingMirror},
		{"only a host NQN of its own tells its exports from others", ownHost},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, f) })
	}
}

// volume is a mirror with clients and the heads of its first members.
type volume struct {
	*raid.Mirror

	client *nvmetcp.Namespace
	hosts  []*spdk.Host
	heads  []string
	want   []byte // what clients have written
}

func openStore(t *testing.T, target *targettest.Target) *spdk.Host {
	t.Helper()
	h, err := spdk.Open(t.Context(), spdk.Config{Socket: target.Socket, Lvstore: target.NewStore(t, 32), Logger: zaptest.NewLogger(t)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	return h
}

// newVolume is a mirror of two members.
func newVolume(t *testing.T, home *targettest.Target) *volume {
	t.Helper()
	v := &volume{want: make([]byte, clusters*cluster)}
	for range 2 {
		h := openStore(t, home)
		head, err := h.Create(t.Context(), "vol-1-r-0a0a0a0a", clusters*cluster)
		require.NoError(t, err)
		v.hosts, v.heads = append(v.hosts, h), append(v.heads, head)
	}
	exported := home.NewRAIDVolume(t, v.heads...)
	v.Mirror = openMirror(t, home, exported.RAID)
	v.client = exported.Connect(t)
	v.write(t, 0, 2*cluster)
	return v
}

func openMirror(t *testing.T, target *targettest.Target, name string) *raid.Mirror {
	t.Helper()
	m, err := raid.OpenMirror(t.Context(), raid.MirrorConfig{Socket: target.Socket, RAID: name, Logger: zaptest.NewLogger(t)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

func ownHost(t *testing.T, f *fixture) {
	own := newVolume(t, f.home)
	v, err := own.Volume(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, v.Host)
	shared, err := raid.OpenMirror(t.Context(), raid.MirrorConfig{Socket: f.home.Socket, RAID: v.Name, HostNQN: "nqn.2026-01.com.example.test:host"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, shared.Close()) })
	v, err = shared.Volume(t.Context())
	require.NoError(t, err)
	require.Empty(t, v.Host)
}

// write writes random bytes as a client.
func (v *volume) write(t *testing.T, offset, length int) {
	t.Helper()
	for i := range v.want[offset : offset+length] {
		v.want[offset+i] = byte(rand.Uint32())
	}
	require.NoError(t, v.client.Write(t.Context(), v.want[offset:offset+length], uint64(offset)))
}

func (v *volume) reads(t *testing.T) {
	t.Helper()
	got := make([]byte, len(v.want))
	require.NoError(t, v.client.Read(t.Context(), got, 0))
	require.Equal(t, v.want, got)
}

// heads are those of the members that are not lost.
func (v *volume) members(t *testing.T) (whole []string, all domain.Volume) {
	t.Helper()
	all, err := v.Volume(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint64(clusters*cluster), all.Size)
	for _, m := range all.Members {
		if m.Mode == domain.ModeRW {
			whole = append(whole, m.Head)
		}
	}
	return whole, all
}

// rebuilt is a destination whose live head joins a volume.
type rebuilt struct {
	host *spdk.Host
	run  ports.Run
	head string
	way  ports.Address   // to the head
	ways []ports.Address // to the cut
}

// prepare does all that comes before the freeze.
func prepare(t *testing.T, v *volume, host *spdk.Host) *rebuilt {
	t.Helper()
	ctx := t.Context()
	b := &rebuilt{host: host, run: ports.Run{Replica: "vol-1-r-0b0b0b0b", ID: randid.Hex(4)}}
	var err error
	b.head, err = host.Create(ctx, domain.InFlightLvolName(b.run.Replica, randid.Hex(4)), clusters*cluster)
	require.NoError(t, err)
	peer, err := v.Peer(ctx)
	require.NoError(t, err)
	b.way, err = host.Offer(ctx, b.run, ports.Way{ID: randid.Hex(4), Head: b.run.Replica}, peer)
	require.NoError(t, err)
	require.NoError(t, host.Show(ctx, b.run, b.way, b.head))
	require.NoError(t, v.Connect(ctx, b.run, b.way))
	peer, err = host.Peer(ctx)
	require.NoError(t, err)
	at, err := v.hosts[0].Offer(ctx, b.run, ports.Way{ID: randid.Hex(4)}, peer)
	require.NoError(t, err)
	b.ways = []ports.Address{at}
	require.NoError(t, host.Connect(ctx, b.run, b.ways...))
	return b
}

// graft does what belongs into the freeze, up to the last step.
func (b *rebuilt) graft(t *testing.T, v *volume) {
	t.Helper()
	ctx := t.Context()
	cuts, failed := make([]string, len(v.hosts)), make([]error, len(v.hosts))
	var taken sync.WaitGroup
	for i, h := range v.hosts {
		taken.Go(func() {
			cuts[i], failed[i] = h.Snapshot(ctx, v.heads[i], "vol-1-r-0a0a0a0a-snap-"+b.run.ID, domain.Attributes{})
		})
	}
	taken.Wait()
	require.NoError(t, errors.Join(failed...))
	require.NoError(t, v.hosts[0].Show(ctx, b.run, b.ways[0], cuts[0]))
	require.NoError(t, b.host.GraftExternal(ctx, b.run, b.head, b.ways...))
}

// cut does all of it.
func (b *rebuilt) cut(t *testing.T, v *volume) domain.Member {
	t.Helper()
	b.graft(t, v)
	member, err := v.Join(t.Context(), b.run, b.way)
	require.NoError(t, err)
	require.Equal(t, b.head, member.Head)
	return member
}

// end gives the destination up.
func (b *rebuilt) end(t *testing.T, v *volume) {
	t.Helper()
	ctx := t.Context()
	require.NoError(t, v.Leave(ctx, b.head))
	require.NoError(t, v.Leave(ctx, b.head), "again")
	require.NoError(t, b.host.HideHead(ctx, b.run.Replica))
	require.NoError(t, b.host.Delete(ctx, b.head))
	require.NoError(t, b.host.Release(ctx, b.run))
	require.NoError(t, v.Release(ctx, b.run))
	for _, h := range v.hosts {
		require.NoError(t, h.Release(ctx, b.run))
	}
}

func remoteHeadJoins(t *testing.T, f *fixture) {
	v := newVolume(t, f.home)
	b := prepare(t, v, openStore(t, f.to))
	member := b.cut(t, v)
	v.write(t, cluster, 2*cluster)
	v.reads(t)
	got := make([]byte, clusters*cluster)
	f.to.Read(t, b.head, got, 0)
	require.Equal(t, v.want, got, "the new member has everything")

	whole, all := v.members(t)
	require.ElementsMatch(t, append([]string{b.head}, v.heads...), whole)
	require.NoError(t, all.CheckUnbroken(member))
	_, all = (&volume{Mirror: openMirror(t, f.home, all.Name)}).members(t)
	require.Error(t, all.CheckUnbroken(member), "another process does not know")
	require.NoError(t, v.Release(t.Context(), b.run), "the member stays")
	v.write(t, 0, cluster)
	f.to.Read(t, b.head, got, 0)
	require.Equal(t, v.want, got)

	b.end(t, v)
	v.write(t, 0, cluster)
	v.reads(t)
	whole, all = v.members(t)
	require.ElementsMatch(t, v.heads, whole)
	require.Len(t, all.Members, 2)
	var attached []any
	f.home.Call(t, "bdev_nvme_get_controllers", nil, &attached)
	require.Empty(t, attached)
}

func localHeadJoins(t *testing.T, f *fixture) {
	v := newVolume(t, f.home)
	b := prepare(t, v, openStore(t, f.home))
	member := b.cut(t, v)
	v.write(t, cluster, 2*cluster)
	whole, all := v.members(t)
	require.ElementsMatch(t, append([]string{b.head}, v.heads...), whole)
	require.NoError(t, all.CheckUnbroken(member))
	require.NoError(t, v.Leave(t.Context(), b.head))
	got := make([]byte, clusters*cluster)
	f.home.Read(t, b.head, got, 0)
	require.Equal(t, v.want, got)
	b.end(t, v)
	v.reads(t)
}

func killedMemberIsLost(t *testing.T, f *fixture) {
	v := newVolume(t, f.home)
	target := f.more(t)
	b := prepare(t, v, openStore(t, target))
	member := b.cut(t, v)
	target.Kill(t)
	v.write(t, 0, clusters*cluster)
	v.reads(t)
	_, all := v.members(t)
	require.Error(t, all.CheckUnbroken(member), "also while the RAID is dropping it")
	require.Eventually(t, func() bool { whole, _ := v.members(t); return len(whole) == 2 }, time.Minute, time.Millisecond)
	whole, all := v.members(t)
	require.ElementsMatch(t, v.heads, whole)
	require.ErrorContains(t, all.CheckUnbroken(member), "has dropped")
	target.Restart(t)
	_, all = v.members(t)
	require.ErrorContains(t, all.CheckUnbroken(member), "has dropped")
	require.NoError(t, v.Leave(t.Context(), b.head))
	_, all = v.members(t)
	require.Len(t, all.Members, 2)
	require.NoError(t, v.Release(t.Context(), b.run))
}

// A RAID of the Longhorn branch reads a new base, and keeps one open that it could not read. Its
// controller could never be detached.
func deadHeadJoins(t *testing.T, f *fixture) {
	v := newVolume(t, f.home)
	target := f.more(t)
	b := prepare(t, v, openStore(t, target))
	b.graft(t, v)
	target.Kill(t)
	_, _ = v.Join(t.Context(), b.run, b.way) // upstream's RAID drops it later
	v.write(t, 0, clusters*cluster)
	v.reads(t)
	require.Eventually(t, func() bool { whole, _ := v.members(t); return len(whole) == 2 }, time.Minute, 10*time.Millisecond)
	whole, all := v.members(t)
	require.ElementsMatch(t, v.heads, whole)
	var raids []rpc.RAID
	f.home.Call(t, "bdev_raid_get_bdevs", map[string]any{"category": "all"}, &raids)
	for _, r := range raids {
		for _, base := range r.Bases {
			require.Equal(t, base.Configured, base.Name != "", "%s keeps %s", all.Name, base.Name)
		}
	}
	target.Restart(t)
	require.NoError(t, v.Leave(t.Context(), b.head))
	require.NoError(t, v.Release(t.Context(), b.run))
}

func refusedHeads(t *testing.T, f *fixture) {
	ctx := t.Context()
	v := newVolume(t, f.home)
	host := openStore(t, f.to)
	run := ports.Run{Replica: "vol-1-r-0b0b0b0b", ID: randid.Hex(4)}
	peer, err := v.Peer(ctx)
	require.NoError(t, err)
	way, err := host.Offer(ctx, run, ports.Way{ID: randid.Hex(4), Head: run.Replica}, peer)
	require.NoError(t, err)
	require.NoError(t, v.Connect(ctx, run, way))
	require.NoError(t, v.Connect(ctx, run, way), "again")
	_, err = v.Join(ctx, run, way)
	require.ErrorIs(t, err, ports.ErrUnavailable, "nothing is shown")
	short, err := host.Create(ctx, domain.InFlightLvolName(run.Replica, "00000001"), cluster)
	require.NoError(t, err)
	require.NoError(t, host.Show(ctx, run, way, short))
	_, err = v.Join(ctx, run, way)
	require.ErrorIs(t, err, ports.ErrInvalid)
	require.NoError(t, host.HideHead(ctx, run.Replica))
	require.NoError(t, v.Release(ctx, run))
	require.NoError(t, v.Release(ctx, run), "again")
	_, err = v.Join(ctx, run, way)
	require.ErrorIs(t, err, ports.ErrUnavailable)

	b := prepare(t, v, host)
	b.cut(t, v)
	_, err = v.Join(ctx, b.run, b.way)
	require.ErrorIs(t, err, ports.ErrExists)
	peer, err = host.Peer(ctx)
	require.NoError(t, err)
	at, err := v.hosts[1].Offer(ctx, b.run, ports.Way{ID: randid.Hex(4)}, peer)
	require.NoError(t, err)
	err = v.hosts[1].Show(ctx, b.run, at, v.heads[1])
	require.ErrorIs(t, err, ports.ErrBusy)
	require.ErrorContains(t, err, "base of a RAID")
	b.end(t, v)
}

func lastMemberStays(t *testing.T, f *fixture) {
	ctx := t.Context()
	v := newVolume(t, f.home)
	require.NoError(t, v.Leave(ctx, "00000000-0000-4000-8000-000000000000"), "no member")
	require.NoError(t, v.Leave(ctx, v.heads[0]))
	require.ErrorIs(t, v.Leave(ctx, v.heads[1]), ports.ErrInvalid)
	v.write(t, 0, cluster)
	v.reads(t)
	whole, _ := v.members(t)
	require.Equal(t, v.heads[1:], whole)
}

func missingMirror(t *testing.T, f *fixture) {
	v := newVolume(t, f.home)
	_, all := v.members(t)
	_, err := raid.OpenMirror(t.Context(), raid.MirrorConfig{Socket: f.home.Socket, RAID: "none"})
	require.ErrorIs(t, err, ports.ErrNotFound)
	require.ErrorContains(t, err, all.Name)
	require.NotContains(t, err.Error(), ": not found", "its kind is in the text already")
	_, err = raid.OpenMirror(t.Context(), raid.MirrorConfig{Socket: f.home.Socket})
	require.ErrorIs(t, err, ports.ErrInvalid)
}

// writer writes one block after the other until it is stopped, and tries again what is
// refused because clients are stopped.
type writer struct {
	done   atomic.Int64 // writes
	failed error
	end    func()
}

func (v *volume) startWriter(t *testing.T) *writer {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &writer{}
	var running sync.WaitGroup
	running.Go(func() {
		block := make([]byte, 4096)
		for ctx.Err() == nil && w.failed == nil {
			block[0]++
			err := v.client.Write(t.Context(), block, 0)
			var status *wire.StatusError
			switch {
			case err == nil:
				w.done.Add(1)
			case errors.As(err, &status) && status.Status == wire.StatusInaccessible:
				continue
			default:
				w.failed = err
			}
		}
		copy(v.want, block)
	})
	w.end = func() { cancel(); running.Wait(); require.NoError(t, w.failed) }
	return w
}

func clientsAreStopped(t *testing.T, f *fixture) {
	v := newVolume(t, f.home)
	w := v.startWriter(t)
	frozen := freezer.Func(v.Suspend, v.Resume)
	goesOn := func() {
		t.Helper()
		before := w.done.Load()
		require.Eventually(t, func() bool { return w.done.Load() > before }, time.Minute, time.Millisecond)
	}
	goesOn()
	require.NoError(t, frozen.Freeze(t.Context(), time.Minute, func(context.Context) error {
		done := w.done.Load()
		for range 50 { // while these calls are answered, many writes would be
			v.members(t)
		}
		require.LessOrEqual(t, w.done.Load(), done+1, "at most one had been answered, and not counted")
		return nil
	}))
	goesOn()

	require.NoError(t, v.CheckSuspend(t.Context()))
	require.NoError(t, v.Suspend(t.Context()))
	require.NoError(t, v.Suspend(t.Context()), "again")
	_, all := v.members(t)
	require.NoError(t, openMirror(t, f.home, all.Name).Resume(t.Context()), "another process")
	goesOn()
	require.NoError(t, v.Resume(t.Context()), "again")
	w.end()
	v.reads(t)
}

func freezeNeedsANA(t *testing.T, f *fixture) {
	head, err := openStore(t, f.home).Create(t.Context(), "vol-1-r-0a0a0a0a", clusters*cluster)
	require.NoError(t, err)
	other, err := openStore(t, f.home).Create(t.Context(), "vol-1-r-0a0a0a0a", clusters*cluster)
	require.NoError(t, err)
	f.home.Call(t, "bdev_raid_create", map[string]any{"name": "plain", "raid_level": "raid1", "base_bdevs": []string{head, other}}, nil)
	t.Cleanup(func() { f.home.Call(t, "bdev_raid_delete", map[string]any{"name": "plain"}, nil) })
	m := openMirror(t, f.home, "plain")
	require.ErrorIs(t, m.Suspend(t.Context()), ports.ErrUnsupported, "nobody exports it")
	require.EqualError(t, m.CheckSuspend(t.Context()), "check how to stop the clients of RAID plain: no subsystem with a listener exports it")
	f.home.Use(t, "plain", domain.User{Kind: domain.UserExport})
	require.ErrorIs(t, m.Suspend(t.Context()), ports.ErrUnsupported)
	require.ErrorIs(t, m.CheckSuspend(t.Context()), ports.ErrUnsupported)
	require.NoError(t, m.Resume(t.Context()))
}

func suspendDrains(t *testing.T, f *fixture) {
	if f.home.Simulated() != nil {
		t.Skip("writes of clients of a simulated target take no time")
	}
	v := newVolume(t, f.home)
	_, store := v.hosts[0].Identity()
	f.home.LimitWrites(t, store, 1)
	writes := func() uint64 {
		var seen struct {
			Bdevs []struct {
				Writes uint64 `json:"num_write_ops"`
			}
		}
		f.home.Call(t, "bdev_get_iostat", map[string]any{"name": "aio-" + store}, &seen)
		return seen.Bdevs[0].Writes
	}
	before := writes()
	written := make(chan struct{})
	go func() {
		defer close(written)
		_ = v.client.Write(t.Context(), make([]byte, 2*cluster), 0) // parts of it may be refused
	}()
	require.Eventually(t, func() bool { return writes() > before }, time.Minute, time.Millisecond, "it has begun")
	began := time.Now()
	require.NoError(t, v.Suspend(t.Context()))
	t.Logf("it took %v", time.Since(began))
	for range 20 { // time for the client to hear of it, and far less than the write takes
		v.members(t)
	}
	select {
	case <-written:
	default:
		t.Error("the write goes on though clients are stopped")
	}
	f.home.LimitWrites(t, store, 0)
	require.NoError(t, v.Resume(t.Context()))
	<-written
}
