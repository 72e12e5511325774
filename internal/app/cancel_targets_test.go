package app_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
)

// How far apart the JSON-RPC calls are at which rebuilds on targets are cancelled.
var cancelEvery = flag.Int("cancel-every", 11, "cancel a rebuild on simulated targets at every so many-th JSON-RPC call; 1: at each")

// cancelFixture is a volume on one target, to be rebuilt on another store.
type cancelFixture struct {
	from, to  *targettest.Target
	stores    [2]string
	request   app.Request
	snapshots []string // UUIDs of the source's
	inject    func(ask func())
}

func newCancelFixture(t *testing.T, flavour simtarget.Flavour, within bool) *cancelFixture {
	t.Helper()
	const snapshots, clusters = 3, 2
	fabric := simtarget.NewFabric()
	p := &cancelFixture{from: targettest.Simulate(t, fabric, flavour)}
	p.to = p.from
	if !within {
		p.to = targettest.Simulate(t, fabric, flavour)
	}
	p.stores = [2]string{p.from.NewStore(t, 64), p.to.NewStore(t, 64)}
	source, destination := openTarget(t, p.from.Socket, p.stores[0]), openTarget(t, p.to.Socket, p.stores[1])
	built := newBuilderOn(t, onTarget(t, p.from, source), sourceName, "").makeImage(2).build(chain(snapshots, clusters, 1))
	p.snapshots = slices.Collect(maps.Values(built.uuids))
	newBuilderOn(t, onTarget(t, p.to, destination), copyName, "").makeImage(2)
	p.request = app.Request{
		Source: app.Site{Host: source, Replica: sourceName}, Destination: app.Site{Host: destination, Replica: copyName},
		Parallel: 2,
	}
	p.inject = func(ask func()) {
		for _, target := range []*targettest.Target{p.from, p.to} {
			target.Simulated().Inject(func(simtarget.Request) simtarget.Fault {
				ask()
				return simtarget.Fault{}
			})
		}
	}
	return p
}

// A rebuild that is cancelled at any JSON-RPC call leaves no copy that goes on, on the
// target: whatever is being copied is busy, and a new lvol under an old address
// would be written to. Nothing is in flight or open, the source is as it was, and the
// next run arrives.
func TestCancelStopsCopiesOnTargets(t *testing.T) {
	t.Parallel()
	for _, flavour := range []simtarget.Flavour{simtarget.Fork, simtarget.Upstream} {
		for _, within := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, within one target: %v", flavour, within), func(t *testing.T) {
				t.Parallel()
				p := newCancelFixture(t, flavour, within)
				// Slow enough to be cancelled in the middle of a copy.
				p.to.LimitWrites(t, p.stores[1], 40)
				cancelled := 0
				for n := 1; p.cancelAt(t, n); n += *cancelEvery {
					cancelled++
				}
				t.Logf("%d rebuilds were cancelled", cancelled)
				require.Greater(t, cancelled, 3)
			})
		}
	}
}

func (p *cancelFixture) cancelAt(t *testing.T, n int) (cancelled bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var calls atomic.Int64
	p.inject(func() {
		if calls.Add(1) == int64(n) {
			cancel()
		}
	})
	engine := app.New(nil)
	_, err := engine.Rebuild(ctx, p.request)
	p.inject(func() {})
	if calls.Load() < int64(n) {
		require.NoError(t, err)
		return false
	}
	where := fmt.Sprintf("cancelled at call %d: %v", n, err)
	if err != nil {
		require.ErrorIs(t, err, context.Canceled, where)
		require.NotErrorIs(t, err, app.ErrCleanUp, where)
	}
	for _, uuid := range p.snapshots {
		// A copy locks what it reads; it ends within milliseconds.
		require.Eventually(t, func() bool { return p.isFree(t, uuid) }, 5*time.Second, time.Millisecond, where)
	}
	for _, at := range []app.Site{p.request.Source, p.request.Destination} {
		opened, err := at.Host.(*spdk.Host).Opened(t.Context())
		require.NoError(t, err)
		require.Empty(t, opened, where)
	}
	look := func(at app.Site) domain.Replica {
		store, err := at.Host.List(t.Context())
		require.NoError(t, err)
		r, err := domain.NewReplica(store, at.Replica)
		require.NoError(t, err)
		return r
	}
	d := look(p.request.Destination)
	require.Empty(t, d.InFlight, where)
	if d.Head != nil {
		violations, err := domain.Verify(look(p.request.Source), d, domain.ImageBase(imageName))
		require.NoError(t, err)
		require.Empty(t, violations, where)
	}
	request := p.request
	request.Views = true
	_, err = engine.Rebuild(t.Context(), request)
	require.NoError(t, err, "again, %s", where)
	_, err = engine.DeleteReplica(t.Context(), p.request.Destination, nil)
	require.NoError(t, err, where)
	return true
}

// isFree reports whether a snapshot can be cloned, which is refused without harm
// while it is being copied.
func (p *cancelFixture) isFree(t *testing.T, uuid string) bool {
	var clone string
	err := p.from.Try("bdev_lvol_clone", map[string]any{"snapshot_name": uuid, "clone_name": "probe"}, &clone)
	if err == nil {
		p.from.Call(t, "bdev_lvol_delete", map[string]any{"name": clone}, nil)
	}
	return err == nil
}
