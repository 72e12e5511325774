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

// grove is a volume with several replicas, all alike, and a host that one is
// rebuilt on.
type grove struct {
	t           tester
	sources     []*memory.Host
	plants      []*plant
	destination *memory.Host
	request     app.Request
}

// nthSource is what the source of that index is called.
func nthSource(i int) string { return fmt.Sprintf("vol-1-r-%08d", 11+i) }

// grow makes it. The flavours are those of the sources; plant draws one replica.
func growGrove(t tester, destination memory.Flavour, sources []memory.Flavour, plant func(p *plant)) *grove {
	t.Helper()
	fabric := memory.NewFabric()
	g := &grove{t: t}
	for i, flavour := range sources {
		host := fabric.NewHost(memory.Config{Name: fmt.Sprint("disk-", i+1), ClusterSize: cluster, Seed: 1, Flavour: flavour})
		p := newPlant(t, host, nthSource(i), growImage(t, host, 4))
		plant(p)
		g.sources, g.plants = append(g.sources, host), append(g.plants, p)
	}
	g.destination = fabric.NewHost(memory.Config{Name: "disk-9", ClusterSize: cluster, Seed: 1, Flavour: destination})
	g.request = app.Request{Destination: app.Site{Host: g.destination, Replica: copyName}}
	for i := range sources {
		site := app.Site{Host: g.sources[i], Replica: g.plants[i].replica}
		if i == 0 {
			g.request.Source = site
		} else {
			g.request.MoreSources = append(g.request.MoreSources, site)
		}
	}
	return g
}

// requireEqual compares the rebuilt replica with one of the sources.
func (g *grove) requireEqual(source int) {
	g.t.Helper()
	requireEqualViews(g.t, &bench{t: g.t, source: g.sources[source], destination: g.destination}, g.plants[source].replica, copyName, true)
}

// requireEqualToPrimary compares it with the source that was the last plan's.
func (g *grove) requireEqualToPrimary(report app.Report) {
	g.t.Helper()
	for i, p := range g.plants {
		if p.replica == report.Source.Name {
			g.requireEqual(i)
			return
		}
	}
	require.Fail(g.t, "there is no such source", report.Source.Name)
}

// damage leaves a damaged replica on the destination, and somebody else's.
func (g *grove) damage() {
	image := growImage(g.t, g.destination, 4)
	left := newPlant(g.t, g.destination, copyName, image)
	left.snapshot("snap11", "", 8, map[int]byte{0: 10}, minute(0))
	left.snapshot("snap12", left.uuids["snap11"], 8, map[int]byte{1: 251}, minute(1))
	left.snapshot("snap14", left.uuids["snap12"], 8, map[int]byte{3: 252}, minute(3))
	left.writable(domain.InFlightLvolName(copyName, "0badcafe"), left.uuids["snap14"], 8)
	left.writable(copyName, left.uuids["snap14"], 8)
	other := newPlant(g.t, g.destination, "vol-10-r-4e5f6a7b", image)
	other.snapshot("s0", image, 8, map[int]byte{0: 77}, minute(0))
	other.writable("vol-10-r-4e5f6a7b", other.uuids["s0"], 8)
}

func (g *grove) deleteHead(source int) {
	head := list(g.t, g.sources[source], g.plants[source].replica).Head
	require.NoError(g.t, g.sources[source].Delete(context.Background(), head.UUID))
}

func (g *grove) graft(source int, snapshot, onto string) {
	require.NoError(g.t, g.sources[source].Graft(context.Background(), g.plants[source].uuids[snapshot], onto))
}

var forks = []memory.Flavour{memory.Fork, memory.Fork}

// fieldTreeWithData is the branching tree with data in the head.
func fieldTreeWithData(p *plant) {
	p.growTree(fieldTree, 8, 10)
	p.write(list(p.t, p.host, p.replica).Head.UUID, 7, 99)
}

// wide is a tree of n snapshots of that many clusters, all under one ancestor.
func wide(n, clusters int) func(p *plant) {
	return func(p *plant) {
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
func chain(n int) func(p *plant) {
	return func(p *plant) {
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
