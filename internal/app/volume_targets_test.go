package app_test

import (
	"flag"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"

	"github.com/rootgraft/rebuild/internal/adapters/freezer"
	"github.com/rootgraft/rebuild/internal/adapters/spdk"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/raid"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
)

var volumeStep = flag.Int("volume-every", 5, "let the making of a volume on simulated targets die at every so many-th JSON-RPC call; 1: at each")

// volumeTests: a volume with a member on the target of its RAID and one on another target.
var volumeTests = testsOnTargets{
	"made, used and deleted": makeOnTargets,
	"purged":                 purgeOnTargets,

	"deleted with a member that it has dropped": deleteDroppedOnTargets,
}

func TestVolumesOnTargets(t *testing.T) {
	volumeTests.onSimulated(t)
}

func TestRealTargetVolumes(t *testing.T) {
	volumeTests.onReal(t)
}

// madeOnTargets is where a volume is made. Each call of request is that of a new process.
type madeOnTargets struct {
	t       *testing.T
	targets []*targettest.Target
	stores  []string
}

func newMadeOnTargets(t *testing.T, targets ...*targettest.Target) *madeOnTargets {
	b := &madeOnTargets{t: t, targets: targets}
	for _, target := range targets {
		b.stores = append(b.stores, target.NewStore(t, 64))
	}
	return b
}

const madeRAID = "vol-1"

func (b *madeOnTargets) request() app.VolumeRequest {
	b.t.Helper()
	mirror, err := raid.OpenMirror(b.t.Context(), raid.MirrorConfig{Socket: b.targets[0].Socket, RAID: madeRAID, New: true, Logger: zaptest.NewLogger(b.t)})
	require.NoError(b.t, err)
	b.t.Cleanup(func() { require.NoError(b.t, mirror.Close()) })
	r := app.VolumeRequest{Mirror: mirror, Base: domain.NoBase(), Freezer: freezer.Func(mirror.Suspend, mirror.Resume)}
	for i := range b.targets {
		r.Members = append(r.Members, app.Site{Host: openTarget(b.t, b.targets[i].Socket, b.stores[i]), Replica: liveNames[i]})
	}
	return r
}

func (b *madeOnTargets) create() error {
	_, err := app.New(nil).CreateVolume(b.t.Context(), b.request(), 8*targettest.ClusterSize)
	return err
}

func (b *madeOnTargets) delete() error {
	_, err := app.New(nil).DeleteVolume(b.t.Context(), b.request(), true)
	return err
}

// requireMade finds the members whole, and nothing that was only needed meanwhile.
func (b *madeOnTargets) requireMade() {
	b.t.Helper()
	r := b.request()
	report, err := app.New(nil).Volume(b.t.Context(), r)
	require.NoError(b.t, err)
	require.Empty(b.t, report.Faults())
	require.Len(b.t, report.Volume.Members, len(b.targets))
	require.Equal(b.t, []string{madeRAID}, b.raids())
	for _, at := range r.Members {
		opened, err := at.Host.(*spdk.Host).Opened(b.t.Context())
		require.NoError(b.t, err)
		require.Empty(b.t, opened)
	}
}

func (b *madeOnTargets) raids() (names []string) {
	var all []struct{ Name string }
	b.targets[0].Call(b.t, "bdev_raid_get_bdevs", map[string]any{"category": "all"}, &all)
	for _, r := range all {
		names = append(names, r.Name)
	}
	return names
}

// requireNothing: no RAID, export, controller, mark or lvol is left.
func (b *madeOnTargets) requireNothing() {
	b.t.Helper()
	require.Empty(b.t, b.raids())
	for _, target := range b.targets {
		var controllers, subsystems []map[string]any
		target.Call(b.t, "bdev_nvme_get_controllers", nil, &controllers)
		require.Empty(b.t, controllers)
		target.Call(b.t, "nvmf_get_subsystems", nil, &subsystems)
		for _, s := range subsystems {
			require.NotContains(b.t, s["nqn"], "vol-1")
			require.NotContains(b.t, s["nqn"], "rootgraft")
		}
		var bdevs []struct {
			Name    string
			Product string `json:"product_name"`
		}
		target.Call(b.t, "bdev_get_bdevs", nil, &bdevs)
		for _, d := range bdevs {
			require.False(b.t, strings.HasPrefix(d.Name, "rebuild-") || strings.HasPrefix(d.Name, "joined-"), d.Name)
			require.NotEqual(b.t, "Logical Volume", d.Product, d.Name)
		}
	}
}

func makeOnTargets(t *testing.T, start func(*testing.T) *targettest.Target) {
	home := start(t)
	b := newMadeOnTargets(t, home, start(t))
	require.NoError(t, b.create())
	b.requireMade()
	require.NoError(t, b.create(), "again")
	exported := home.ExportRAID(t, madeRAID)
	client := exported.Connect(t)
	written := filledCluster(7)
	require.NoError(t, client.Write(t.Context(), written, targettest.ClusterSize))
	err := b.delete()
	require.ErrorIs(t, err, app.ErrRefused)
	require.ErrorContains(t, err, "it is exported as "+exported.NQN)
	b.requireMade()
	exported.Close(t)

	_, err = app.New(nil).DeleteVolume(t.Context(), b.request(), false)
	require.NoError(t, err)
	require.Empty(t, b.raids())
	got := make([]byte, len(written))
	for i, at := range b.request().Members {
		head := replicaOn(t, at.Host.(*spdk.Host), at.Replica).Head
		require.Zero(t, head.UsedBy)
		b.targets[i].Read(t, head.UUID, got, targettest.ClusterSize)
		require.Equal(t, written, got, at.Replica)
	}
	require.NoError(t, b.create(), "of equal heads with data")
	b.requireMade()
	require.NoError(t, b.delete())
	b.requireNothing()
}

// deleteDroppedOnTargets: the RAID has dropped a member, whose controller and export are left. A
// new process does not see it as a member.
func deleteDroppedOnTargets(t *testing.T, start func(*testing.T) *targettest.Target) {
	home := start(t)
	b := newMadeOnTargets(t, home, start(t))
	require.NoError(t, b.create())
	report, err := app.New(nil).Volume(t.Context(), b.request())
	require.NoError(t, err)
	home.Call(t, "bdev_raid_remove_base_bdev", map[string]any{"name": report.Replicas[1].Member.Name}, nil)
	report, err = app.New(nil).Volume(t.Context(), b.request())
	require.NoError(t, err)
	require.Len(t, report.Volume.Members, 1)
	require.NotNil(t, report.Replicas[1].Dropped)
	require.NoError(t, b.delete())
	b.requireNothing()
}

// purgeOnTargets purges the cut of a rebuild while a client writes.
func purgeOnTargets(t *testing.T, start func(*testing.T) *targettest.Target) {
	v := newVolumeOnTargets(t, start)
	v.rebuild(v.request())
	request := v.volumeRequest()
	stop := v.startClient()
	purged, err := app.New(zaptest.NewLogger(t)).PurgeVolume(t.Context(), request)
	stop()
	require.NoError(t, err)
	require.Len(t, purged.Purged, 1)
	t.Logf("frozen for %v", purged.Frozen)
	check, err := app.New(nil).CheckVolume(t.Context(), request)
	require.NoError(t, err)
	require.False(t, check.Wrong(), "%v %+v", check.Faults(), check.Audit.Differences)
	got := make([]byte, len(v.want))
	require.NoError(t, v.client.Read(t.Context(), got, 0))
	require.Equal(t, v.want, got)
	for i, host := range v.hosts {
		_, left := replicaOn(t, host, v.names[i]).Snapshot(purged.Purged[0])
		require.False(t, left)
	}
}

func filledCluster(b byte) []byte {
	p := make([]byte, targettest.ClusterSize)
	for i := range p {
		p[i] = b
	}
	return p
}

// A process that ends before or after any JSON-RPC call that changes something is followed by
// one that completes the same command, from what the targets tell alone.
func TestVolumeIsMadeAndDeletedDespiteDeaths(t *testing.T) {
	t.Parallel()
	for _, flavour := range []simtarget.Flavour{simtarget.Fork, simtarget.Upstream} {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, after the call: %t", flavour, after), func(t *testing.T) {
				t.Parallel()
				fabric := simtarget.NewFabric()
				b := newMadeOnTargets(t, targettest.Simulate(t, fabric, flavour), targettest.Simulate(t, fabric, flavour))
				for at := 1; b.dies(at, after, b.create); at += *volumeStep {
					require.NoError(t, b.create(), "call %d", at)
					b.requireMade()
					require.NoError(t, b.delete())
				}
				for at := 1; ; at += *volumeStep {
					require.NoError(t, b.create())
					if !b.dies(at, after, b.delete) {
						break
					}
					if err := b.delete(); err != nil {
						require.ErrorContains(t, err, "the volume does not exist", "call %d", at)
					}
					b.requireNothing()
				}
				b.requireNothing()
			})
		}
	}
}

// dies has the targets refuse everything from the n-th change on, or take that one and not
// answer it. It reports whether there were so many.
func (b *madeOnTargets) dies(n int, after bool, do func() error) bool {
	var calls atomic.Int64
	refuse := simtarget.Fault{Refuse: &simtarget.Error{Code: -22, Message: "the process has ended"}}
	for _, target := range b.targets {
		target.Simulated().Inject(func(r simtarget.Request) simtarget.Fault {
			if looks(r.Method) || strings.HasPrefix(r.Method, "bdev_wait") || r.Method == "rpc_get_methods" {
				return simtarget.Fault{}
			}
			switch at := int(calls.Add(1)); {
			case at < n:
				return simtarget.Fault{}
			case at == n && after:
				return simtarget.Fault{After: simtarget.Close}
			}
			return refuse
		})
	}
	_ = do()
	for _, target := range b.targets {
		target.Simulated().Inject(nil)
	}
	return int(calls.Load()) >= n
}
