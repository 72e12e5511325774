package app_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/ports"
)

// multiSource is a volume with several replicas, all alike, and a host that one is
// rebuilt on.
type multiSource struct {
	t           tester
	sources     []*memory.Host
	builders    []*builder
	destination *memory.Host
	request     app.Request
}

// nthSource is what the source of that index is called.
func nthSource(i int) string { return fmt.Sprintf("vol-1-r-%08d", 11+i) }

// newMultiSource makes it. The flavours are those of the sources; there is one tree for all
// of them, or one for each.
func newMultiSource(t tester, destination memory.Flavour, sources []memory.Flavour, trees ...string) *multiSource {
	t.Helper()
	fabric := memory.NewFabric()
	g := &multiSource{t: t}
	for i, flavour := range sources {
		host := fabric.NewHost(memory.Config{Name: fmt.Sprint("disk-", i+1), ClusterSize: cluster, Seed: 1, Flavour: flavour})
		p := newBuilder(t, host, nthSource(i), "").makeImage(4).build(trees[i%len(trees)])
		g.sources, g.builders = append(g.sources, host), append(g.builders, p)
	}
	g.destination = fabric.NewHost(memory.Config{Name: "disk-9", ClusterSize: cluster, Seed: 1, Flavour: destination})
	g.request = app.Request{Destination: app.Site{Host: g.destination, Replica: copyName}}
	for i := range sources {
		site := app.Site{Host: g.sources[i], Replica: g.builders[i].replica}
		if i == 0 {
			g.request.Source = site
		} else {
			g.request.MoreSources = append(g.request.MoreSources, site)
		}
	}
	return g
}

// requireEqual compares the rebuilt replica with one of the sources.
func (g *multiSource) requireEqual(source int) {
	g.t.Helper()
	requireEqualViews(g.t, &fixture{t: g.t, source: g.sources[source], destination: g.destination}, g.builders[source].replica, copyName, true)
}

// requireEqualToPrimary compares it with the source that was the last plan's.
func (g *multiSource) requireEqualToPrimary(report app.Report) {
	g.t.Helper()
	for i, p := range g.builders {
		if p.replica == report.Source.Name {
			g.requireEqual(i)
			return
		}
	}
	require.Fail(g.t, "there is no such source", report.Source.Name)
}

// damage leaves a damaged replica on the destination, and somebody else's.
func (g *multiSource) damage() {
	left := newBuilder(g.t, g.destination, copyName, "").makeImage(4).build(`
		snap11 0=10 # lost its image
		  snap12 1=251
		    snap14 3=252 at=3
		      flight:0badcafe
		      head`)
	newBuilder(g.t, g.destination, neighbour, left.image).build("image\n s0 0=77\n  head")
}

func (g *multiSource) deleteHead(source int) {
	head := list(g.t, g.sources[source], g.builders[source].replica).Head
	require.NoError(g.t, g.sources[source].Delete(context.Background(), head.UUID))
}

func (g *multiSource) graft(source int, snapshot, onto string) {
	require.NoError(g.t, g.sources[source].Graft(context.Background(), g.builders[source].uuids[snapshot], onto))
}

var forks = []memory.Flavour{memory.Fork, memory.Fork}

// copies counts the copies that a host serves, by snapshot, and makes each take a
// while.
func copies(host *memory.Host, takes time.Duration) *rule {
	served := on("copy").takes(takes)
	inject(host, served)
	return served
}

// slowDisk lets a host serve one copy at a time, a second each.
func slowDisk(host *memory.Host) {
	disk := make(chan struct{}, 1)
	inject(host, on("copy").does(func() {
		disk <- struct{}{}
		time.Sleep(time.Second)
		<-disk
	}))
}

// death is that of a host that stays dead.
type death struct{ at *rule }

// die has a host die at its n-th call from now on.
func die(host *memory.Host, n int, fault memory.Fault) *death {
	d := &death{on("").nth(n).gets(fault)}
	inject(host, d.at, on("").from(n+1).fails(fault.Before), on("copy").takes(time.Millisecond))
	return d
}

// diedAt is the call at which the host died, "" while it lives.
func (d *death) diedAt() string {
	d.at.mu.Lock()
	defer d.at.mu.Unlock()
	return d.at.applied
}

// watched is a host that remembers which names were claimed.
type watched struct {
	*memory.Host

	mu      sync.Mutex
	claimed []string // alone
	shared  []string
}

func (w *watched) Lease(ctx context.Context, name string, lease ports.Lease) (func(), error) {
	w.mu.Lock()
	if lease.Shared {
		w.shared = append(w.shared, name)
	} else {
		w.claimed = append(w.claimed, name)
	}
	w.mu.Unlock()
	return w.Host.Lease(ctx, name, lease)
}
