package app_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// hostSet is several hosts of one fabric, each with the image.
type hostSet struct {
	t     tester
	hosts map[string]*memory.Host
}

func newHostSet(t tester, flavour memory.Flavour, names ...string) *hostSet {
	w := &hostSet{t: t, hosts: make(map[string]*memory.Host)}
	fabric := memory.NewFabric()
	for _, name := range names {
		w.hosts[name] = fabric.NewHost(memory.Config{Name: name, Flavour: flavour, ClusterSize: cluster, Seed: 1})
		makeImage(t, w.hosts[name], 4)
	}
	return w
}

// volume grows one on a host, and asks for its rebuild on another one.
func (w *hostSet) volume(name, from, to string) app.Request {
	host := w.hosts[from]
	store, err := host.List(context.Background())
	require.NoError(w.t, err)
	image, _ := store.BackingImage(imageName)
	p := newBuilder(w.t, host, name+"-r-0a1b2c3d", image.Lvol.UUID)
	p.build(`
		image
		  a 0=10
		    b 1=11
		    c 2=12
		      head 7=99 # so there is a system snapshot, too
	`)
	return app.Request{
		Volume: name, Parallel: 1,
		Source: app.Site{Host: host, Replica: name + "-r-0a1b2c3d"}, Destination: app.Site{Host: w.hosts[to], Replica: name + "-r-4e5f6a7b"},
	}
}

func (w *hostSet) requireRebuilt(r app.Request) {
	b := &fixture{t: w.t, source: r.Source.Host.(*memory.Host), destination: r.Destination.Host.(*memory.Host)}
	requireEqualViews(w.t, b, r.Source.Replica, r.Destination.Replica, true)
}

// hangFrom has a host answer nothing any more from its n-th call on, and tells how
// many calls it got. That a host's adapter has no deadline of its own is the worst
// case: a call ends with its context.
func hangFrom(host *memory.Host, n int) (calls *rule) {
	calls = on("").from(n).takes(10_000 * time.Hour)
	inject(host, calls)
	return calls
}

// longhorn/longhorn#12406, #11332 on the offline rebuild: what hangs takes its own
// rebuild with it, whatever it was asked when it began to, and none besides, not
// even one that shares the other host.
func TestHangingHostEndsItsOwnRebuildOnly(t *testing.T) {
	t.Parallel()
	hung := 0
	for _, flavour := range []memory.Flavour{memory.Fork, memory.Upstream} {
		for _, hangs := range []string{"source", "destination"} {
			for n := 1; ; n++ {
				over := false
				synctest.Test(t, func(t *testing.T) { over = hangAt(t, flavour, hangs, n) })
				if over {
					break
				}
				hung++
			}
		}
	}
	t.Logf("%d rebuilds with a host that hangs, each beside two that go on", hung)
	require.Greater(t, hung, 100)
}

func hangAt(t *testing.T, flavour memory.Flavour, hangs string, n int) (over bool) {
	w := newHostSet(t, flavour, "source", "destination", "third", "fourth")
	own := w.volume("own", "source", "destination")
	own.Views = flavour == memory.Upstream
	others := []app.Request{w.volume("apart", "third", "fourth")}
	if hangs == "source" {
		others = append(others, w.volume("beside", "third", "destination"))
	} else {
		others = append(others, w.volume("beside", "source", "third"))
	}
	calls := hangFrom(w.hosts[hangs], n)
	engine := app.New(nil)
	queue := app.NewQueue(engine, app.Limits{PerSource: 2, PerDestination: 2})
	first, err := queue.Submit(t.Context(), own)
	require.NoError(t, err)
	began := time.Now()
	for _, r := range others {
		job, err := queue.Submit(t.Context(), r)
		require.NoError(t, err)
		_, err = job.Wait(t.Context())
		require.NoError(t, err, "call %d of the %s", n, hangs)
		require.Zero(t, time.Since(began), "call %d of the %s holds %s up", n, hangs, r.Volume)
		w.requireRebuilt(r)
	}
	report, err := first.Wait(t.Context())
	w.hosts[hangs].Inject(nil)
	if calls.calls() < n {
		require.NoError(t, err)
		return true
	}
	require.ErrorIs(t, err, context.DeadlineExceeded, "call %d of the %s", n, hangs)
	require.ErrorIs(t, err, ports.ErrUnavailable)
	require.Equal(t, app.OutcomeFailed, report.Outcome)
	require.Less(t, time.Since(began), 15*time.Minute)
	_, err = engine.Rebuild(t.Context(), own)
	require.NoError(t, err, "after call %d of the %s", n, hangs)
	w.requireRebuilt(own)
	require.NoError(t, queue.Close(t.Context()))
	return false
}

// lingering is a host that cannot stop a copy, as SPDK cannot: when the context
// ends the copy goes on until what it writes into is withdrawn.
type lingering struct{ *memory.Host }

func (l lingering) Copy(ctx context.Context, run ports.Run, snapshot string, to ports.Address, progress ports.Progress) error {
	over := make(chan error, 1)
	var gone atomic.Bool
	go func() {
		over <- l.Host.Copy(context.WithoutCancel(ctx), run, snapshot, to, func(done, total uint64) {
			if !gone.Load() {
				progress(done, total)
			}
		})
	}()
	select {
	case err := <-over:
		return err
	case <-ctx.Done():
		gone.Store(true)
		return fmt.Errorf("%w: the target copies on: %w", ports.ErrUnavailable, context.Cause(ctx))
	}
}

// A rebuild that is cancelled, at any call and a moment after, ends soon. No copy
// goes on, nothing is in flight or open, and the next one arrives.
func TestCancelAtAnyCallEndsRebuildSoon(t *testing.T) {
	t.Parallel()
	cancelled := 0
	for _, flavour := range []memory.Flavour{memory.Fork, memory.Upstream} {
		for _, parallel := range []int{1, 4} {
			for _, after := range []time.Duration{0, 5 * time.Millisecond} {
				for n := 1; ; n++ {
					over := false
					synctest.Test(t, func(t *testing.T) { over = cancelAt(t, flavour, parallel, n, after) })
					if over {
						break
					}
					cancelled++
				}
			}
		}
	}
	t.Logf("%d rebuilds were cancelled", cancelled)
	require.Greater(t, cancelled, 200)
}

// Calls take that long, and a copy as long as it takes.
const (
	callTakes = 10 * time.Millisecond
	copyTakes = time.Hour
)

func cancelAt(t *testing.T, flavour memory.Flavour, parallel, n int, after time.Duration) (over bool) {
	w := newHostSet(t, flavour, "source", "destination")
	request := w.volume("own", "source", "destination")
	source, destination := w.hosts["source"], w.hosts["destination"]
	request.Source.Host, request.Parallel, request.Views = lingering{source}, parallel, parallel == 1 && after > 0
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var at time.Time
	nth := on("").nth(n).does(func() {
		at = time.Now().Add(after)
		if after == 0 {
			cancel()
		} else {
			time.AfterFunc(after, cancel)
		}
	})
	slow := on("copy").where(func(memory.Call) bool { return nth.calls() >= n }).takes(copyTakes)
	for _, host := range w.hosts {
		inject(host, nth, slow, on("").takes(callTakes))
	}
	engine := app.New(nil)
	_, err := engine.Rebuild(ctx, request)
	took := time.Since(at)
	source.Inject(nil)
	destination.Inject(nil)
	if nth.calls() < n {
		require.NoError(t, err)
		return true
	}
	where := fmt.Sprintf("cancelled %v after call %d: %v", after, n, err)
	if err != nil {
		require.ErrorIs(t, err, context.Canceled, where)
		require.NotErrorIs(t, err, app.ErrCleanUp, where)
	}
	require.Less(t, took, time.Second, where)
	for name, host := range w.hosts {
		opened, err := host.Opened(t.Context())
		require.NoError(t, err)
		require.Empty(t, opened, "%s: open on the %s", where, name)
	}
	d := list(t, destination, request.Destination.Replica)
	require.Empty(t, d.InFlight, where)
	if d.Head != nil {
		violations, err := domain.Verify(list(t, source, request.Source.Replica), d, domain.ImageBase(imageName))
		require.NoError(t, err)
		require.Empty(t, violations, where)
	}
	// What was copied is not being copied any more, so it can be deleted.
	_, err = engine.Rebuild(t.Context(), request)
	require.NoError(t, err, where)
	request.Source.Host = source
	w.requireRebuilt(request)
	return false
}

// A snapshot is not given free while a copy of it goes on, though its rebuild was
// cancelled: it would be hidden.
func TestDeleteWaitsForCancelledCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHostSet(t, memory.Fork, "source", "destination")
		request := w.volume("own", "source", "destination")
		source, destination := w.hosts["source"], w.hosts["destination"]
		request.Source.Host = lingering{source}
		ctx, cancel := context.WithCancel(t.Context())
		engine := app.New(nil)
		removed := make(chan error, 1)
		inject(source, on("copy").of("b").takes(copyTakes).does(func() {
			time.AfterFunc(time.Second, cancel)
			go func() {
				for {
					_, err := engine.DeleteSnapshot(context.Background(), request.Source, "b")
					if !errors.Is(err, app.ErrRefused) {
						removed <- err
						return
					}
					time.Sleep(time.Millisecond)
				}
			}()
		}))
		inject(destination, on("withdraw").takes(time.Second))
		_, err := engine.Rebuild(ctx, request)
		require.ErrorIs(t, err, context.Canceled)
		require.NoError(t, <-removed)
		source.Inject(nil)
		source.Restart()
		_, found := list(t, source, "own-r-0a1b2c3d").Snapshot("b")
		require.False(t, found, "it was hidden, not deleted")
	})
}
