package e2e

import (
	"cmp"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"

	"github.com/rootgraft/rebuild"
	"github.com/rootgraft/rebuild/freezer"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmetcp"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/liveclient"
	"github.com/rootgraft/rebuild/internal/randid"
	"github.com/rootgraft/rebuild/spdkhost"
)

// Replicas of a live volume.
const liveTo = "vol-1-r-8c9d0e1f"

var liveMembers = []string{"vol-1-r-0a1b2c3d", "vol-1-r-4e5f6a7b"}

// liveTargets are the targets of a live volume: home has the RAID, each of the members a
// replica, and to the destination.
type liveTargets struct {
	home, to *targettest.Target
	members  []*targettest.Target

	volume, store int    // clusters; 0: volumeClusters and storeClusters
	prefix        string // of all replicas' names
}

// all are the targets that the test has started.
func (at *liveTargets) all() (targets []*targettest.Target) {
	for _, target := range append([]*targettest.Target{at.home, at.to}, at.members...) {
		if target != nil {
			targets = append(targets, target)
		}
	}
	return targets
}

// revive starts the targets again that have ended.
func (at *liveTargets) revive(t *testing.T) {
	t.Helper()
	for _, target := range at.all() {
		if target.Try("rpc_get_methods", nil, nil) != nil {
			target.Restart(t)
		}
	}
}

// liveReplica is a replica of a live volume.
type liveReplica struct {
	*place
	name string
}

func (r liveReplica) look(t *testing.T) domain.Replica {
	t.Helper()
	return r.replica(t, r.name)
}

func (r liveReplica) site() rebuild.Site { return rebuild.Site{Host: r.host, Replica: r.name} }

func (r liveReplica) url() string { return r.address(r.name) }

// liveVolume is a RAID1 over the heads of replicas on other targets, and clients that read
// and write it over NVMe/TCP.
type liveVolume struct {
	home        *targettest.Target
	size        int64 // bytes
	members     []liveReplica
	destination liveReplica
	base        domain.Base
	proves      bool // all hosts report checksums
	exported    *targettest.RAIDVolume
	mirror      *spdkhost.Mirror
	client      liveclient.Volume
	hangUp      func() // ends the clients' commands
	clients     *liveclient.Clients
}

// newLiveVolume makes a volume of that many members, each a branching tree on an image, and
// starts its clients. They trim nothing: a trim in flight when a member is lost may fail.
func newLiveVolume(t *testing.T, at *liveTargets, members int) *liveVolume {
	t.Helper()
	v := growLiveVolume(t, at, members, true, func(p *place, replica string) { p.growSource(t, replica) })
	v.startClients(t)
	return v
}

func (v *liveVolume) startClients(t *testing.T) {
	t.Helper()
	v.start(t, liveclient.Config{Longest: 8192, Pause: 4 * time.Millisecond, Reads: 50, Writes: 45, Zeroes: 5})
}

// growLiveVolume is newLiveVolume with other replicas.
func growLiveVolume(t *testing.T, at *liveTargets, members int, image bool, grow func(p *place, replica string)) *liveVolume {
	t.Helper()
	v := &liveVolume{
		home: at.home, destination: liveReplica{newPlace(t, at.to, cmp.Or(at.store, storeClusters)), at.prefix + liveTo},
		size: int64(cmp.Or(at.volume, volumeClusters)) * clusterSize,
	}
	if image {
		v.destination.importImage(t, noises(7, imageClusters))
	}
	for i, target := range at.members[:members] {
		p := newPlace(t, target, cmp.Or(at.store, storeClusters))
		if image {
			p.importImage(t, noises(7, imageClusters))
		}
		name := at.prefix + liveMembers[i]
		grow(p, name)
		v.members = append(v.members, liveReplica{p, name})
	}
	v.proves = proves(t, v.members[0].place, v.destination.place)
	t.Cleanup(func() { closeVolumes(t, v) })
	v.mirrorMembers(t)
	return v
}

func (v *liveVolume) mirrorMembers(t *testing.T) {
	t.Helper()
	v.mirrorReplicas(t, v.members)
}

// mirrorReplicas makes a RAID of two bdevs without data, since upstream has none of one, lets
// the replicas join, and those bdevs leave.
func (v *liveVolume) mirrorReplicas(t *testing.T, members []liveReplica) {
	t.Helper()
	var fillers, names []string
	for range 2 {
		name := "filler-" + randid.Hex(4)
		id := fmt.Sprintf("%s-0000-4000-8000-000000000000", randid.Hex(4))
		v.home.Call(t, "bdev_null_create", map[string]any{
			"name": name, "num_blocks": v.size / 4096, "block_size": 4096, "uuid": id,
		}, nil)
		t.Cleanup(func() { _ = v.home.Try("bdev_null_delete", map[string]any{"name": name}, nil) })
		fillers, names = append(fillers, id), append(names, name)
	}
	v.exported = v.home.NewRAIDVolume(t, names...)
	v.mirror = v.openMirror(t)
	for _, p := range members {
		v.join(t, p)
	}
	for _, filler := range fillers {
		require.NoError(t, v.mirror.Leave(t.Context(), filler))
	}
	v.connect(t)
}

// connect connects a client.
func (v *liveVolume) connect(t *testing.T) {
	t.Helper()
	ctx, hangUp := context.WithCancel(t.Context())
	v.client, v.hangUp = nvmetcp.Initiator{Context: ctx, Namespace: v.exported.Connect(t)}, hangUp
	t.Cleanup(hangUp)
}

func (v *liveVolume) replicas() []liveReplica {
	return append([]liveReplica{v.destination}, v.members...)
}

func (v *liveVolume) openMirror(t *testing.T) *spdkhost.Mirror {
	t.Helper()
	m, err := spdkhost.OpenMirror(t.Context(), spdkhost.MirrorConfig{Socket: v.home.Socket, RAID: v.exported.RAID, Logger: zaptest.NewLogger(t)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

// join makes the head of a replica a member, while there are no clients.
func (v *liveVolume) join(t *testing.T, p liveReplica) {
	t.Helper()
	ctx, run := t.Context(), rebuild.Run{Replica: p.name, ID: randid.Hex(4)}
	peer, err := v.mirror.Peer(ctx)
	require.NoError(t, err)
	door, err := p.host.Offer(ctx, run, rebuild.Way{ID: run.ID, Head: p.name}, peer)
	require.NoError(t, err)
	require.NoError(t, p.host.Show(ctx, run, door, p.look(t).Head.UUID))
	require.NoError(t, v.mirror.Connect(ctx, run, door))
	_, err = v.mirror.Join(ctx, run, door)
	require.NoError(t, err)
	require.NoError(t, p.host.Release(ctx, run)) // the way to a head of another target stays
}

// closeVolumes detaches the members of volumes with the same mirror's host, and ends their
// exports, after the RAIDs have been deleted.
func closeVolumes(t *testing.T, volumes ...*liveVolume) {
	t.Helper()
	home := volumes[0].home
	at := &liveTargets{home: home}
	var all []liveReplica
	for _, v := range volumes {
		all = append(all, v.replicas()...)
	}
	for _, p := range all {
		at.members = append(at.members, p.target)
	}
	at.revive(t)
	var attached []struct{ Name string }
	home.Call(t, "bdev_nvme_get_controllers", nil, &attached)
	for _, controller := range attached {
		home.Call(t, "bdev_nvme_detach_controller", map[string]any{"name": controller.Name}, nil)
	}
	ctx := context.WithoutCancel(t.Context())
	for _, p := range all {
		require.NoError(t, p.host.HideHead(ctx, p.name))
	}
	if t.Failed() {
		return
	}
	for _, target := range append(at.members, home) {
		requireNothingOpen(t, target)
	}
}

// start starts clients.
func (v *liveVolume) start(t *testing.T, load liveclient.Config) {
	t.Helper()
	load.Size, load.Seed, load.Block = cmp.Or(load.Size, v.size), 1, 4096
	var err error
	v.clients, err = liveclient.Start(v.client, load)
	require.NoError(t, err)
	t.Cleanup(func() { v.clients.Stop() })
}

// stop stops the clients, and checks that each block is as they have written it.
func (v *liveVolume) stop(t *testing.T) liveclient.Stats {
	t.Helper()
	stats := v.clients.Stop()
	require.NoError(t, stats.Failure)
	require.NoError(t, stats.FirstWrong)
	require.NotZero(t, stats.Reads)
	require.NoError(t, v.clients.Check(v.client))
	t.Logf("clients: %+v", stats)
	return stats
}

// awaitWrites waits until clients have written that often from now on.
func (v *liveVolume) awaitWrites(t *testing.T, writes uint64) {
	t.Helper()
	from := v.clients.Stats().Writes
	require.Eventually(t, func() bool { return v.clients.Stats().Writes >= from+writes }, time.Minute, time.Millisecond)
}

// url is the address of the mirror in commands.
func (v *liveVolume) url() string { return "unix://" + v.home.Socket + "?raid=" + v.exported.RAID }

func (v *liveVolume) request() rebuild.OnlineRequest {
	r := rebuild.OnlineRequest{Mirror: v.mirror, Freezer: freezer.Func(v.mirror.Suspend, v.mirror.Resume)}
	r.Source, r.Destination = v.members[0].site(), v.destination.site()
	for _, p := range v.members[1:] {
		r.MoreSources = append(r.MoreSources, p.site())
	}
	r.Base, r.Options.ReservePercent = v.base, 1
	return r
}

// volumeRequest names the members without the destination.
func (v *liveVolume) volumeRequest() rebuild.VolumeRequest {
	r := v.request()
	return rebuild.VolumeRequest{Mirror: r.Mirror, Freezer: r.Freezer, Base: r.Base, Members: append([]rebuild.Site{r.Source}, r.MoreSources...)}
}

// rebuild rebuilds the destination, which must succeed.
func (v *liveVolume) rebuild(t *testing.T) rebuild.Report {
	t.Helper()
	return v.rebuildBy(t, rebuild.New(rebuild.WithLogger(zaptest.NewLogger(t))))
}

func (v *liveVolume) rebuildBy(t *testing.T, engine *rebuild.Engine) rebuild.Report {
	t.Helper()
	report, err := engine.RebuildOnline(t.Context(), v.request())
	require.NoError(t, err)
	require.Equal(t, rebuild.OutcomeComplete, report.Outcome)
	t.Logf("%d freezes, of %v at most", report.Online.Freezes, report.Online.Frozen)
	return report
}

// modes are those of the members, by head.
func (v *liveVolume) modes(t *testing.T) map[string]rebuild.Mode {
	t.Helper()
	volume, err := v.mirror.Volume(t.Context())
	require.NoError(t, err)
	modes := make(map[string]rebuild.Mode)
	for _, m := range volume.Members {
		modes[m.Head] = m.Mode
	}
	return modes
}

// requireWhole compares the destination with each member that is whole, after stop.
func (v *liveVolume) requireWhole(t *testing.T) {
	t.Helper()
	modes := v.modes(t)
	d := v.destination.look(t)
	require.NotNil(t, d.Head)
	require.Equal(t, rebuild.ModeRW, modes[d.Head.UUID])
	compared := 0
	for _, p := range v.members {
		if p.target.Try("rpc_get_methods", nil, nil) != nil {
			continue
		}
		s := p.look(t)
		if modes[s.Head.UUID] != rebuild.ModeRW {
			continue
		}
		require.Empty(t, s.InFlight)
		requireEqual(t, p.place, p.name, v.destination.place, v.destination.name)
		for n, want := range s.Snapshots {
			require.Equal(t, want.Lvol.Own.Count, d.Snapshots[n].Lvol.Own.Count, want.Name)
		}
		compared++
	}
	require.NotZero(t, compared)
	var bdevs []struct{ Name string }
	v.home.Call(t, "bdev_get_bdevs", nil, &bdevs)
	for _, b := range bdevs {
		require.NotContains(t, b.Name, "joined-rebuilt-"+v.destination.name, "a mark of a member that has joined stays")
	}
	v.destination.requireHealthy(t, v.destination.name)
}

// requireNoHead checks that the destination is no replica, and no member.
func (v *liveVolume) requireNoHead(t *testing.T) {
	t.Helper()
	d := v.destination.look(t)
	require.Nil(t, d.Head)
	require.Empty(t, d.InFlight)
	require.Len(t, v.modes(t), len(v.members))
}

// whole are the heads of the whole members.
func (v *liveVolume) whole(t *testing.T) (heads []string) {
	t.Helper()
	for head, mode := range v.modes(t) {
		if mode == rebuild.ModeRW {
			heads = append(heads, head)
		}
	}
	return heads
}
