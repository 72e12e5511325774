package app_test

import (
	"context"
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
)

var measureAtOnce = flag.Bool("measure-at-once", false, "measure what more rebuilds at once on one host bring")

const (
	rebuildsMeasured = 8
	diskMiBSecond    = 200 // what the disk of a destination takes
)

// TestMeasureRebuildsAtOnce measures what 1, 2, 4 and 8 rebuilds at once on one host
// bring: the reason for DefaultPerSource and DefaultPerDestination. The targets are
// simulated ones that look at their sockets every 4 ms, as SPDK does, with disks that
// take a fixed rate; nothing limits what a source reads. It judges nothing.
//
//	go test ./internal/app -count=1 -run TestMeasureRebuildsAtOnce -measure-at-once -v
func TestMeasureRebuildsAtOnce(t *testing.T) {
	if !*measureAtOnce {
		t.Skip("it measures, for minutes: give it -measure-at-once")
	}
	for _, shape := range []struct{ snapshots, clusters int }{{16, 1}, {4, 16}} {
		for _, way := range []string{"from one host to one", "from one host to many", "from many hosts to one"} {
			var alone time.Duration
			for _, atOnce := range []int{1, 2, 4, 8} {
				took := measureRebuilds(t, way, atOnce, shape.snapshots, shape.clusters)
				if atOnce == 1 {
					alone = took
				}
				t.Logf("%d rebuilds of %d snapshots of %d MiB %s, %d at once: %v, %.2f times as fast as one by one; one takes %v",
					rebuildsMeasured, shape.snapshots, shape.clusters, way, atOnce, took.Round(time.Millisecond), alone.Seconds()/took.Seconds(),
					(took * time.Duration(atOnce) / rebuildsMeasured).Round(time.Millisecond))
			}
		}
	}
}

// measured is a target with one store, and the one way to it that a queue knows.
type measured struct {
	target *targettest.Target
	store  string
	host   *spdk.Host
}

func measureRebuilds(t *testing.T, way string, atOnce, snapshots, clusters int) (took time.Duration) {
	t.Helper()
	t.Run(fmt.Sprintf("%s, %d at once, %d snapshots", way, atOnce, snapshots), func(t *testing.T) {
		fabric := simtarget.NewFabric()
		place := func() measured {
			m := measured{target: targettest.SimulatePolled(t, fabric, simtarget.Fork)}
			m.store = m.target.NewStore(t, 2*rebuildsMeasured*snapshots*clusters+64)
			m.host = openTarget(t, m.target.Socket, m.store)
			return m
		}
		from, to := place(), place()
		limits := app.Limits{PerSource: atOnce, PerDestination: atOnce}
		var requests []app.Request
		for n := range rebuildsMeasured {
			switch {
			case n == 0:
			case way == "from one host to many":
				to = place()
			case way == "from many hosts to one":
				from = place()
			}
			to.target.LimitWrites(t, to.store, diskMiBSecond)
			volume := fmt.Sprintf("vol-%d", n)
			newBuilderOn(t, onTarget(t, from.target, from.host), volume+"-r-0a1b2c3d", "").build(fullChain(snapshots, clusters))
			requests = append(requests, app.Request{
				Volume: volume, Base: domain.NoBase(),
				Source: app.Site{Host: from.host, Replica: volume + "-r-0a1b2c3d"}, Destination: app.Site{Host: to.host, Replica: volume + "-r-4e5f6a7b"},
			})
		}
		queue := app.NewQueue(app.New(nil), limits)
		began := time.Now()
		var jobs []*app.Job
		for _, r := range requests {
			job, err := queue.Submit(context.Background(), r)
			require.NoError(t, err)
			jobs = append(jobs, job)
		}
		for _, job := range jobs {
			_, err := job.Wait(context.Background())
			require.NoError(t, err)
		}
		took = time.Since(began)
	})
	return took
}
