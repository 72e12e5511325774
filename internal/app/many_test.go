package app_test

import (
	"flag"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
)

var (
	manyRebuilds  = flag.Int("many-rebuilds", 20, "how many rebuilds go on at once in TestManyRebuildsAtOnce")
	manySnapshots = flag.Int("many-snapshots", 10, "of how many snapshots each")
)

// TestManyRebuildsAtOnce has many volumes on a few hosts rebuilt at the same time by
// one engine: each host sends and receives, all share the image, half of the hosts
// have it yet to be brought. Every byte is compared. It is for the race detector:
//
//	go test -race ./internal/app -run TestManyRebuildsAtOnce -many-rebuilds 200 -many-snapshots 50 -v
func TestManyRebuildsAtOnce(t *testing.T) {
	const hosts, clusters = 8, 16
	fabric := memory.NewFabric()
	all := make([]*memory.Host, hosts)
	images := make([]string, hosts)
	for i := range all {
		flavour := memory.Fork
		if i%4 == 3 {
			flavour = memory.Upstream
		}
		all[i] = fabric.NewHost(memory.Config{Name: fmt.Sprintf("disk-%d", i), Flavour: flavour, ClusterSize: cluster, Seed: 1})
		if i < hosts/2 {
			images[i] = makeImage(t, all[i], 4)
		}
	}
	type volume struct {
		fixture *fixture
		request app.Request
		job     *app.Job
	}
	volumes := make([]*volume, *manyRebuilds)
	for n := range volumes {
		from, to := n%(hosts/2), (n%(hosts/2)+1+n/(hosts/2)%(hosts-1))%hosts
		name := fmt.Sprintf("vol-%d", n)
		built := newBuilder(t, all[from], name+"-r-0a1b2c3d", images[from])
		made := make([]string, *manySnapshots)
		parent := built.image
		for i := range made {
			if i > 0 && i%7 == 0 { // where somebody went back
				parent = made[i/2]
			}
			parent = built.snapshot(fmt.Sprint("s", i), parent, clusters, map[int]byte{i % clusters: byte(n + i)}, minute(i))
			made[i] = parent
		}
		built.writable(built.replica, parent, clusters)
		volumes[n] = &volume{fixture: &fixture{t: t, source: all[from], destination: all[to]}, request: app.Request{
			Volume: name, Source: app.Site{Host: all[from], Replica: name + "-r-0a1b2c3d"}, Destination: app.Site{Host: all[to], Replica: name + "-r-4e5f6a7b"},
		}}
	}
	queue := app.NewQueue(app.New(nil), app.Limits{PerSource: *manyRebuilds, PerDestination: *manyRebuilds})
	var began sync.WaitGroup // all of them go on before one has ended
	began.Add(len(volumes))
	for _, v := range volumes {
		var once sync.Once
		v.request.Observer = observe(func(e app.Event) {
			if e.Kind == app.EventPlanned {
				once.Do(func() { began.Done(); began.Wait() })
			}
		})
	}
	for _, v := range volumes {
		var err error
		v.job, err = queue.Submit(t.Context(), v.request)
		require.NoError(t, err)
	}
	for _, v := range volumes {
		report, err := v.job.Wait(t.Context())
		require.NoError(t, err)
		require.Empty(t, report.Violations)
	}
	require.NoError(t, queue.Close(t.Context()))
	for _, v := range volumes {
		requireEqualViews(t, v.fixture, v.request.Source.Replica, v.request.Destination.Replica, true)
	}
	t.Logf("%d rebuilds of %d snapshots at once, among %d hosts", len(volumes), *manySnapshots, hosts)
}
