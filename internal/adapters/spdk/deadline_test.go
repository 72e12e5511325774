package spdk

import (
	"context"
	"flag"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

var silentEvery = flag.Int("silent-every", 3, "a target falls silent at every so many-th call of a method; 1: at each")

// staged is what a method of a host is called on.
type staged struct {
	from, to           *Host
	filled, leaf       string // snapshots on from; nothing hangs on the leaf, which is empty
	under              string // a snapshot on which only the leaf hangs
	writable, received string // lvols on to
	run                ports.Run
	address            ports.Address
}

// Every method of a host ends, however many of its calls a target has answered
// before it fell silent, and says that it is not known what became of it.
func TestVerbsEndOnSilentTarget(t *testing.T) {
	t.Parallel()
	const answersIn = 250 * time.Millisecond
	for name, do := range map[string]func(ctx context.Context, s *staged) error{
		"list":  func(ctx context.Context, s *staged) error { _, err := s.from.List(ctx); return err },
		"look":  func(ctx context.Context, s *staged) error { _, err := s.from.Look(ctx, s.leaf); return err },
		"count": func(ctx context.Context, s *staged) error { _, err := s.from.Count(ctx, s.leaf); return err },
		"prove": func(ctx context.Context, s *staged) error {
			_, err := s.from.Prove(ctx, []string{s.filled})
			return err
		},
		"opened": func(ctx context.Context, s *staged) error { _, err := s.to.Opened(ctx); return err },
		"peer":   func(ctx context.Context, s *staged) error { _, err := s.from.Peer(ctx); return err },
		"create": func(ctx context.Context, s *staged) error {
			_, err := s.to.Create(ctx, "vol-1-rebuilding-0000000a", 2*cluster)
			return err
		},
		"graft": func(ctx context.Context, s *staged) error { return s.from.Graft(ctx, s.leaf, "") },
		"seal": func(ctx context.Context, s *staged) error {
			_, err := s.to.Seal(ctx, s.writable, "vol-1-snap-x", ports.SealRecord{})
			return err
		},
		"snapshot": func(ctx context.Context, s *staged) error {
			_, err := s.to.Snapshot(ctx, s.writable, "vol-1-snap-x", domain.Attributes{})
			return err
		},
		"clone": func(ctx context.Context, s *staged) error {
			_, err := s.from.Clone(ctx, s.filled, "vol-2", 4*cluster, "none")
			return err
		},
		"delete": func(ctx context.Context, s *staged) error { return s.from.Delete(ctx, s.leaf) },
		"merge":  func(ctx context.Context, s *staged) error { return s.from.Merge(ctx, s.under) },
		"record": func(ctx context.Context, s *staged) error { return s.to.Record(ctx, s.writable, "none") },
		"limit":  func(ctx context.Context, s *staged) error { return s.to.Limit(ctx, s.writable, 1<<20) },
		"receive": func(ctx context.Context, s *staged) error {
			peer, err := s.from.Peer(ctx)
			if err == nil {
				_, err = s.to.Receive(ctx, s.run, s.writable, peer)
			}
			return err
		},
		"copy":     func(ctx context.Context, s *staged) error { return s.from.Copy(ctx, s.run, s.filled, s.address, nil) },
		"withdraw": func(ctx context.Context, s *staged) error { return s.to.Withdraw(ctx, s.run, s.received) },
		"release":  func(ctx context.Context, s *staged) error { return s.to.Release(ctx, s.run) },
		"open": func(ctx context.Context, s *staged) error {
			b, err := s.to.Open(ctx, newRun(), s.writable)
			if err == nil {
				err = b.Close()
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fabric := simtarget.NewFabric()
			p := &pair{targettest.Simulate(t, fabric, simtarget.Fork), targettest.Simulate(t, fabric, simtarget.Fork)}
			silent := 0
			for n := 1; ; n += *silentEvery {
				reached, err := fallsSilentAt(t, p, n, answersIn, do)
				if !reached {
					require.NoError(t, err)
					break
				}
				silent++
				if err != nil { // else what was not answered was not needed
					require.ErrorIs(t, err, ports.ErrUnavailable, "silent from call %d on", n)
					require.ErrorIs(t, err, context.DeadlineExceeded, "silent from call %d on", n)
				}
			}
			require.Positive(t, silent)
		})
	}
}

// fallsSilentAt has both targets answer nothing from the n-th call on. On a busy machine an
// earlier call may take longer than is waited for; then it is tried again with more time.
func fallsSilentAt(t *testing.T, p *pair, n int, answersIn time.Duration, do func(ctx context.Context, s *staged) error) (reached bool, err error) {
	t.Helper()
	for range 6 {
		var calls, came atomic.Int64 // came: when the n-th did, in nanoseconds since it began
		t.Run("", func(t *testing.T) {
			s := stage(t, p)
			for _, h := range []*Host{s.from, s.to} {
				h.store.Client.Timeout = answersIn
			}
			begun := time.Now()
			for _, target := range []*targettest.Target{p.from, p.to} {
				target.Simulated().Inject(func(simtarget.Request) simtarget.Fault {
					switch call := calls.Add(1); {
					case call < int64(n):
						return simtarget.Fault{}
					case call == int64(n):
						came.Store(int64(time.Since(begun)))
					}
					return simtarget.Fault{Before: simtarget.Silence}
				})
			}
			ended := make(chan error, 1)
			go func() { ended <- do(t.Context(), s) }()
			select {
			case err = <-ended:
			case <-time.After(time.Minute):
				t.Errorf("it has not ended, silent from call %d on", n)
			}
			for _, target := range []*targettest.Target{p.from, p.to} {
				target.Simulated().Inject(nil)
			}
			for _, h := range []*Host{s.from, s.to} {
				h.store.Client.Timeout = DefaultTimeout
			}
		})
		if reached = calls.Load() >= int64(n); reached && came.Load() < int64(answersIn) || err == nil || t.Failed() {
			return reached, err
		}
		answersIn *= 2
	}
	return reached, err
}

func stage(t *testing.T, p *pair) *staged {
	t.Helper()
	s := &staged{from: openNew(t, p.from, 24), to: openNew(t, p.to, 24), run: newRun()}
	s.filled = snapshotOf(t, p.from, s.from, "vol-1-snap-a", 4, 2)
	s.under = snapshotOf(t, p.from, s.from, "vol-1-snap-b", 4, 1)
	s.leaf = snapshotOf(t, p.from, s.from, "vol-1-snap-c", 4, 0)
	require.NoError(t, s.from.Graft(t.Context(), s.leaf, s.under))
	s.writable = create(t, s.to, "vol-1-rebuilding-00000001", 4)
	s.received = create(t, s.to, "vol-1-rebuilding-00000002", 4)
	s.address = receive(t, s.to, s.run, s.received, s.from)
	return s
}
