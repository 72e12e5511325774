package executor_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// An executor needs hosts, a plan and a sink, and no request and no engine.

const (
	cluster    = 4 << 10
	sourceName = "vol-1-r-0a1b2c3d"
	copyName   = "vol-1-r-4e5f6a7b"
)

// sink writes down what it is told.
type sink struct {
	mu       sync.Mutex
	ended    []string
	retried  []string
	clusters map[string]uint64 // copied, by snapshot
	sealed   []domain.Sealing
}

func (*sink) Began(executor.Step) {}

func (s *sink) Copied(step executor.Step, clusters uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clusters[step.Subject] = clusters
}

func (s *sink) Retrying(step executor.Step, failure error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retried = append(s.retried, fmt.Sprintf("%s %s: %v", step.Verb, step.Subject, failure))
}

func (s *sink) Ended(step executor.Step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = append(s.ended, fmt.Sprintf("%s %s", step.Verb, step.Subject))
}

func (s *sink) Sealed(_ context.Context, _ string, sealing domain.Sealing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sealed = append(s.sealed, sealing)
}

func (*sink) LeftOpen(int, error) {}

func listing(t *testing.T, host ports.Host) domain.Listing {
	t.Helper()
	l, err := host.List(t.Context())
	require.NoError(t, err)
	return l
}

// newSource makes a replica of two snapshots with two clusters each, s2 on s1.
func newSource(t *testing.T, host *memory.Host) domain.Replica {
	t.Helper()
	parent := ""
	for n, name := range []string{"s1", "s2"} {
		uuid, err := host.Create(t.Context(), domain.InFlightLvolName(sourceName, fmt.Sprintf("%08x", n)), 8*cluster)
		require.NoError(t, err)
		for at := range 2 {
			require.NoError(t, host.WriteAt(uuid, bytes.Repeat([]byte{byte(10*n + at + 1)}, cluster), uint64(n+at)*cluster))
		}
		require.NoError(t, host.Graft(t.Context(), uuid, parent))
		parent, err = host.Seal(t.Context(), uuid, domain.SnapshotLvolName(sourceName, name), ports.SealRecord{})
		require.NoError(t, err)
	}
	_, err := host.Clone(t.Context(), parent, sourceName, 8*cluster, domain.RecordNoBase)
	require.NoError(t, err)
	r, err := domain.NewReplica(listing(t, host), sourceName)
	require.NoError(t, err)
	return r
}

// plan is one of a rebuild of the source, and its executor's configuration.
func newConfig(t *testing.T, from, to *memory.Host, parallel int) (executor.Config, *sink) {
	t.Helper()
	source := newSource(t, from)
	destination, err := domain.NewDestination(listing(t, to), copyName, source)
	require.NoError(t, err)
	plan, err := domain.PlanRebuild(source, destination, domain.NoBase(), domain.Options{})
	require.NoError(t, err)
	s := &sink{clusters: make(map[string]uint64)}
	return executor.Config{
		Host: to, Listing: destination.Store, Plan: plan, Parallel: parallel, Sink: s, Log: zap.NewNop(),
		Run:     executor.NewRun(ports.Run{Replica: copyName, Store: destination.Store.UUID, ID: executor.NewID()}),
		Sources: []*executor.Source{{Host: from, Listing: source.Store, Used: context.Background(), Lose: func(error) {}}},
		Lock: func(context.Context, domain.Listing, string) (func(), error) {
			return func() {}, nil
		},
	}, s
}

func newHosts() (from, to *memory.Host) {
	fabric := memory.NewFabric()
	config := memory.Config{ClusterSize: cluster, Seed: 1}
	config.Name = "disk-1"
	from = fabric.NewHost(config)
	config.Name = "disk-2"
	return from, fabric.NewHost(config)
}

func TestExecutorCarriesOutARebuild(t *testing.T) {
	for _, parallel := range []int{1, 4} {
		t.Run(fmt.Sprint(parallel, " at once"), func(t *testing.T) {
			from, to := newHosts()
			config, told := newConfig(t, from, to, parallel)
			x := executor.New(config)
			require.NoError(t, x.Open(t.Context()))
			require.NoError(t, x.Do(t.Context(), domain.Stages...))
			head, ok, err := x.Head(t.Context())
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, copyName, head.Name)
			require.NoError(t, x.CleanUp(t.Context(), nil))

			source, err := domain.NewReplica(listing(t, from), sourceName)
			require.NoError(t, err)
			copied, err := domain.NewDestination(listing(t, to), copyName, source)
			require.NoError(t, err)
			violations, err := domain.Verify(source, copied, domain.NoBase())
			require.NoError(t, err)
			require.Empty(t, violations)
			require.Equal(t, map[string]uint64{"s1": 2, "s2": 2}, told.clusters)
			require.Len(t, told.sealed, 2)
			require.Equal(t, told.sealed, config.Run.Sealings())
			require.Equal(t, len(config.Plan.Operations), len(told.ended))
			require.Empty(t, told.retried)
			require.Len(t, listing(t, to).Lvols, 3, "nothing in flight is left")
		})
	}
}

// What deletes or repairs hands the executor a plan, and no source.
func TestExecutorCarriesOutAPlanWithoutSources(t *testing.T) {
	host, _ := newHosts()
	plan, err := domain.PlanRemoval(newSource(t, host))
	require.NoError(t, err)
	told := &sink{}
	x := executor.New(executor.Config{
		Host: host, Listing: listing(t, host), Plan: plan, Parallel: 1, Sink: told, Log: zap.NewNop(),
		Run:  executor.NewRun(ports.Run{Replica: sourceName, ID: executor.NewID()}),
		Lock: func(context.Context, domain.Listing, string) (func(), error) { return func() {}, nil },
	})
	require.NoError(t, x.Do(t.Context(), domain.Stages...))
	require.Empty(t, listing(t, host).Lvols)
	require.Equal(t, []string{"delete ", "delete s2", "delete s1"}, told.ended, "the head first, then leaf first")
}

// Each verb is done again after a failure that may pass, whether or not it took effect,
// and comes to the same end.
func TestExecutorReconcilesEachVerb(t *testing.T) {
	lost := fmt.Errorf("the answer was lost: %w", ports.ErrUnavailable)
	for _, method := range []string{"create", "receive", "copy", "withdraw", "graft", "seal", "clone"} {
		for name, fault := range map[string]memory.Fault{"refused": {Before: lost}, "lost": {After: lost}} {
			t.Run(method+" "+name, func(t *testing.T) {
				from, to := newHosts()
				config, told := newConfig(t, from, to, 1)
				var once sync.Once
				inject := func(c memory.Call) (f memory.Fault) {
					if c.Method == method {
						once.Do(func() { f = fault })
					}
					return f
				}
				from.Inject(inject)
				to.Inject(inject)
				x := executor.New(config)
				require.NoError(t, x.Open(t.Context()))
				require.NoError(t, x.Do(t.Context(), domain.Stages...))
				require.NoError(t, x.CleanUp(t.Context(), nil))
				from.Inject(nil)
				to.Inject(nil)
				if method != "withdraw" { // that is done again by itself
					require.Len(t, told.retried, 1)
				}
				var names []string
				for _, l := range listing(t, to).Lvols {
					names = append(names, l.Name)
				}
				slices.Sort(names)
				require.Equal(t, []string{copyName, copyName + "-snap-s1", copyName + "-snap-s2"}, names)
			})
		}
	}
}

// A run that fails leaves nothing that has no final name.
func TestExecutorCleansUpAfterAFailure(t *testing.T) {
	broken := errors.New("the disk is broken")
	from, to := newHosts()
	config, _ := newConfig(t, from, to, 4)
	to.Inject(func(c memory.Call) memory.Fault {
		if c.Method == "seal" {
			return memory.Fault{Before: broken}
		}
		return memory.Fault{}
	})
	x := executor.New(config)
	require.NoError(t, x.Open(t.Context()))
	err := x.Do(t.Context(), domain.Stages...)
	require.ErrorIs(t, err, broken)
	require.NoError(t, x.CleanUp(t.Context(), err))
	require.Empty(t, listing(t, to).Lvols)
}
