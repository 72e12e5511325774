package app_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
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

// newMultiSource makes it. The flavours are those of the sources; build makes one replica.
func newMultiSource(t tester, destination memory.Flavour, sources []memory.Flavour, build func(b *builder)) *multiSource {
	t.Helper()
	fabric := memory.NewFabric()
	g := &multiSource{t: t}
	for i, flavour := range sources {
		host := fabric.NewHost(memory.Config{Name: fmt.Sprint("disk-", i+1), ClusterSize: cluster, Seed: 1, Flavour: flavour})
		p := newBuilder(t, host, nthSource(i), makeImage(t, host, 4))
		build(p)
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
	image := makeImage(g.t, g.destination, 4)
	left := newBuilder(g.t, g.destination, copyName, image)
	left.snapshot("snap11", "", 8, map[int]byte{0: 10}, minute(0))
	left.snapshot("snap12", left.uuids["snap11"], 8, map[int]byte{1: 251}, minute(1))
	left.snapshot("snap14", left.uuids["snap12"], 8, map[int]byte{3: 252}, minute(3))
	left.writable(domain.InFlightLvolName(copyName, "0badcafe"), left.uuids["snap14"], 8)
	left.writable(copyName, left.uuids["snap14"], 8)
	other := newBuilder(g.t, g.destination, "vol-10-r-4e5f6a7b", image)
	other.snapshot("s0", image, 8, map[int]byte{0: 77}, minute(0))
	other.writable("vol-10-r-4e5f6a7b", other.uuids["s0"], 8)
}

func (g *multiSource) deleteHead(source int) {
	head := list(g.t, g.sources[source], g.builders[source].replica).Head
	require.NoError(g.t, g.sources[source].Delete(context.Background(), head.UUID))
}

func (g *multiSource) graft(source int, snapshot, onto string) {
	require.NoError(g.t, g.sources[source].Graft(context.Background(), g.builders[source].uuids[snapshot], onto))
}

var forks = []memory.Flavour{memory.Fork, memory.Fork}

// fieldTreeWithData is the branching tree with data in the head.
func fieldTreeWithData(p *builder) {
	p.growTree(fieldTree, 8, 10)
	p.write(list(p.t, p.host, p.replica).Head.UUID, 7, 99)
}

// wide is a tree of n snapshots of that many clusters, all under one ancestor.
func wide(n, clusters int) func(p *builder) {
	return func(p *builder) {
		p.snapshot("root", p.image, clusters, map[int]byte{0: 1}, minute(0))
		for i := range n {
			own := make(map[int]byte)
			for at := range clusters {
				own[at] = byte(i + at)
			}
			p.snapshot(fmt.Sprintf("s%02d", i), p.uuids["root"], clusters, own, minute(i+1))
		}
		p.writable(p.replica, p.uuids["s00"], clusters)
	}
}

// chain is a chain of n snapshots with a cluster of their own each.
func chain(n int) func(p *builder) {
	return func(p *builder) {
		parent := p.image
		for i := range n {
			parent = p.snapshot(fmt.Sprint("s", i), parent, 8, map[int]byte{i: byte(10 + i)}, minute(i))
		}
		p.writable(p.replica, parent, 8)
	}
}

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
