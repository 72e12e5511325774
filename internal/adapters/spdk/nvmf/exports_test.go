package nvmf

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/ports"
)

// side is the exports of a target with one lvstore.
type side struct {
	*Exports

	target *targettest.Target
}

func newSide(t *testing.T, fabric *simtarget.Fabric, config Config) *side {
	t.Helper()
	s := &side{target: targettest.Simulate(t, fabric, simtarget.Upstream)}
	s.Exports = s.open(t, s.target.NewStore(t, 16), config)
	return s
}

func (s *side) open(t *testing.T, lvstore string, config Config) *Exports {
	t.Helper()
	client := rpc.NewClient(s.target.Socket, time.Minute, nil)
	t.Cleanup(client.Close)
	store, err := rpc.OpenLvstore(t.Context(), client, lvstore)
	require.NoError(t, err)
	config, err = config.WithDefaults()
	require.NoError(t, err)
	e, err := New(store, config, zaptest.NewLogger(t))
	require.NoError(t, err)
	return e
}

func (s *side) create(t *testing.T, name string) (uuid string) {
	t.Helper()
	uuid, err := rpc.CreateLvol(s.store.UUID, name, 2).Do(t.Context(), s.rpc)
	require.NoError(t, err)
	return uuid
}

func (s *side) receive(t *testing.T, r ports.Run, lvol string, from *side) (where Address) {
	t.Helper()
	peer, err := from.Peer(t.Context())
	require.NoError(t, err)
	to, err := NewReception(r, lvol, peer)
	require.NoError(t, err)
	text, err := s.Receive(t.Context(), to)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal([]byte(text), &where))
	return where
}

// namespaces are those of all runs, as "run: lvol".
func (s *side) namespaces(t *testing.T) (found []string) {
	t.Helper()
	subsystems, err := rpc.GetSubsystems("").Do(t.Context(), s.rpc)
	require.NoError(t, err)
	for _, sub := range subsystems {
		for _, ns := range sub.Namespaces {
			found = append(found, sub.SerialNumber+": "+ns.BdevName)
		}
	}
	slices.Sort(found)
	return found
}

func runOf(replica, id string) ports.Run { return ports.Run{Replica: replica, Store: "s", ID: id} }

func TestReceptionWithinOneTargetExportsNothing(t *testing.T) {
	s := newSide(t, simtarget.NewFabric(), Config{})
	r, l := runOf("vol-1", "0000000a"), s.create(t, "l")
	where := s.receive(t, r, l, s)
	require.Nil(t, where.Remote)
	require.Equal(t, l, where.Lvol)
	require.True(t, s.Receives(l))
	bdev, done, err := s.Destination(t.Context(), r, where)
	require.NoError(t, err)
	require.Equal(t, l, bdev)
	done()
	require.Empty(t, s.namespaces(t))
	require.NoError(t, s.Withdraw(t.Context(), r, l))
	require.False(t, s.Receives(l))
}

func TestNamespaceIDIsGivenOnce(t *testing.T) {
	fabric := simtarget.NewFabric()
	from, to := newSide(t, fabric, Config{}), newSide(t, fabric, Config{})
	r, l := runOf("vol-1", "0000000a"), to.create(t, "l")
	given := make(map[string]bool)
	for range 3 {
		where := to.receive(t, r, l, from)
		key := fmt.Sprint(where.Remote.Subnqn, " ", where.NSID)
		require.False(t, given[key], "%s again", key)
		given[key] = true
		require.Equal(t, []string{"0000000a: " + l}, to.namespaces(t), "a second reception ends the first")
	}
	require.NoError(t, to.Withdraw(t.Context(), r, l))
	require.Empty(t, to.namespaces(t))
}

func TestAttachRefusesOwnExport(t *testing.T) {
	fabric := simtarget.NewFabric()
	from, to := newSide(t, fabric, Config{}), newSide(t, fabric, Config{})
	r, l := runOf("vol-1", "0000000a"), to.create(t, "l")
	where := to.receive(t, r, l, from)
	_, _, err := to.Destination(t.Context(), r, where)
	require.ErrorIs(t, err, ports.ErrInvalid)
	require.ErrorContains(t, err, "would hang if it was attached to itself")
	bdev, done, err := from.Destination(t.Context(), r, where)
	require.NoError(t, err)
	done()
	found, err := rpc.GetBdev(bdev).Do(t.Context(), from.rpc)
	require.NoError(t, err)
	require.Len(t, found, 1)
}

func TestFirstReleaseEndsCrashedRunsOfItsReplica(t *testing.T) {
	fabric := simtarget.NewFabric()
	from, to := newSide(t, fabric, Config{}), newSide(t, fabric, Config{})
	crashed, another := runOf("vol-1", "0000000a"), runOf("vol-10", "0000000b")
	x, y := to.create(t, "x"), to.create(t, "y")
	to.receive(t, crashed, x, from)
	to.receive(t, another, y, from)

	later := to.open(t, to.store.Name, Config{}) // of another process
	opened, err := later.Opened(t.Context())
	require.NoError(t, err)
	require.Len(t, opened, 2)
	var ended []ports.Run
	require.NoError(t, later.Release(t.Context(), runOf("vol-1", "0000000c"), Ending{Before: func(which Runs) {
		for _, r := range []ports.Run{crashed, another} {
			if which(r) {
				ended = append(ended, r)
			}
		}
	}}))
	require.Equal(t, []ports.Run{crashed}, ended)
	require.Equal(t, []string{"0000000b: " + y}, to.namespaces(t))
	require.NoError(t, later.EndRun(t.Context(), opened[0].Run, Ending{}))
	require.NoError(t, later.EndRun(t.Context(), opened[1].Run, Ending{}))
	require.Empty(t, to.namespaces(t))
}

func TestOpenedBytesAreWrittenInWholeClusters(t *testing.T) {
	s := newSide(t, simtarget.NewFabric(), Config{})
	r, l := runOf("vol-1", "0000000a"), s.create(t, "l")
	lvol, err := s.store.Find(t.Context(), l)
	require.NoError(t, err)
	b, err := s.Open(t.Context(), r, lvol)
	require.NoError(t, err)
	_, err = b.WriteAt([]byte("abc"), 5)
	require.NoError(t, err)
	p := make([]byte, 10)
	_, err = b.ReadAt(p, 0)
	require.NoError(t, err)
	require.Equal(t, "\x00\x00\x00\x00\x00abc\x00\x00", string(p))
	_, err = b.ReadAt(p, int64(b.Size())-3)
	require.ErrorIs(t, err, io.EOF)
	_, err = b.WriteAt(p, int64(b.Size())-3)
	require.ErrorIs(t, err, ports.ErrInvalid)
	require.NoError(t, s.Release(t.Context(), r, Ending{}))
	_, err = b.ReadAt(p, 0)
	require.ErrorIs(t, err, ports.ErrUnavailable)
	require.NoError(t, b.Close())
}

// Changes of one subsystem follow each other, also if several goroutines ask for them.
func TestChangesOfSubsystemDoNotOverlap(t *testing.T) {
	fabric := simtarget.NewFabric()
	from, to := newSide(t, fabric, Config{}), newSide(t, fabric, Config{})
	r := runOf("vol-1", "0000000a")
	var lvols []string
	for i := range 8 {
		l := to.create(t, fmt.Sprint("l", i))
		to.receive(t, r, l, from)
		lvols = append(lvols, l)
	}
	var begun atomic.Int64
	to.target.Simulated().Inject(func(request simtarget.Request) simtarget.Fault {
		if request.Method == "nvmf_subsystem_remove_ns" {
			begun.Add(1)
		}
		return simtarget.Fault{}
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sub := to.run(r).current[forPeers].nqn
	leave, err := to.changes.lock(ctx, sub)
	require.NoError(t, err)
	errs := make(chan error, len(lvols))
	for _, l := range lvols {
		go func() { errs <- to.Withdraw(ctx, r, l) }()
	}
	cancel() // nobody gets a turn
	for range lvols {
		err := <-errs
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, ports.ErrUnavailable)
	}
	require.Zero(t, begun.Load())
	leave()
	for _, l := range lvols {
		go func() { errs <- to.Withdraw(t.Context(), r, l) }()
	}
	for range lvols {
		require.NoError(t, <-errs)
	}
	require.EqualValues(t, len(lvols), begun.Load())
	require.Empty(t, to.namespaces(t))
}

// stubborn chooses a port whatever the target says of it.
type stubborn uint16

func (s stubborn) Allocate(context.Context, []uint16) (uint16, error) { return uint16(s), nil }
func (stubborn) Release(uint16)                                       {}

func TestAllocatorMustNotRepeatRefusedPort(t *testing.T) {
	fabric := simtarget.NewFabric()
	from := newSide(t, fabric, Config{})
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = taken.Close() }()
	for _, port := range []uint16{uint16(taken.Addr().(*net.TCPAddr).Port), 0} {
		to := newSide(t, fabric, Config{Ports: stubborn(port)})
		peer, err := from.Peer(t.Context())
		require.NoError(t, err)
		reception, err := NewReception(runOf("vol-1", "0000000a"), to.create(t, "l"), peer)
		require.NoError(t, err)
		_, err = to.Receive(t.Context(), reception)
		require.ErrorIs(t, err, ports.ErrUnavailable)
		require.ErrorContains(t, err, fmt.Sprintf("the port allocator chose port %d", port))
		require.Empty(t, to.namespaces(t))
	}
}

// unlucky has one port, which it gives once.
type unlucky struct{ given, released int }

func (u *unlucky) Allocate(context.Context, []uint16) (uint16, error) {
	if u.given++; u.given > 1 {
		return 0, errors.New("no port is left")
	}
	return 1, nil // which nobody but root can listen on
}

func (u *unlucky) Release(uint16) { u.released++ }

func TestRefusedSubsystemReleasesItsPort(t *testing.T) {
	fabric := simtarget.NewFabric()
	allocator := new(unlucky)
	from, to := newSide(t, fabric, Config{}), newSide(t, fabric, Config{Ports: allocator})
	to.target.Simulated().Inject(func(request simtarget.Request) simtarget.Fault {
		if request.Method == "nvmf_create_subsystem" {
			return simtarget.Fault{Refuse: &simtarget.Error{Code: -32603, Message: "Internal error"}}
		}
		return simtarget.Fault{}
	})
	peer, err := from.Peer(t.Context())
	require.NoError(t, err)
	reception, err := NewReception(runOf("vol-1", "0000000a"), to.create(t, "l"), peer)
	require.NoError(t, err)
	_, err = to.Receive(t.Context(), reception)
	require.ErrorIs(t, err, ports.ErrUnavailable)
	require.Equal(t, 1, allocator.given)
	require.Equal(t, 1, allocator.released)
	_, err = to.Receive(t.Context(), reception)
	require.ErrorContains(t, err, "no port is left")
	require.Equal(t, 1, allocator.released)
}
