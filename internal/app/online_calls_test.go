package app_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/freezer"
	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/adapters/spdk"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/raid"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/liveclient"
)

var (
	onlineCalls  = flag.Uint("online-calls", 0, "let one in so many faults befall a JSON-RPC call of a rebuild under a live volume (0: a few; 1: all)")
	onlineReplay = flag.String("online-replay", "", "play one of them, as a failure has printed it, such as 'fork: member bdev_lvol_snapshot 1 rpc-lost'")
)

// The targets of a live volume: its RAID and a member, another member, and the destination.
const (
	sideHome        = "home"
	sideMember      = "member"
	sideDestination = "destination"
)

var liveSides = []string{sideHome, sideMember, sideDestination}

const (
	liveVolumeNQN  = "nqn.2026-01.com.example.test:vol"
	liveVolumeNSID = 3
)

// liveTargets is a volume on simulated targets in a bubble of virtual time, with clients.
type liveTargets struct {
	*targetEnvironment

	names   map[string]string // of the replicas, by side
	served  *exportedVolume
	clients *liveclient.Clients
}

func newLiveTargets(t *testing.T, flavour memory.Flavour) *liveTargets {
	t.Helper()
	dir, err := os.MkdirTemp("", "faults")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	v := &liveTargets{
		targetEnvironment: &targetEnvironment{t: t, fabric: simtarget.NewFabric(), machines: make(map[string]*machine), lookers: make(map[string]*spdk.Host)},
		names:             map[string]string{sideHome: "vol-1-r-a1a1a1a1", sideMember: "vol-1-r-a2a2a2a2", sideDestination: copyName},
	}
	for _, side := range liveSides {
		v.addMachine(dir, side, flavour)
	}
	for _, side := range liveSides[:2] {
		newBuilderOn(t, v.builtHost(side, v.looker(side)), v.names[side], "").build(liveTree)
	}
	v.makeRAID()
	v.served = &exportedVolume{v.machines[sideHome], worldClusters * targetCluster}
	return v
}

// makeRAID makes the RAID over the heads. Upstream SPDK has none of one base, so there is
// another one for a moment.
func (v *liveTargets) makeRAID() {
	home, m, head := v.looker(sideHome), v.machines[sideHome], v.replica(sideHome).Head
	filler, err := home.Create(v.t.Context(), "filler", head.Size)
	require.NoError(v.t, err)
	m.call("nvmf_create_transport", map[string]any{"trtype": "TCP"})
	m.call("bdev_raid_create", map[string]any{"name": "vol", "raid_level": "raid1", "base_bdevs": []string{head.UUID, filler}, "superblock": false})
	m.call("nvmf_create_subsystem", map[string]any{"nqn": liveVolumeNQN, "allow_any_host": true, "ana_reporting": true})
	m.call("nvmf_subsystem_add_ns", map[string]any{"nqn": liveVolumeNQN, "namespace": map[string]any{"bdev_name": "vol", "nsid": liveVolumeNSID, "nguid": fmt.Sprintf("%032x", 1)}})
	m.call("nvmf_subsystem_add_listener", map[string]any{"nqn": liveVolumeNQN, "listen_address": map[string]any{"trtype": "TCP", "adrfam": "IPv4", "traddr": "127.0.0.1", "trsvcid": "19999"}})
	mirror, end := v.openMirror()
	defer end()
	joinMirror(v.t, mirror, v.looker(sideMember), v.names[sideMember], v.replica(sideMember).Head.UUID)
	require.NoError(v.t, mirror.Leave(v.t.Context(), filler))
	require.NoError(v.t, home.Delete(v.t.Context(), filler))
}

func (v *liveTargets) openMirror() (mirror *raid.Mirror, end func()) {
	mirror, err := raid.OpenMirror(context.Background(), raid.MirrorConfig{
		Socket: sideHome, RAID: "vol",
		Dial: func(ctx context.Context, socket string) (net.Conn, error) { return v.fabric.Dial(ctx, socket) },
	})
	require.NoError(v.t, err)
	return mirror, func() { require.NoError(v.t, mirror.Close()) }
}

func (v *liveTargets) replica(side string) domain.Replica {
	return replicaOn(v.t, v.looker(side), v.names[side])
}

// request is that of a process that has just begun. sides are the members.
func (v *liveTargets) request(sides ...string) (r app.OnlineRequest, end func()) {
	mirror, endMirror := v.openMirror()
	ends := []func(){endMirror}
	site := func(side string) app.Site {
		host, end := v.host(side)
		ends = append(ends, end)
		return app.Site{Host: host, Replica: v.names[side]}
	}
	r.Mirror, r.Freezer = mirror, freezer.Func(mirror.Suspend, mirror.Resume)
	r.Source, r.Destination, r.Base, r.Parallel = site(sides[0]), site(sideDestination), domain.NoBase(), 1
	for _, side := range sides[1:] {
		r.MoreSources = append(r.MoreSources, site(side))
	}
	return r, func() {
		for _, end := range ends {
			end()
		}
	}
}

// serving are the heads that the RAID has.
func (v *liveTargets) serving() (heads map[string]bool) {
	mirror, end := v.openMirror()
	defer end()
	volume, err := mirror.Volume(context.Background())
	require.NoError(v.t, err)
	heads = make(map[string]bool)
	for _, m := range volume.Members {
		heads[m.Head] = m.Mode != domain.ModeERR
	}
	return heads
}

// start lets clients read and write. A trim shows older bytes of a clone's parent.
func (v *liveTargets) start() {
	v.t.Helper()
	var err error
	v.clients, err = liveclient.Start(v.served, liveclient.Config{
		Size: v.served.size, Seed: 1, Block: 4096, Pause: 50 * time.Millisecond, Reads: 50, Writes: 40, Zeroes: 10,
	})
	require.NoError(v.t, err)
}

// stop requires that the clients noticed nothing.
func (v *liveTargets) stop() {
	v.t.Helper()
	stats := v.clients.Stop()
	require.Zero(v.t, stats.Failures, "%+v", stats)
	require.Zero(v.t, stats.Wrong, "%+v", stats)
}

// shows compares an lvol with what the clients have written.
func (v *liveTargets) shows(side, uuid string) error {
	return v.clients.Check(io.NewSectionReader(lvolView{v.machines[side], uuid}, 0, v.served.size))
}

type lvolView struct {
	m    *machine
	uuid string
}

func (l lvolView) ReadAt(p []byte, offset int64) (int, error) {
	return len(p), l.m.current().ReadAt(l.uuid, p, uint64(offset))
}

// exportedVolume is what clients of the RAID read and write. They wait while upstream SPDK makes
// it again, for five minutes.
type exportedVolume struct {
	home *machine
	size int64
}

func (e *exportedVolume) do(access func(n *simtarget.Namespace) error) error {
	for began := time.Now(); ; {
		n, ok := e.home.current().Namespace(liveVolumeNQN, "client", liveVolumeNSID)
		if ok {
			if err := access(n); !errors.Is(err, simtarget.ErrGone) {
				return err
			}
		}
		if time.Since(began) > 5*time.Minute {
			return simtarget.ErrGone
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (e *exportedVolume) ReadAt(p []byte, offset int64) (int, error) {
	p = p[:min(int64(len(p)), e.size-offset)]
	return len(p), e.do(func(n *simtarget.Namespace) error { return n.ReadAt(p, uint64(offset)) })
}

func (e *exportedVolume) WriteAt(p []byte, offset int64) (int, error) {
	return len(p), e.do(func(n *simtarget.Namespace) error { return n.WriteAt(p, uint64(offset)) })
}

func (e *exportedVolume) Trim(int64, int64) error { return nil }

func (e *exportedVolume) WriteZeroes(offset, length int64) error {
	_, err := e.WriteAt(make([]byte, length), offset)
	return err
}

// run is a rebuild that faults befall.
func (v *liveTargets) run(injections ...injection) (*callInjector, error) {
	r, end := v.request(sideHome, sideMember)
	defer end()
	ctx, give := cancelling()
	defer give()
	s := newCallInjector(v.targetEnvironment, give, injections)
	r.Observer = s
	_, err := app.New(nil).RebuildOnline(ctx, r)
	s.leave()
	return s, err
}

// liveFlavours are those of the targets. The race detector makes simulated targets slow.
func liveFlavours() []memory.Flavour {
	if raceDetector {
		return []memory.Flavour{memory.Fork}
	}
	return []memory.Flavour{memory.Fork, memory.Upstream}
}

// liveTrial is a rebuild with one fault.
type liveTrial struct {
	flavour memory.Flavour
	injection
}

func (p liveTrial) String() string { return fmt.Sprintf("%s: %s", p.flavour, p.injection) }

// chosen picks one in so many, always the same.
func (p liveTrial) chosen() bool {
	oneIn := uint32(*onlineCalls)
	switch {
	case oneIn > 0:
	case raceDetector:
		oneIn = 12000
	default:
		oneIn = 6000
	}
	sum := fnv.New32a()
	sum.Write([]byte(p.String()))
	return sum.Sum32()%oneIn == 0
}

// TestEveryCallOfAnOnlineRebuildOnTargetsFails is TestEveryCallOfAnOnlineRebuildFails for the
// JSON-RPC calls that the SPDK adapters make of three simulated targets. The home of the volume
// never dies: that would be the end of the volume.
func TestEveryCallOfAnOnlineRebuildOnTargetsFails(t *testing.T) {
	if *onlineReplay != "" {
		flavour, what, _ := strings.Cut(*onlineReplay, ": ")
		injections, err := parseInjections(what)
		require.NoError(t, err)
		for _, f := range []memory.Flavour{memory.Fork, memory.Upstream} {
			if f.String() == flavour {
				playLiveTrial(t, liveTrial{f, injections[0]})
			}
		}
		return
	}
	for _, flavour := range liveFlavours() {
		t.Run(flavour.String(), func(t *testing.T) {
			t.Parallel()
			var calls []faultPoint
			synctest.Test(t, func(t *testing.T) { calls = callsOfLiveRebuild(t, flavour) })
			runs := 0
			for _, p := range calls {
				for _, s := range callStrikesAt(p) {
					one := liveTrial{flavour, s}
					if p.side == sideHome && (s.kind.ends == endTarget || s.kind.ends == endHang) || !one.chosen() {
						continue
					}
					runs++
					t.Run(s.String(), func(t *testing.T) { playLiveTrial(t, one) })
				}
			}
			t.Logf("%d JSON-RPC calls, %d runs with a fault, each with a run after it", len(calls), runs)
		})
	}
}

// TestRefusedExportIsMadeByTheNextRun: the target refuses to export the RAID again for as long as the run
// tries it.
func TestRefusedExportIsMadeByTheNextRun(t *testing.T) {
	t.Parallel()
	for _, what := range []string{
		"home nvmf_subsystem_add_ns 3 rpc-io-error lasting",
		"home bdev_null_create 1 rpc-closed lasting", // the note cannot be made again, and the RAID is exported all the same
	} {
		injections, err := parseInjections(what)
		require.NoError(t, err)
		playLiveTrial(t, liveTrial{memory.Upstream, injections[0]})
	}
}

// callsOfLiveRebuild are the calls of a rebuild that nothing befalls.
func callsOfLiveRebuild(t *testing.T, flavour memory.Flavour) []faultPoint {
	t.Helper()
	v := newLiveTargets(t, flavour)
	defer v.end()
	v.start()
	s, err := v.run()
	require.NoError(t, err)
	v.stop()
	v.requireWhole(liveSides[:2]...)
	return s.made
}

func playLiveTrial(t *testing.T, p liveTrial) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		defer func() {
			if t.Failed() {
				t.Logf("replay it: go test ./internal/app -run TestEveryCallOfAnOnlineRebuildOnTargetsFails -online-replay '%s'", p)
			}
		}()
		defer time.Sleep(2 * time.Minute) // a thaw whose answer was lost is repeated for a minute
		v := newLiveTargets(t, p.flavour)
		defer v.end()
		v.start()
		defer func() { v.clients.Stop() }()
		s, err := v.run(p.injection)
		t.Logf("%s: %v", p, err)
		if len(s.struck) == 0 { // this run needed fewer calls
			require.NoError(t, err)
		}
		v.requireNoHalfHead(p, err)
		time.Sleep(10 * time.Second) // the RAID drops what is gone
		members := []string{sideHome}
		if v.serving()[v.replica(sideMember).Head.UUID] {
			members = liveSides[:2]
		}
		r, end := v.request(members...)
		defer end()
		report, err := app.New(nil).RebuildOnline(t.Context(), r)
		require.NoError(t, err, "the next run")
		require.LessOrEqual(t, report.Online.Freezes, 3)
		v.stop()
		v.requireWhole(members...)
	})
}

// requireNoHalfHead: a replica with a head has every write, unless its target has died since.
func (v *liveTargets) requireNoHalfHead(p liveTrial, err error) {
	v.t.Helper()
	d := v.replica(sideDestination)
	if d.Head == nil {
		require.Error(v.t, err, "there is no head")
		return
	}
	if p.side == sideDestination && (p.kind.ends == endTarget || p.kind.ends == endHang) {
		return
	}
	require.True(v.t, v.serving()[d.Head.UUID], "the head is no member, after %v", err)
	v.stop()
	require.NoError(v.t, v.shows(sideDestination, d.Head.UUID), "the head, after %v", err)
	v.start()
}

// requireWhole: all members read the same, the destination has all snapshots, and nothing is
// left.
func (v *liveTargets) requireWhole(members ...string) {
	v.t.Helper()
	serving, d := v.serving(), v.replica(sideDestination)
	require.NotNil(v.t, d.Head)
	require.True(v.t, serving[d.Head.UUID])
	require.Empty(v.t, d.InFlight)
	require.NoError(v.t, v.shows(sideDestination, d.Head.UUID))
	require.Empty(v.t, v.opened(sideDestination))
	for _, side := range members {
		s := v.replica(side)
		require.True(v.t, serving[s.Head.UUID], side)
		require.NoError(v.t, v.shows(side, s.Head.UUID), side)
		require.Empty(v.t, v.opened(side), side)
		require.Len(v.t, d.Snapshots, len(s.Snapshots))
		for _, want := range s.Snapshots {
			got, ok := d.Snapshot(want.Name)
			require.True(v.t, ok, want.Name)
			require.Equal(v.t, want.Lvol.Own.Count, got.Lvol.Own.Count, want.Name)
			require.Equal(v.t, v.view(side, want.Lvol.UUID), v.view(sideDestination, got.Lvol.UUID), want.Name)
		}
	}
}
