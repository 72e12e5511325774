package spdk

import (
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"
	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmf"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/ports"
)

// exclusive allocates each of its ports once until it is released.
type exclusive struct {
	mu   sync.Mutex
	free []uint16
	all  []uint16
}

func (e *exclusive) Allocate(_ context.Context, refused []uint16) (uint16, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, port := range e.free {
		if !slices.Contains(refused, port) {
			e.free = slices.Delete(e.free, i, i+1)
			return port, nil
		}
	}
	return 0, errors.New("no port is left")
}

func (e *exclusive) Release(port uint16) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.free = append(e.free, port)
}

// portsOfACaller are the only ones that are listened on, one a subsystem, and are given
// back with it.
func portsOfACaller(t *testing.T, p *pair) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = taken.Close() }()
	allocator := &exclusive{free: []uint16{uint16(taken.Addr().(*net.TCPAddr).Port)}}
	for range 2 {
		port, err := strconv.ParseUint(freePort(t), 10, 16)
		require.NoError(t, err)
		allocator.free = append(allocator.free, uint16(port))
	}
	allocator.all = slices.Clone(allocator.free)

	ctx, run := t.Context(), newRun()
	from := openNew(t, p.from, 8)
	to, err := Open(ctx, Config{Socket: p.to.Socket, Lvstore: p.to.NewStore(t, 8), Ports: allocator})
	require.NoError(t, err)
	defer func() { require.NoError(t, to.Close()) }()
	received, opened := create(t, to, "vol-1-rebuilding-00000001", 2), create(t, to, "vol-1-rebuilding-00000002", 2)
	place := placeOf(t, receive(t, to, run, received, from))
	require.Equal(t, strconv.Itoa(int(allocator.all[1])), place.Remote.Trsvcid, "the first one is taken")
	b, err := to.Open(ctx, run, opened)
	require.NoError(t, err)
	_, err = b.ReadAt(make([]byte, cluster), 0)
	require.NoError(t, err)
	require.NoError(t, b.Close())
	require.Equal(t, allocator.all[:1], allocator.free, "the last one listens for the engine")

	peer, err := from.Peer(ctx)
	require.NoError(t, err)
	_, err = to.Receive(ctx, ports.Run{Replica: "vol-2", ID: run.ID}, opened, peer)
	require.ErrorIs(t, err, ports.ErrUnavailable)
	require.ErrorContains(t, err, "no port is left")

	require.NoError(t, to.Release(ctx, run))
	require.NoError(t, to.Release(ctx, run))
	require.ElementsMatch(t, allocator.all, allocator.free)
}

// nqnsOfACaller are the hosts that are let in.
func nqnsOfACaller(t *testing.T, p *pair) {
	const target, engine = "nqn.2014-08.org.nvmexpress:uuid:11111111-2222-4333-8444-555555555555", "nqn.2026-01.io.example:engine-7"
	ctx, run := t.Context(), newRun()
	config := Config{HostNQNs: nvmf.HostNQNs{
		Target: func(string) string { return target },
		Engine: func() string { return engine },
	}}
	config.Socket, config.Lvstore = p.from.Socket, p.from.NewStore(t, 8)
	from, err := Open(ctx, config)
	require.NoError(t, err)
	defer func() { require.NoError(t, from.Close()) }()
	config.Socket, config.Lvstore = p.to.Socket, p.to.NewStore(t, 8)
	to, err := Open(ctx, config)
	require.NoError(t, err)
	defer func() { require.NoError(t, to.Close()) }()

	snapshot := snapshotOf(t, p.from, from, "vol-0-snap-a", 2, 1)
	received, opened := create(t, to, "vol-1-rebuilding-00000001", 2), create(t, to, "vol-1-rebuilding-00000002", 2)
	address := receive(t, to, run, received, from)
	require.NoError(t, from.Copy(ctx, run, snapshot, address, nil))
	b, err := to.Open(ctx, run, opened)
	require.NoError(t, err)
	var all []spdktypes.NvmfSubsystem
	p.to.Call(t, "nvmf_get_subsystems", nil, &all)
	var hosts []string
	for _, sub := range all {
		if sub.SerialNumber == run.ID {
			for _, host := range sub.Hosts {
				hosts = append(hosts, host.Nqn)
			}
		}
	}
	require.ElementsMatch(t, []string{target, engine}, hosts)
	require.NoError(t, b.Close())
	require.NoError(t, from.Release(ctx, run))
	require.NoError(t, to.Release(ctx, run))
}

func TestOpenRefusesInvalidHostNQN(t *testing.T) {
	target := targettest.Simulate(t, simtarget.NewFabric(), simtarget.Fork)
	config := Config{Socket: target.Socket, Lvstore: target.NewStore(t, 4)}
	config.HostNQNs.Target = func(lvstore string) string { return lvstore }
	_, err := Open(t.Context(), config)
	require.ErrorIs(t, err, ports.ErrInvalid)
	require.ErrorContains(t, err, "HostNQNs: ")
}
