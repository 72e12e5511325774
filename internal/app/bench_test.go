package app_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
)

// newChainFixture makes a chain of that many snapshots of one cluster each.
func newChainFixture(t tester, snapshots int) (*fixture, app.Request) {
	t.Helper()
	b := newFixture(t, memory.Config{}, memory.Config{})
	newBuilder(t, b.source, sourceName, "").makeImage(4).build(chain(snapshots, 16, 1))
	makeImage(t, b.destination, 4)
	request := b.request()
	return b, request
}

// BenchmarkRebuildInMemory rebuilds 1,000 snapshots of one 4 KiB cluster each.
// The budget is one second; of-budget is the part of it that was used.
func BenchmarkRebuildInMemory(b *testing.B) {
	const snapshots, budget = 1000, time.Second
	var spent time.Duration
	for b.Loop() {
		b.StopTimer()
		_, request := newChainFixture(b, snapshots)
		b.StartTimer()
		began := time.Now()
		_, err := app.New(nil).Rebuild(context.Background(), request)
		spent += time.Since(began)
		require.NoError(b, err)
	}
	b.ReportMetric(spent.Seconds()/float64(b.N)/budget.Seconds(), "of-budget")
}

// BenchmarkSecondRebuild rebuilds what has not changed. The budget is 8 round
// trips one after the other, however many snapshots there are: x-for-100x-tree
// is how many times the calls of a tree that is a hundredth as large.
func BenchmarkSecondRebuild(b *testing.B) {
	calls := make(map[int]int)
	for _, snapshots := range []int{10, 1000} {
		host, request := newChainFixture(b, snapshots)
		_, err := app.New(nil).Rebuild(context.Background(), request)
		require.NoError(b, err)
		calls[snapshots] = countCalls(b, host, request)
	}
	_, request := newChainFixture(b, 1000)
	_, err := app.New(nil).Rebuild(context.Background(), request)
	require.NoError(b, err)
	for b.Loop() {
		_, err := app.New(nil).Rebuild(context.Background(), request)
		require.NoError(b, err)
	}
	b.ReportMetric(float64(calls[1000]), "calls")
	b.ReportMetric(float64(calls[1000])/float64(calls[10]), "x-for-100x-tree")
}

// countCalls counts the calls of a rebuild of what has not changed, on the host
// that gets most of them: calls to two hosts at once are one round trip.
func countCalls(t tester, b *fixture, request app.Request) int {
	most := 0
	counted := []map[string]int{calls(b.source), calls(b.destination)}
	_, err := app.New(nil).Rebuild(context.Background(), request)
	require.NoError(t, err)
	for _, methods := range counted {
		sum := 0
		for _, n := range methods {
			sum += n
		}
		most = max(most, sum)
	}
	return most
}

func TestSecondRebuildNeedsFewRoundTrips(t *testing.T) {
	for _, snapshots := range []int{3, 60} {
		b, request := newChainFixture(t, snapshots)
		_, err := app.New(nil).Rebuild(context.Background(), request)
		require.NoError(t, err)
		require.LessOrEqual(t, countCalls(t, b, request), 8)
	}
}
