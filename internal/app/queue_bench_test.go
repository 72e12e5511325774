package app_test

import (
	"context"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/app"
)

// BenchmarkQueueOverhead rebuilds the same tree by Rebuild and by a Queue, one after
// the other, which goes first by turns. x-bare is how many times as long it takes by
// the Queue, and x-bare-cpu how many times as much of the processor, which other
// programs disturb less; both are medians of all pairs. The budget is 1.05.
//
//	go test ./internal/app -run '^$' -bench BenchmarkQueueOverhead -benchtime 100x
func BenchmarkQueueOverhead(b *testing.B) {
	const snapshots = 500
	engine := app.New(nil)
	queue := app.NewQueue(engine, app.Limits{})
	rebuild := func(do func(app.Request) error) (took, used time.Duration) {
		_, request := newChainFixture(b, snapshots)
		runtime.GC() // of what growing has left
		began, before := time.Now(), processorTime(b)
		err := do(request)
		took, used = time.Since(began), processorTime(b)-before
		require.NoError(b, err)
		return took, used
	}
	bare := func(r app.Request) error {
		_, err := engine.Rebuild(context.Background(), r)
		return err
	}
	queued := func(r app.Request) error {
		job, err := queue.Submit(context.Background(), r)
		if err == nil {
			_, err = job.Wait(context.Background())
		}
		return err
	}
	var wall, processor []float64
	var spent time.Duration
	for b.Loop() {
		var one, other [2]time.Duration
		if len(wall)%2 == 0 {
			one[0], one[1] = rebuild(bare)
			other[0], other[1] = rebuild(queued)
		} else {
			other[0], other[1] = rebuild(queued)
			one[0], one[1] = rebuild(bare)
		}
		spent += one[0]
		wall = append(wall, other[0].Seconds()/one[0].Seconds())
		processor = append(processor, other[1].Seconds()/one[1].Seconds())
	}
	b.ReportMetric(median(wall), "x-bare")
	b.ReportMetric(median(processor), "x-bare-cpu")
	b.ReportMetric(spent.Seconds()*1e3/float64(len(wall)), "ms-bare")
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}

// processorTime is what this process has used so far.
func processorTime(t tester) time.Duration {
	var used syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
