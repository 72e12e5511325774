package spdk

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/longhorn/go-spdk-helper/pkg/jsonrpc"
	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"
	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/ports"
)

// stuck are copies in the middle of which the destination's disk holds all writes
// back.
type stuck struct {
	from, to *Host
	run      ports.Run
	lvols    []string
	ended    []chan error
	loses    *losing // connects to
}

// losing connects to a target. Where a call of that method is set, the call is not
// sent: instead is done, and the connection ends, as if the answer was lost.
type losing struct {
	method  atomic.Pointer[string]
	instead func()
}

func (l *losing) dial(ctx context.Context, socket string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	return lossy{conn, l}, err
}

type lossy struct {
	net.Conn
	*losing
}

func (c lossy) Write(p []byte) (int, error) {
	if method := c.method.Load(); method != nil && bytes.Contains(p, []byte(*method)) {
		c.method.Store(nil)
		c.instead()
		return len(p), c.Close()
	}
	return c.Conn.Write(p)
}

// stickCopies begins some, and returns when each is under way.
func stickCopies(t *testing.T, p *pair, copies int) *stuck {
	const clusters = 24
	s := &stuck{from: openNew(t, p.from, copies*clusters), loses: new(losing), run: newRun()}
	var err error
	s.to, err = Open(t.Context(), Config{Socket: p.to.Socket, Lvstore: p.to.NewStore(t, copies*clusters), Dial: s.loses.dial})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.to.Close()) })
	rate := copies // MiB a second: a write takes long enough to begin something else meanwhile
	if p.to.Simulated() != nil {
		rate *= 10
	}
	p.to.LimitWrites(t, s.to.store.Name, rate)
	var begun sync.WaitGroup
	for i := range copies {
		snapshot := snapshotOf(t, p.from, s.from, fmt.Sprintf("vol-0-snap-%d", i), clusters, clusters)
		l := create(t, s.to, fmt.Sprintf("vol-1-rebuilding-%08x", i), clusters)
		address := receive(t, s.to, s.run, l, s.from)
		ended := make(chan error, 1)
		s.lvols, s.ended = append(s.lvols, l), append(s.ended, ended)
		begun.Add(1)
		first := sync.OnceFunc(begun.Done)
		go func() {
			ended <- s.from.Copy(context.WithoutCancel(t.Context()), s.run, snapshot, address, func(done, _ uint64) {
				if done > 0 {
					first()
				}
			})
		}()
	}
	begun.Wait()
	return s
}

// requireOver: all copies have ended, and the destination's target lives.
func (s *stuck) requireOver(t *testing.T) {
	for _, ended := range s.ended {
		<-ended // with an error, unless it was whole before it was withdrawn
	}
	require.NoError(t, s.from.Release(t.Context(), s.run))
	require.NoError(t, s.to.Release(t.Context(), s.run))
	_, err := s.to.List(t.Context())
	require.NoError(t, err)
}

// A namespace that goes while another one's writes are waited for takes the target
// with it.
func manyCopiesWithdrawnAtOnce(t *testing.T, p *pair) {
	s := stickCopies(t, p, 4)
	var withdrawn sync.WaitGroup
	errs := make([]error, len(s.lvols))
	for i, l := range s.lvols {
		withdrawn.Go(func() { errs[i] = s.to.Withdraw(t.Context(), s.run, l) })
	}
	withdrawn.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	s.requireOver(t)
}

// A removal whose answer was lost goes on nevertheless.
func aWithdrawalWhoseAnswerIsLost(t *testing.T, p *pair) {
	s := stickCopies(t, p, 4)
	nqn, nsid := s.exported(t, p)
	s.loses.instead = func() { remove(t, p, nqn, nsid) }
	method := "nvmf_subsystem_remove_ns"
	s.loses.method.Store(&method)
	require.ErrorIs(t, s.to.Withdraw(t.Context(), s.run, s.lvols[0]), ports.ErrUnavailable)
	for _, l := range slices.Backward(s.lvols) {
		require.NoError(t, s.to.Withdraw(t.Context(), s.run, l))
	}
	s.requireOver(t)
}

// An engine that dies leaves what it has begun to the next one.
func whatADeadEngineIsWithdrawing(t *testing.T, p *pair) {
	s := stickCopies(t, p, 2)
	nqn, nsid := s.exported(t, p)
	remove(t, p, nqn, nsid)
	after := open(t, p.to.Socket, s.to.store.Name)
	require.NoError(t, after.Release(t.Context(), ports.Run{Replica: s.run.Replica, ID: newID()}))
	s.requireOver(t)
}

// Another engine's lvols in flight, which are deleted while it copies into them.
func whatAnotherEngineFillsIsDeleted(t *testing.T, p *pair) {
	s := stickCopies(t, p, 4)
	other := open(t, p.to.Socket, s.to.store.Name)
	var deleted sync.WaitGroup
	errs := make([]error, len(s.lvols))
	for i, l := range s.lvols {
		deleted.Go(func() { errs[i] = other.Delete(t.Context(), l) })
	}
	deleted.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	s.requireOver(t)
}

// exported is the run's subsystem, and the first namespace of it.
func (s *stuck) exported(t *testing.T, p *pair) (nqn string, nsid uint32) {
	var all []spdktypes.NvmfSubsystem
	p.to.Call(t, "nvmf_get_subsystems", nil, &all)
	i := slices.IndexFunc(all, func(sub spdktypes.NvmfSubsystem) bool { return sub.SerialNumber == s.run.ID })
	return all[i].Nqn, all[i].Namespaces[0].Nsid
}

// remove begins to remove a namespace: a target takes the calls of a connection up in
// their order, and this one's answer is waited for by nobody.
func remove(t *testing.T, p *pair, nqn string, nsid uint32) {
	conn, err := net.Dial("unix", p.to.Socket)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	ask := json.NewEncoder(conn)
	require.NoError(t, ask.Encode(jsonrpc.NewMessage(1, "nvmf_subsystem_remove_ns", spdktypes.NvmfSubsystemRemoveNsRequest{Nqn: nqn, Nsid: nsid})))
	require.NoError(t, ask.Encode(jsonrpc.NewMessage(2, "rpc_get_methods", nil)))
	_, err = conn.Read(make([]byte, 1))
	require.NoError(t, err)
}

// A change may go on although its answer was lost, so the next one waits for it.
func TestNextChangeWaitsForUnansweredOne(t *testing.T) {
	fabric := simtarget.NewFabric()
	p := &pair{from: targettest.Simulate(t, fabric, simtarget.Fork), to: targettest.Simulate(t, fabric, simtarget.Fork)}
	from, to, run := openNew(t, p.from, 4), openNew(t, p.to, 4), newRun()
	first, second := create(t, to, "vol-1-rebuilding-00000001", 1), create(t, to, "vol-1-rebuilding-00000002", 1)
	receive(t, to, run, first, from)
	receive(t, to, run, second, from)
	var mu sync.Mutex
	var removed []uint32
	p.to.Simulated().Inject(func(r simtarget.Request) simtarget.Fault {
		var params spdktypes.NvmfSubsystemRemoveNsRequest
		if r.Method != "nvmf_subsystem_remove_ns" || json.Unmarshal(r.Params, &params) != nil {
			return simtarget.Fault{}
		}
		mu.Lock()
		defer mu.Unlock()
		if removed = append(removed, params.Nsid); len(removed) == 1 {
			return simtarget.Fault{After: simtarget.Close}
		}
		return simtarget.Fault{}
	})
	require.Error(t, to.Withdraw(t.Context(), run, first))
	require.NoError(t, to.Withdraw(t.Context(), run, second))
	require.NoError(t, to.Withdraw(t.Context(), run, first))
	p.to.Simulated().Inject(nil)
	require.Equal(t, []uint32{1, everyNamespace, 2, 1}, removed)
	require.NoError(t, to.Release(t.Context(), run))
}
