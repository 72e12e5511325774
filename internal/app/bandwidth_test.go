package app_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/ports"
)

// newWideFixture makes n snapshots of that many clusters each under one ancestor
// without a cluster of its own.
func newWideFixture(t tester, n, clusters int) (*fixture, app.Request) {
	t.Helper()
	b := newFixture(t, memory.Config{}, memory.Config{})
	own := ""
	for i := range clusters {
		own += fmt.Sprintf(" %d=%d", i, byte(i+1))
	}
	tree := fmt.Sprintf("clusters %d\nimage\n root\n  a%s\n   head\n", clusters, own)
	for i := range n - 1 {
		tree += fmt.Sprintf("  %c%s\n", 'b'+i, own)
	}
	newBuilder(t, b.source, sourceName, "").makeImage(4).build(tree)
	makeImage(t, b.destination, 4)
	request := b.request()
	return b, request
}

// took is how long a rebuild took of the bubble's time.
func took(t *testing.T, request app.Request) time.Duration {
	t.Helper()
	began := time.Now()
	_, err := app.New(nil).Rebuild(t.Context(), request)
	require.NoError(t, err)
	return time.Since(began)
}

// Virtual time.
func TestParallelCopiesShareTheBandwidth(t *testing.T) {
	const clusters, rate = 64, 8 * cluster
	for _, n := range []int{1, 3, 6} {
		synctest.Test(t, func(t *testing.T) {
			b, request := newWideFixture(t, n, clusters)
			request.Bandwidth = []*app.Bandwidth{app.NewBandwidth(rate)}
			passed := took(t, request).Seconds()
			least := float64(n*clusters*cluster) / rate
			require.GreaterOrEqual(t, passed, 0.98*least, "%d snapshots: too fast", n)
			require.LessOrEqual(t, passed, 1.3*least+1, "%d snapshots: what one leaves, the others get", n)
			requireEqualViews(t, b, sourceName, copyName, true)
		})
	}
}

func TestBandwidthChangesDuringACopy(t *testing.T) {
	const clusters = 100
	synctest.Test(t, func(t *testing.T) {
		b, request := newWideFixture(t, 1, clusters)
		limit := app.NewBandwidth(cluster)
		request.Bandwidth = []*app.Bandwidth{limit}
		go func() {
			time.Sleep(20 * time.Second) // 20 clusters
			limit.Set(4 * cluster)
			time.Sleep(10 * time.Second) // 40 more
			limit.Set(0)                 // the rest at once
		}()
		require.InDelta(t, 30, took(t, request).Seconds(), 1)
		require.Zero(t, limit.Rate())
		requireEqualViews(t, b, sourceName, copyName, true)
	})
}

// What had none gets one.
func TestBandwidthLimitStartsDuringACopy(t *testing.T) {
	const clusters = 40
	synctest.Test(t, func(t *testing.T) {
		b, request := newWideFixture(t, 1, clusters)
		limit := app.NewBandwidth(0)
		request.Bandwidth = []*app.Bandwidth{limit}
		inject(b.source, on("copy").of("vol-1-r-0a1b2c3d-snap-a").does(func() {
			go func() {
				time.Sleep(10 * time.Second)
				limit.Set(cluster)
			}()
		}).takes(clusters*time.Second/2)) // 20 clusters are there by then
		// The source takes half a second a cluster besides.
		require.InDelta(t, 10+20*1.5, took(t, request).Seconds(), 2)
		require.Positive(t, b.destination.Received())
	})
}

// Each keeps its own limit, too.
func TestRebuildsOfAHostShareItsBandwidth(t *testing.T) {
	const clusters = 40
	synctest.Test(t, func(t *testing.T) {
		host, own := app.NewBandwidth(4*cluster), app.NewBandwidth(cluster)
		var rebuilds sync.WaitGroup
		ends := make([]time.Duration, 2)
		for i, limits := range [][]*app.Bandwidth{{host, own}, {host}} {
			_, request := newWideFixture(t, 1, clusters)
			request.Bandwidth = limits
			rebuilds.Go(func() { ends[i] = took(t, request) })
		}
		rebuilds.Wait()
		require.InDelta(t, 40, ends[0].Seconds(), 1, "its own limit is the smaller one")
		require.InDelta(t, 20, ends[1].Seconds(), 1, "half of the host's")
	})
}

// unlimited is a host that cannot limit.
type unlimited struct{ ports.Host }

func TestUnsupportedBandwidthLimitIsRefused(t *testing.T) {
	b, request := newPlainFixture(t)
	request.Destination.Host = unlimited{b.destination}
	request.Bandwidth = []*app.Bandwidth{app.NewBandwidth(1 << 20)}
	report, err := app.New(nil).Rebuild(t.Context(), request)
	require.ErrorIs(t, err, app.ErrRefused)
	require.ErrorContains(t, err, "cannot limit")
	require.Equal(t, app.OutcomeRefused, report.Outcome)
	request.Bandwidth = []*app.Bandwidth{nil}
	_, err = app.New(nil).Rebuild(t.Context(), request)
	require.ErrorIs(t, err, app.ErrRefused)
	request.Bandwidth = []*app.Bandwidth{app.NewBandwidth(0)}
	_, err = app.New(nil).Rebuild(t.Context(), request)
	require.NoError(t, err, "no limit is none")
}

func TestFailedLimitEndsRebuildBeforeCopies(t *testing.T) {
	b, request := newPlainFixture(t)
	request.Bandwidth = []*app.Bandwidth{app.NewBandwidth(1 << 20)}
	inject(b.destination, on("limit").fails(ports.ErrUnsupported))
	_, err := app.New(nil).Rebuild(t.Context(), request)
	require.ErrorIs(t, err, ports.ErrUnsupported)
	require.Zero(t, b.destination.Received())
}

func TestQueueLimitsHostsAndRebuilds(t *testing.T) {
	const clusters = 40
	synctest.Test(t, func(t *testing.T) {
		queue := app.NewQueue(app.New(nil), app.Limits{})
		b, request := newWideFixture(t, 1, clusters)
		own := app.NewBandwidth(8 * cluster)
		request.Bandwidth = []*app.Bandwidth{own}
		queue.LimitHost(request.Source.Host, 2*cluster)
		queue.LimitHost(request.Destination.Host, 4*cluster)
		began := time.Now()
		job, err := queue.Submit(t.Context(), request)
		require.NoError(t, err)
		time.Sleep(10 * time.Second)                         // 20 clusters
		queue.LimitHost(request.Source.Host, 0)              // now the destination's
		time.Sleep(2 * time.Second)                          // 8 more
		queue.LimitHost(request.Destination.Host, 1*cluster) // 12 left
		_, err = job.Wait(t.Context())
		require.NoError(t, err)
		require.InDelta(t, 24, time.Since(began).Seconds(), 1)
		require.NoError(t, queue.Close(t.Context()))
		requireEqualViews(t, b, sourceName, copyName, true)
	})
}

// Upstream SPDK
// says busy until then.
func TestRetriedCopyReplacesOldLimit(t *testing.T) {
	const clusters = 20
	synctest.Test(t, func(t *testing.T) {
		b, request := newWideFixture(t, 1, clusters)
		limit := app.NewBandwidth(1)
		request.Bandwidth = []*app.Bandwidth{limit}
		first := on("copy").of("a").once().does(func() { limit.Set(0) }).fails(ports.ErrUnavailable)
		inject(b.source, first)
		inject(b.destination, on("limit").where(func(memory.Call) bool { return first.calls() == 1 }).fails(ports.ErrBusy))
		require.Less(t, took(t, request), time.Minute, "it was lifted")
		requireEqualViews(t, b, sourceName, copyName, true)
	})
}

// stepped keeps rates as SPDK does: whole steps, and no rate below one of them.
type stepped struct{ *memory.Host }

const step = 4 * cluster

func (stepped) LeastLimit() uint64 { return step }

func (s stepped) Limit(ctx context.Context, uuid string, bytesPerSecond uint64) error {
	if bytesPerSecond > 0 {
		bytesPerSecond = max(bytesPerSecond/step, 1) * step
	}
	return s.Host.Limit(ctx, uuid, bytesPerSecond)
}

// A host that keeps no rate below a step would exceed a limit that many copies share:
// fewer go on at a time.
func TestCopiesTakeTurnsBelowMinimumRate(t *testing.T) {
	const n, clusters = 8, 32
	for _, steps := range []int{1, 2, 3, 8} {
		for _, parallel := range []int{1, 4, 8} {
			synctest.Test(t, func(t *testing.T) {
				b, request := newWideFixture(t, n, clusters)
				request.Destination.Host = stepped{b.destination}
				request.Parallel = parallel
				request.Bandwidth = []*app.Bandwidth{app.NewBandwidth(uint64(steps)*step + step/2)}
				passed := took(t, request).Seconds()
				require.GreaterOrEqual(t, passed, 0.98*float64(n*clusters*cluster)/float64(steps*step+step/2), "%d steps for %d copies: too fast", steps, parallel)
				require.LessOrEqual(t, passed, 1.5*float64(n*clusters*cluster)/float64(steps*step)+1, "%d steps for %d copies", steps, parallel)
				requireEqualViews(t, b, sourceName, copyName, true)
			})
		}
	}
}

// Rebuilds that share limits share the turns, too, and none waits for another in a
// circle: the limits come in any order, some twice.
func TestRebuildsTakeTurnsWhereTheyShareALimit(t *testing.T) {
	const n, clusters = 4, 16
	synctest.Test(t, func(t *testing.T) {
		host, rack := app.NewBandwidth(step), app.NewBandwidth(step)
		var rebuilds sync.WaitGroup
		began := time.Now()
		for _, limits := range [][]*app.Bandwidth{{host, rack}, {rack, host, rack}, {host, host}} {
			b, request := newWideFixture(t, n, clusters)
			request.Destination.Host = stepped{b.destination}
			request.Bandwidth = limits
			rebuilds.Go(func() {
				took(t, request)
				requireEqualViews(t, b, sourceName, copyName, true)
			})
		}
		rebuilds.Wait()
		least := float64(3*n*clusters*cluster) / step
		require.GreaterOrEqual(t, time.Since(began).Seconds(), 0.98*least)
		require.LessOrEqual(t, time.Since(began).Seconds(), 1.1*least+1)
	})
}

// Who waits for a turn can be cancelled, and takes none with it; a higher rate gives
// more turns at once.
func TestWaitForATurnEnds(t *testing.T) {
	const clusters = 40
	synctest.Test(t, func(t *testing.T) {
		limit := app.NewBandwidth(step)
		var rebuilds sync.WaitGroup
		begin := func(ctx context.Context, end *error) {
			b, request := newWideFixture(t, 1, clusters)
			request.Destination.Host = stepped{b.destination}
			request.Bandwidth = []*app.Bandwidth{limit}
			rebuilds.Go(func() { _, *end = app.New(nil).Rebuild(ctx, request) })
			synctest.Wait()
		}
		began := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var first, second, third error
		begin(t.Context(), &first)
		begin(ctx, &second)
		begin(t.Context(), &third)
		time.Sleep(2 * time.Second) // 8 clusters of the first
		cancel()
		synctest.Wait()
		require.ErrorIs(t, second, context.Canceled)
		limit.Set(4 * step) // two of them get two steps each
		rebuilds.Wait()
		require.NoError(t, first)
		require.NoError(t, third)
		require.InDelta(t, 2+(32.+40)/16, time.Since(began).Seconds(), 1)
	})
}

func TestLimitBelowMinimumRateIsRefused(t *testing.T) {
	b, request := newPlainFixture(t)
	before := contents(t, b.destination)
	request.Destination.Host = stepped{b.destination}
	request.Bandwidth = []*app.Bandwidth{app.NewBandwidth(step - 1)}
	report, err := app.New(nil).Rebuild(t.Context(), request)
	require.ErrorIs(t, err, app.ErrRefused)
	require.ErrorContains(t, err, "keeps no limit below")
	require.Equal(t, app.OutcomeRefused, report.Outcome)
	require.Equal(t, before, contents(t, b.destination))
}
