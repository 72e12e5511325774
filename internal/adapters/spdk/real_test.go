package spdk

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"
	helpertypes "github.com/longhorn/go-spdk-helper/pkg/types"
	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmf"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

const cluster = targettest.ClusterSize

func TestRealTargetBeyondTheContract(t *testing.T) {
	t.Parallel()
	for _, binary := range targettest.Binaries(t) {
		t.Run(filepath.Base(filepath.Dir(binary)), func(t *testing.T) {
			t.Parallel()
			beyondTheContract(t, &pair{from: targettest.Start(t, binary), to: targettest.Start(t, binary)})
		})
	}
}

func TestSimulatedTargetBeyondTheContract(t *testing.T) {
	t.Parallel()
	for _, flavour := range []simtarget.Flavour{simtarget.Fork, simtarget.Upstream} {
		t.Run(flavour.String(), func(t *testing.T) {
			if RaceDetector && flavour != simtarget.Fork {
				t.Skip("under the race detector one flavour is enough; make test runs both of them without it")
			}
			t.Parallel()
			fabric := simtarget.NewFabric()
			beyondTheContract(t, &pair{from: targettest.Simulate(t, fabric, flavour), to: targettest.Simulate(t, fabric, flavour)})
		})
	}
}

// beyondTheContract is what holds for SPDK targets besides the contract of the
// ports.
func beyondTheContract(t *testing.T, p *pair) {
	tests := []struct {
		name string
		run  func(t *testing.T, p *pair)
	}{
		{"an lvstore that is not there", anLvstoreThatIsNotThere},
		{"as few calls as it takes", asFewCallsAsItTakes},
		{"what others do to a head", whatOthersDoToAHead},
		{"what is named as an image", whatIsNamedAsAnImage},
		{"a run uses up its subsystem", aRunUsesUpItsSubsystem},
		{"a snapshot that is copied for somebody else is not deleted", notDeletedWhileCopied},
		{"what is being copied is neither merged nor merged into", notMergedWhileCopied},
		{"what a restart would damage is not merged", notMergedIntoDamage},
		{"a snapshot is not deleted under a clone that is hidden", notDeletedUnderWhatIsHidden},
		{"what is deleted while it is grafted", deletedWhileGrafted},
		{"two processes delete at once", twoProcessesDelete},
		{"what a crashed process has opened is released, and nothing else", whatACrashedProcessHasOpened},
		{"a graft that is cancelled anywhere leaves no helper", aGraftThatIsCancelledAnywhere},
		{"a clone that is cancelled anywhere has its name or is gone", aCloneThatIsCancelledAnywhere},
		{"a copy within the target is waited for", aCopyWithinTheTarget},
		{"an external parent and what is degraded", anExternalParent},
		{"an export that is gone under an lvol", anExportThatIsGone},
		{"a taken port is passed over", aTakenPort},
		{"the caller's own ports", portsOfACaller},
		{"the caller's own host NQNs", nqnsOfACaller},
		{"a store of many lvols", aStoreOfManyLvols},
		{"what is open serves nobody else, and is released after a crash", whatIsOpen},
		{"what somebody else exports is not opened", whatSomebodyElseExports},
		{"many copies are withdrawn at once", manyCopiesWithdrawnAtOnce},
		{"a withdrawal whose answer is lost", aWithdrawalWhoseAnswerIsLost},
		{"what a dead engine is withdrawing", whatADeadEngineIsWithdrawing},
		{"what another engine fills is deleted", whatAnotherEngineFillsIsDeleted},
		{"what others export or have in a RAID is deleted", deletedWhereOthersHaveIt},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, p) })
	}
}

type pair struct{ from, to *targettest.Target }

func open(t *testing.T, socket, store string) *Host {
	t.Helper()
	h, err := Open(t.Context(), Config{Socket: socket, Lvstore: store})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	return h
}

func openNew(t *testing.T, target *targettest.Target, clusters int) *Host {
	t.Helper()
	return open(t, target.Socket, target.NewStore(t, clusters))
}

func create(t *testing.T, h *Host, name string, clusters uint64) string {
	t.Helper()
	uuid, err := h.Create(t.Context(), name, clusters*cluster)
	require.NoError(t, err)
	return uuid
}

// snapshotOf fills the first clusters.
func snapshotOf(t *testing.T, target *targettest.Target, h *Host, name string, clusters uint64, filled int) string {
	t.Helper()
	l := create(t, h, domain.InFlightLvolName("vol-1", newID()), clusters)
	if filled > 0 {
		p := make([]byte, filled*cluster)
		_, _ = rand.NewChaCha8([32]byte{1}).Read(p)
		target.Write(t, l, p, 0)
	}
	snapshot, err := h.Seal(t.Context(), l, name, ports.SealRecord{})
	require.NoError(t, err)
	return snapshot
}

func receive(t *testing.T, to *Host, run ports.Run, uuid string, from *Host) ports.Address {
	t.Helper()
	peer, err := from.Peer(t.Context())
	require.NoError(t, err)
	address, err := to.Receive(t.Context(), run, uuid, peer)
	require.NoError(t, err)
	return address
}

func lvolNames(t *testing.T, h *Host) []string {
	t.Helper()
	store, err := h.List(t.Context())
	require.NoError(t, err)
	var names []string
	for _, l := range store.Lvols {
		names = append(names, l.Name)
	}
	slices.Sort(names)
	return names
}

func newRun() ports.Run { return ports.Run{Replica: "vol-1", ID: newID()} }

func anLvstoreThatIsNotThere(t *testing.T, p *pair) {
	_, err := Open(t.Context(), Config{Socket: p.from.Socket, Lvstore: "none"})
	require.ErrorIs(t, err, ports.ErrNotFound)
	name := p.from.NewStore(t, 8)
	_, err = Open(t.Context(), Config{Socket: p.from.Socket, Lvstore: "none"})
	require.ErrorIs(t, err, ports.ErrNotFound)
	require.ErrorContains(t, err, name)
	_, err = Open(t.Context(), Config{Socket: p.from.Socket + "x", Lvstore: name})
	require.ErrorIs(t, err, ports.ErrUnavailable)
}

func asFewCallsAsItTakes(t *testing.T, p *pair) {
	line := targettest.NewTally()
	source, destination := line.Proxy(t, p.from.Socket), line.Proxy(t, p.to.Socket)
	from, to := open(t, source, p.from.NewStore(t, 64)), open(t, destination, p.to.NewStore(t, 64))
	calls := func() (int, string) {
		seen := line.Take()
		return seen.Calls(), fmt.Sprint(seen.ByMethod)
	}
	ctx, run := t.Context(), newRun()
	const n = 4
	var snapshots []string
	for i := range n {
		snapshots = append(snapshots, snapshotOf(t, p.from, from, fmt.Sprint("vol-0-snap-", i), 4, 1))
		if i > 0 {
			require.NoError(t, from.Graft(ctx, snapshots[i], snapshots[i-1]))
		}
	}
	image := snapshotOf(t, p.to, to, domain.ImageLvolName("base", to.store.UUID), 4, 1)
	fresh := open(t, source, from.store.Name) // that knows nothing
	calls()
	_, err := fresh.List(ctx)
	require.NoError(t, err)
	listing, which := calls()
	require.LessOrEqual(t, listing, 3+2*n, which)

	require.NoError(t, from.Release(ctx, run))
	require.NoError(t, to.Release(ctx, run))
	peer, err := from.Peer(ctx)
	require.NoError(t, err)
	begin, which := calls()
	t.Logf("a run's beginning: %d calls: %s", begin, which)

	parent := image
	for i, snapshot := range snapshots {
		l, err := to.Create(ctx, domain.InFlightLvolName("vol-1", newID()), 4*cluster)
		require.NoError(t, err)
		address, err := to.Receive(ctx, run, l, peer)
		require.NoError(t, err)
		require.NoError(t, from.Copy(ctx, run, snapshot, address, nil))
		require.NoError(t, to.Withdraw(ctx, run, l))
		require.NoError(t, to.Graft(ctx, l, parent))
		_, err = from.Look(ctx, snapshot)
		require.NoError(t, err)
		_, err = to.Look(ctx, l)
		require.NoError(t, err)
		parent, err = to.Seal(ctx, l, fmt.Sprint("vol-1-snap-", i), ports.SealRecord{})
		require.NoError(t, err)
		made, which := calls()
		t.Logf("snapshot %d: %d calls: %s", i, made, which)
		if i > 0 { // the first one opens what the run needs
			require.LessOrEqual(t, made, 12, which)
		}
	}
	_, err = to.Clone(ctx, parent, "vol-1", 4*cluster, "base")
	require.NoError(t, err)
	require.NoError(t, from.Release(ctx, run))
	require.NoError(t, to.Release(ctx, run))
	end, which := calls()
	t.Logf("a run's end: %d calls: %s", end, which)
}

func aRunUsesUpItsSubsystem(t *testing.T, p *pair) {
	from, to := openNew(t, p.from, 16), openNew(t, p.to, 16)
	ctx, run := t.Context(), newRun()
	a := snapshotOf(t, p.from, from, "vol-0-snap-a", 2, 1)
	stays, comes := create(t, to, "vol-1-rebuilding-00000001", 2), create(t, to, "vol-1-rebuilding-00000002", 2)
	first := receive(t, to, run, stays, from) // the last namespace is slow to remove
	require.NoError(t, from.Copy(ctx, run, a, first, nil))
	peer, err := from.Peer(ctx)
	require.NoError(t, err)
	for range namespacesOf {
		_, err := to.Receive(ctx, run, comes, peer)
		require.NoError(t, err)
		require.NoError(t, to.Withdraw(ctx, run, comes))
	}
	second := receive(t, to, run, comes, from)
	require.NotEqual(t, placeOf(t, first).Remote.Subnqn, placeOf(t, second).Remote.Subnqn)
	require.NoError(t, from.Copy(ctx, run, a, second, nil))

	exported := func() (ours int) {
		var all []spdktypes.NvmfSubsystem
		p.to.Call(t, "nvmf_get_subsystems", nil, &all)
		for _, sub := range all {
			if nvmf.IsOurs(&sub) && sub.SerialNumber == run.ID {
				ours++
			}
		}
		return ours
	}
	require.Equal(t, 2, exported())
	require.NoError(t, to.Withdraw(ctx, run, stays))
	require.Equal(t, 1, exported(), "one that is used up and empty goes")
	require.NoError(t, from.Release(ctx, run))
	require.NoError(t, to.Release(ctx, run))
	require.Zero(t, exported())
}

func notDeletedWhileCopied(t *testing.T, p *pair) {
	const clusters = 64
	from, to := openNew(t, p.from, 2*clusters), openNew(t, p.to, 2*clusters)
	ctx, run := t.Context(), newRun()
	a := snapshotOf(t, p.from, from, "vol-0-snap-a", clusters, clusters)
	l := create(t, to, "vol-1-rebuilding-00000001", clusters)
	p.to.Call(t, "bdev_set_qos_limit", map[string]any{"name": l, "rw_mbytes_per_sec": 5}, nil)
	address := receive(t, to, run, l, from)
	copying, cancel := context.WithCancel(ctx)
	begun, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- from.Copy(copying, run, a, address, func(done, _ uint64) {
			if done == 1 {
				close(begun)
			}
		})
	}()
	<-begun
	other := open(t, p.from.Socket, from.store.Name) // another process' view
	require.ErrorIs(t, other.Delete(ctx, a), ports.ErrBusy)
	require.ErrorIs(t, from.Delete(ctx, a), ports.ErrBusy)
	require.ErrorIs(t, from.Copy(ctx, run, a, address, nil), ports.ErrBusy)
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	require.ErrorIs(t, from.Delete(ctx, a), ports.ErrBusy, "given up, and yet going on")
	require.Equal(t, []string{"vol-0-snap-a"}, lvolNames(t, from))
	require.NoError(t, to.Withdraw(ctx, run, l))
	require.Eventually(t, func() bool { return from.Delete(ctx, a) == nil }, 10*time.Second, 10*time.Millisecond)
	require.Empty(t, lvolNames(t, from))
	require.NoError(t, from.Release(ctx, run))
	require.NoError(t, to.Release(ctx, run))
}

func whatACrashedProcessHasOpened(t *testing.T, p *pair) {
	from, to := openNew(t, p.from, 16), openNew(t, p.to, 16)
	ctx, crashed := t.Context(), newRun()
	a := snapshotOf(t, p.from, from, "vol-0-snap-a", 2, 1)
	l, other := create(t, to, "vol-1-rebuilding-00000001", 2), create(t, to, "vol-10-rebuilding-00000001", 2)
	require.NoError(t, from.Copy(ctx, crashed, a, receive(t, to, crashed, l, from), nil))
	others := ports.Run{Replica: "vol-10", ID: crashed.ID}
	otherPlace := receive(t, to, others, other, from)
	require.NoError(t, from.Copy(ctx, others, a, otherPlace, nil))
	// A volume of Longhorn's that is called as a run would be.
	foreign := helpertypes.GetNQN("vol-1-rebuild-0badcafe-0badcafe")
	p.to.Call(t, "nvmf_create_subsystem", spdktypes.NvmfCreateSubsystemRequest{Nqn: foreign}, nil)
	defer p.to.Call(t, "nvmf_delete_subsystem", spdktypes.NvmfDeleteSubsystemRequest{Nqn: foreign}, nil)

	nqns := func() (found []string) {
		var all []spdktypes.NvmfSubsystem
		p.to.Call(t, "nvmf_get_subsystems", nil, &all)
		for _, sub := range all {
			if strings.HasPrefix(sub.Nqn, helpertypes.NQNPrefix) {
				found = append(found, sub.Nqn)
			}
		}
		var attached []spdktypes.BdevNvmeControllerInfo
		p.from.Call(t, "bdev_nvme_get_controllers", nil, &attached)
		for _, c := range attached {
			found = append(found, c.Ctrlrs[0].Trid.Subnqn)
		}
		return found
	}
	require.Len(t, nqns(), 5)
	run := newRun()
	newFrom, newTo := open(t, p.from.Socket, from.store.Name), open(t, p.to.Socket, to.store.Name)
	require.NoError(t, newTo.Release(ctx, run))
	require.NoError(t, newFrom.Release(ctx, run))
	left := nqns()
	require.Len(t, left, 3, "%s", left)
	require.Contains(t, left, foreign)
	require.NoError(t, newFrom.Copy(ctx, run, a, receive(t, newTo, run, l, newFrom), nil))
	require.NoError(t, from.Copy(ctx, others, a, otherPlace, nil), "another replica's run goes on")
	for _, h := range []*Host{from, to} {
		require.NoError(t, h.Release(ctx, run))
		require.NoError(t, h.Release(ctx, others))
	}
	require.Equal(t, []string{foreign}, nqns())
}

func aGraftThatIsCancelledAnywhere(t *testing.T, p *pair) {
	h := openNew(t, p.from, 32)
	image := snapshotOf(t, p.from, h, "base", 2, 1)
	a := snapshotOf(t, p.from, h, "vol-1-snap-a", 4, 2)
	names := lvolNames(t, h)
	finished := 0
	for i := 0; finished < 2; i++ {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*2*time.Millisecond)
		parent := image
		if i%2 == 1 {
			parent = ""
		}
		err := h.Graft(ctx, a, parent)
		cancel()
		require.Equal(t, names, lvolNames(t, h), "after %d", i)
		l, lookErr := h.Look(t.Context(), a)
		require.NoError(t, lookErr)
		require.Contains(t, []string{"", image}, l.Parent)
		require.EqualValues(t, 2, l.Own.Count)
		if err == nil {
			require.Equal(t, parent, l.Parent)
			finished++
		} else {
			finished = 0
			require.ErrorIs(t, err, ports.ErrUnavailable)
		}
		require.Less(t, i, 1000)
	}
}

func aCloneThatIsCancelledAnywhere(t *testing.T, p *pair) {
	h := openNew(t, p.from, 32)
	a := snapshotOf(t, p.from, h, "vol-1-snap-a", 2, 1)
	for i := 0; ; i++ {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*2*time.Millisecond)
		uuid, err := h.Clone(ctx, a, "vol-1", 3*cluster, "base")
		cancel()
		if err != nil {
			if slices.Equal(lvolNames(t, h), []string{"vol-1-snap-a"}) {
				require.Less(t, i, 1000)
				continue
			}
			// The last call has worked all the same.
			require.Equal(t, []string{"vol-1", "vol-1-snap-a"}, lvolNames(t, h))
			return
		}
		l, err := h.Look(t.Context(), uuid)
		require.NoError(t, err)
		require.Equal(t, []any{"vol-1", a, uint64(3 * cluster)}, []any{l.Name, l.Parent, l.Size})
		return
	}
}

func aCopyWithinTheTarget(t *testing.T, p *pair) {
	const clusters = 64
	from, to := openNew(t, p.from, 2*clusters), openNew(t, p.from, 2*clusters)
	ctx, run := t.Context(), newRun()
	a := snapshotOf(t, p.from, from, "vol-0-snap-a", clusters, clusters)
	l := create(t, to, "vol-1-rebuilding-00000001", clusters)
	p.from.Call(t, "bdev_set_qos_limit", map[string]any{"name": l, "rw_mbytes_per_sec": 50}, nil)
	where := receive(t, to, run, l, from)
	require.Nil(t, placeOf(t, where).Remote, "no target is attached to itself")
	copying, cancel := context.WithCancel(ctx)
	err := from.Copy(copying, run, a, where, func(done, _ uint64) {
		if done > 0 {
			cancel()
		}
	})
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, to.Withdraw(ctx, run, l))
	b, err := to.store.Find(ctx, l)
	require.NoError(t, err)
	require.False(t, b.Claimed, "nothing writes any more")
	require.EqualValues(t, clusters, b.Own())
	require.EqualValues(t, rpc.NoLimit, b.Limits.Mbytes, "hurried, and not by SPDK's own 0, which may crash a target")
	require.NoError(t, to.Delete(ctx, l))
	require.Eventually(t, func() bool { return from.Delete(ctx, a) == nil }, 10*time.Second, 10*time.Millisecond)
}

func anExternalParent(t *testing.T, p *pair) {
	target := p.from
	store := target.NewStore(t, 32)
	h := open(t, target.Socket, store)
	ctx := t.Context()
	file := filepath.Join(t.TempDir(), "image")
	require.NoError(t, os.WriteFile(file, make([]byte, 2*cluster), 0o600))
	external := func() {
		target.Call(t, "bdev_aio_create", map[string]any{
			"name": "external", "filename": file, "block_size": 4096, "uuid": "6c1e3c5a-1111-4222-8333-444455556666",
		}, nil)
	}
	external()
	var clone string
	target.Call(t, "bdev_lvol_clone_bdev", spdktypes.BdevLvolCloneBdevRequest{Bdev: "external", LvsName: store, CloneName: "vol-1"}, &clone)
	snapshot, err := h.Snapshot(ctx, clone, "vol-1-snap-a", domain.Attributes{})
	require.NoError(t, err)
	base := snapshotOf(t, target, h, "base", 2, 1)

	l, err := h.Look(ctx, snapshot)
	require.NoError(t, err)
	require.Empty(t, l.Parent)
	require.Equal(t, "6c1e3c5a-1111-4222-8333-444455556666", l.External)
	require.Equal(t, []string{"base", "vol-1", "vol-1-snap-a"}, lvolNames(t, h))

	// Without its external snapshot the clone, and what hangs on it, is degraded.
	target.Restart(t)
	require.Equal(t, []string{"base", "vol-1", "vol-1-snap-a"}, lvolNames(t, h), "degraded ones are listed")
	l, err = h.Look(ctx, snapshot)
	require.NoError(t, err)
	require.Equal(t, domain.Lvol{UUID: snapshot, Name: "vol-1-snap-a", ReadOnly: true, Degraded: true}, l)
	_, err = h.Count(ctx, snapshot)
	require.ErrorIs(t, err, ports.ErrUnavailable, "what cannot be told is not 0")
	require.ErrorIs(t, h.Delete(ctx, snapshot), ports.ErrInvalid, "it has a clone")

	external()
	require.Eventually(t, func() bool {
		l, err := h.Look(ctx, clone)
		return err == nil && l.Size > 0
	}, 10*time.Second, 10*time.Millisecond, "whole again")
	require.NoError(t, h.Graft(ctx, snapshot, base), "the cure: onto a snapshot of its own store")
	l, err = h.Look(ctx, snapshot)
	require.NoError(t, err)
	require.Equal(t, base, l.Parent)
	require.NoError(t, h.Graft(ctx, snapshot, ""))
	target.Call(t, "bdev_aio_delete", spdktypes.BdevAioDeleteRequest{Name: "external"}, nil)
	require.NoError(t, h.Delete(ctx, clone))
	require.NoError(t, h.Delete(ctx, snapshot))
}

// anExportThatIsGone: what a failed rebuild of another engine leaves is a head that reads
// through to an export which is gone. A target crashes that deletes it as it is.
func anExportThatIsGone(t *testing.T, p *pair) {
	const controller, bdevOf = "goner", "gonern1"
	from, to := openNew(t, p.from, 16), openNew(t, p.to, 16)
	ctx := t.Context()
	exported := snapshotOf(t, p.from, from, "vol-1-r-0a1b2c3d-snap-a", 2, 1)
	port := freePort(t)
	_ = p.from.Try("nvmf_create_transport", spdktypes.NvmfCreateTransportRequest{Trtype: spdktypes.NvmeTransportTypeTCP}, nil) // there may be one
	nqn := "nqn.2023-01.io.test:" + from.store.UUID
	at := map[string]any{"trtype": "TCP", "adrfam": "IPv4", "traddr": "127.0.0.1", "trsvcid": port}
	p.from.Call(t, "nvmf_create_subsystem", map[string]any{"nqn": nqn, "allow_any_host": true}, nil)
	p.from.Call(t, "nvmf_subsystem_add_ns", map[string]any{"nqn": nqn, "namespace": map[string]any{"bdev_name": exported, "nguid": "0123456789abcdef0123456789abcdef"}}, nil)
	p.from.Call(t, "nvmf_subsystem_add_listener", map[string]any{"nqn": nqn, "listen_address": at}, nil)
	p.to.Call(t, "bdev_nvme_attach_controller", map[string]any{
		"name": controller, "trtype": "TCP", "adrfam": "IPv4", "traddr": "127.0.0.1", "trsvcid": port, "subnqn": nqn,
		"ctrlr_loss_timeout_sec": 2, "reconnect_delay_sec": 1, "fast_io_fail_timeout_sec": 1,
	}, nil)
	_ = p.to.Try("bdev_wait_for_examine", nil, nil) // a clone of a bdev that is being examined is degraded; simulated targets examine at once
	var head, side string
	p.to.Call(t, "bdev_lvol_clone_bdev", spdktypes.BdevLvolCloneBdevRequest{Bdev: bdevOf, LvsName: to.store.Name, CloneName: "vol-1-r-4e5f6a7b"}, &head)
	p.to.Call(t, "bdev_lvol_clone_bdev", spdktypes.BdevLvolCloneBdevRequest{Bdev: bdevOf, LvsName: to.store.Name, CloneName: "vol-1-r-8c9d0e1f"}, &side)
	snapshot, err := to.Snapshot(ctx, side, "vol-1-r-8c9d0e1f-snap-a", domain.Attributes{})
	require.NoError(t, err)

	p.from.Call(t, "nvmf_delete_subsystem", map[string]any{"nqn": nqn}, nil)
	require.Eventually(t, func() bool { return p.to.Try("bdev_get_bdevs", map[string]any{"name": bdevOf}, nil) != nil }, time.Minute, 20*time.Millisecond)
	l, err := to.Look(ctx, head)
	require.NoError(t, err)
	require.Equal(t, "01234567-89ab-cdef-0123-456789abcdef", l.External, "it is told, though it is gone")
	for _, uuid := range []string{head, side, snapshot} {
		require.NoError(t, to.Delete(ctx, uuid))
	}
	require.Empty(t, lvolNames(t, to))
	store, err := to.List(ctx)
	require.NoError(t, err, "the target goes on")
	require.Equal(t, store.TotalClusters, store.FreeClusters)
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

func aTakenPort(t *testing.T, p *pair) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = taken.Close() }()
	port := uint16(taken.Addr().(*net.TCPAddr).Port)
	from := openNew(t, p.from, 16)
	store := p.to.NewStore(t, 16)
	ctx, run := t.Context(), newRun()
	only, err := Open(ctx, Config{Socket: p.to.Socket, Lvstore: store, Listen: nvmf.Listen{Address: "127.0.0.1", First: port, Last: port}})
	require.NoError(t, err)
	defer func() { require.NoError(t, only.Close()) }()
	l := create(t, only, "vol-1-rebuilding-00000001", 2)
	peer, err := from.Peer(ctx)
	require.NoError(t, err)
	_, err = only.Receive(ctx, run, l, peer)
	require.ErrorIs(t, err, ports.ErrUnavailable)
	require.ErrorContains(t, err, fmt.Sprintf("127.0.0.1:%d-%d", port, port))

	more, err := Open(ctx, Config{Socket: p.to.Socket, Lvstore: store, Listen: nvmf.Listen{Address: "127.0.0.1", First: port, Last: port + 20}})
	require.NoError(t, err)
	defer func() { require.NoError(t, more.Close()) }()
	place := placeOf(t, receive(t, more, run, l, from))
	require.NotEqual(t, fmt.Sprint(port), place.Remote.Trsvcid)
	require.NoError(t, more.Release(ctx, run))
}

func aStoreOfManyLvols(t *testing.T, p *pair) {
	lvols := 1000
	if RaceDetector {
		lvols = 100 // make test makes more without it
	}
	h := openNew(t, p.from, lvols+200)
	calls := make([]rpc.Request, lvols)
	for i := range calls {
		calls[i] = rpc.CreateLvol(h.store.UUID, fmt.Sprint("vol-", i), 1)
	}
	h.store.Client.Do(t.Context(), calls...)
	require.NoError(t, rpc.FirstErr(calls))
	// List while somebody else makes and deletes lvols: each look is whole.
	ctx, cancel := context.WithCancel(t.Context())
	var others sync.WaitGroup
	others.Go(func() {
		other := open(t, p.from.Socket, h.store.Name)
		for i := 0; ctx.Err() == nil; i++ {
			uuid, err := other.Create(ctx, fmt.Sprint("other-", i), cluster)
			if err != nil && ctx.Err() == nil || err == nil && other.Delete(t.Context(), uuid) != nil {
				t.Errorf("create and delete: %v", err)
			}
		}
	})
	for range 20 {
		store, err := h.List(t.Context())
		require.NoError(t, err)
		listed := 0
		for _, l := range store.Lvols {
			if strings.HasPrefix(l.Name, "vol-") {
				listed++
			}
		}
		require.Equal(t, lvols, listed)
	}
	cancel()
	others.Wait()
}
