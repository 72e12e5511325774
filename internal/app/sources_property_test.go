package app_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// sharing says how much a property run of several sources has seen.
type sharing struct{ cases, complete, refused, differ, shared, lost, unusable atomic.Int64 }

// TestRandomSourcesMakeOneReplica draws a volume's life, replicas of it that have drifted apart in all ways, what is left on the
// destination, flavours, and who dies when. As long as a healthy source lives that
// lacks nothing the rebuild completes, and every byte is that source's. From one
// that lacks what another one has it completes only if it is given alone.
func TestRandomSourcesMakeOneReplica(t *testing.T) {
	var seen sharing
	rapid.Check(t, func(t *rapid.T) { inBubble(func() { rebuildFromSeveral(t, &seen) }) })
	t.Logf("%d cases, %d complete, %d refused, %d more since sources lack something; in %d more than one served, in %d one was lost; in %d none was left",
		seen.cases.Load(), seen.complete.Load(), seen.refused.Load(), seen.differ.Load(), seen.shared.Load(), seen.lost.Load(), seen.unusable.Load())
}

// inBubble plays something in virtual time. Rapid says by panics what became of a
// case, and hears them on its own goroutine only.
func inBubble(play func()) {
	var said any
	synctest.Test(new(testing.T), func(*testing.T) {
		defer func() { said = recover() }()
		play()
	})
	if said != nil {
		panic(said)
	}
}

// driftedReplica is a replica that was like another one.
type driftedReplica struct {
	*rapid.T
	life    *volumeHistory
	from    domain.Replica // the one that it was like
	host    *memory.Host
	builder *builder
}

func rebuildFromSeveral(t *rapid.T, seen *sharing) {
	flavour := rapid.SampledFrom([]memory.Flavour{memory.Fork, memory.Fork, memory.Fork, memory.Fork, memory.Upstream})
	fabric := memory.NewFabric()
	newHost := func(name string) *memory.Host {
		return fabric.NewHost(memory.Config{Name: name, ClusterSize: cluster, Seed: 1, Flavour: flavour.Draw(t, "flavour of "+name)})
	}
	n := rapid.IntRange(2, 3).Draw(t, "sources")
	hosts := []*memory.Host{newHost("disk-1")}
	grow := &volumeHistory{T: t, hasImage: rapid.Bool().Draw(t, "image"), size: rapid.IntRange(2, 6).Draw(t, "clusters")}
	grow.live(hosts[0])
	if grow.size > 12 {
		t.Skip("longer than what remains draws")
	}
	if grow.hurt { // the others are like one that was healthy
		require.NoError(t, hosts[0].Graft(context.Background(), grow.root(hosts[0], grow.builder.image), grow.builder.image))
	}
	first := list(t, hosts[0], sourceName)
	for i := 1; i < n; i++ {
		d := &driftedReplica{T: t, life: grow, from: first, host: newHost(fmt.Sprint("disk-", i+1))}
		d.draw(hosts[0])
		hosts = append(hosts, d.host)
	}
	if grow.hurt {
		require.NoError(t, hosts[0].Graft(context.Background(), grow.root(hosts[0], grow.builder.image), ""))
	}
	destination := newHost("disk-9")
	leave := &leftovers{T: t, life: grow, source: first}
	leave.draw(&fixture{t: t, source: hosts[0], destination: destination})

	image := domain.NoBase()
	if grow.hasImage {
		image = domain.ImageBase(imageName)
	}
	request := app.Request{
		Destination: app.Site{Host: destination, Replica: copyName},
		Base:        image,
		Options:     domain.Options{Full: rapid.IntRange(0, 4).Draw(t, "full") == 0, Overwrite: copyName},
		Parallel:    rapid.IntRange(1, 5).Draw(t, "parallel"),
		Proof:       rapid.Bool().Draw(t, "proof"),
		Views:       rapid.IntRange(0, 3).Draw(t, "views") == 0,
	}
	order := rapid.Permutation([]int{0, 1, 2}[:n]).Draw(t, "order")
	for _, i := range order {
		request.MoreSources = append(request.MoreSources, app.Site{Host: hosts[i], Replica: sourceName})
	}
	request.Source, request.MoreSources = request.MoreSources[0], request.MoreSources[1:]

	// Who can be used, and stays alive?
	safe, usable := 0, 0
	befores, foreign := make([]map[string]content, n), contents(t, destination)
	withData, fit := make([]bool, n), make([]bool, n)
	deaths := make([]*death, n)
	for i, host := range hosts {
		befores[i] = contents(t, host)
		store, err := host.List(context.Background())
		require.NoError(t, err)
		r, err := domain.NewReplica(store, sourceName)
		withData[i] = r.Head != nil && r.Head.Own.Count > 0
		if err == nil {
			_, err = domain.NewSnapshotTree(r)
		}
		if fit[i] = err == nil && !r.Hurt(image); fit[i] {
			usable++
		}
		if rapid.IntRange(0, 2).Draw(t, "dies") > 0 {
			if fit[i] {
				safe++
			}
			inject(host, on("copy").takes(time.Millisecond))
			continue
		}
		fault := rapid.SampledFrom([]memory.Fault{
			{Before: ports.ErrUnavailable}, {Before: errNoAnswer}, {Before: ports.ErrInvalid}, {Before: ports.ErrUnavailable, AfterClusters: 1},
		}).Draw(t, "death")
		deaths[i] = die(host, rapid.IntRange(1, 50).Draw(t, "at call"), fault)
	}

	report, err := app.New(nil).Rebuild(context.Background(), request)
	for _, host := range hosts {
		host.Inject(nil)
	}
	seen.cases.Add(1)
	for i, host := range hosts {
		requireHurtSourceUntouched(t, befores[i], contents(t, host), withData[i])
	}
	after := contents(t, destination)
	for name, was := range foreign {
		if leave.isForeign(name) {
			require.Equal(t, was, after[name], "foreign lvol %s", name)
		}
	}
	// What one source has, another one that has drifted may not: a leftover of that
	// name can be anybody's then.
	mayRefuse := func(err error) bool {
		return errors.Is(err, app.ErrRefused) && (leave.foreignClone || strings.Contains(err.Error(), "may belong to replica"))
	}
	alone := func() bool { // from one that is healthy
		if err == nil || !strings.Contains(err.Error(), "the sources differ") || usable == 0 {
			return false
		}
		seen.differ.Add(1)
		require.True(t, lackSomething(t, hosts), "they have the same: %v", err)
		at := slices.IndexFunc(order, func(i int) bool { return fit[i] })
		request.Source, request.MoreSources = app.Site{Host: hosts[order[at]], Replica: sourceName}, nil
		report, err = app.New(nil).Rebuild(context.Background(), request)
		return true
	}
	switch again := alone(); {
	case mayRefuse(err) && usable > 0:
		seen.refused.Add(1)
		return
	case again:
	case safe == 0 && err != nil:
		seen.unusable.Add(1)
		for name := range contents(t, destination) {
			if strings.Contains(name, "-rebuilding-") {
				require.Contains(t, foreign, name, "left in flight: %v", err)
			}
		}
		if usable == 0 {
			return
		}
		report, err = app.New(nil).Rebuild(context.Background(), request)
		alone()
		if mayRefuse(err) {
			seen.refused.Add(1)
			return
		}
	}
	require.NoError(t, err)
	require.Equal(t, app.OutcomeComplete, report.Outcome)
	require.Empty(t, report.Violations)
	seen.complete.Add(1)
	served, lost := 0, 0
	for at, s := range report.Sources {
		if len(s.Snapshots) > 0 {
			served++
		}
		if s.State == app.SourceLost {
			lost++
			require.NotNil(t, deaths[order[at]], "%s was lost, but has not died: %s", s.Lvstore, s.Reason)
		}
	}
	if served > 1 {
		seen.shared.Add(1)
	}
	if lost > 0 {
		seen.lost.Add(1)
	}
	primary := slices.IndexFunc(hosts, func(h *memory.Host) bool {
		store, err := h.List(context.Background())
		return err == nil && store.UUID == report.Source.Store.UUID
	})
	for i, host := range hosts {
		if len(request.MoreSources) > 0 && deaths[i] == nil {
			require.False(t, lacks(t, hosts[primary], host), "the source on disk-%d has what the primary lacks", i+1)
		}
	}
	requireEqualViews(t, &fixture{t: t, source: hosts[primary], destination: destination}, sourceName, copyName, grow.hasImage)
}

// lackSomething reports whether any of the replicas lacks what another one has.
func lackSomething(t *rapid.T, hosts []*memory.Host) bool {
	return slices.ContainsFunc(hosts, func(a *memory.Host) bool {
		return slices.ContainsFunc(hosts, func(b *memory.Host) bool { return lacks(t, a, b) })
	})
}

// lacks reports whether a replica lacks a snapshot that another one has and no
// rebuild took, a part of the size, or all data.
func lacks(t *rapid.T, host, than *memory.Host) bool {
	size, data := make([]uint64, 2), make([]uint64, 2)
	names := []map[string]bool{{}, {}}
	for i, h := range []*memory.Host{host, than} {
		store, err := h.List(context.Background())
		require.NoError(t, err)
		r, err := domain.NewReplica(store, sourceName)
		if err != nil {
			return false // its lvols cannot be told from another replica's
		}
		for _, view := range r.Views() {
			data[i] += view.Own.Count
			if r.Head == nil {
				size[i] = max(size[i], view.Size)
			}
		}
		if r.Head != nil {
			size[i] = r.Head.Size
		}
		for _, s := range r.Snapshots {
			if names[i][s.Name] = true; i == 1 && !names[0][s.Name] && !strings.HasPrefix(s.Name, "rebuild-") && (!store.Records || s.Lvol.Attributes.UserCreated) {
				return true
			}
		}
	}
	return size[0] > 0 && size[0] < size[1] || data[0] == 0 && data[1] > 0
}

// root is what hangs on the image, or should. Whose it is, is not asked.
func (l *volumeHistory) root(host *memory.Host, image string) string {
	for _, lvol := range contents(l, host) {
		if is := lvol.lvol; is.UUID != image && (is.Parent == image || is.Parent == "") {
			return is.UUID
		}
	}
	return ""
}

// draw makes the replica, and lets it drift.
func (d *driftedReplica) draw(from *memory.Host) {
	image := ""
	if d.life.hasImage {
		l, err := from.Look(context.Background(), d.life.builder.image)
		require.NoError(d, err)
		image = makeImage(d, d.host, int(l.Size/cluster))
	}
	d.builder = newBuilder(d, d.host, sourceName, image)
	reader := &leftovers{T: d.T}
	tree, err := domain.NewSnapshotTree(d.from)
	require.NoError(d, err)
	sizes := make(map[string]uint64)
	// Where a snapshot is not, what hung on it hangs on what it hung on.
	instead := map[string]string{}
	find := func(name string) string {
		for name != "" && d.builder.uuids[name] == "" {
			name = instead[name]
		}
		if name == "" {
			return image
		}
		return d.builder.uuids[name]
	}
	for _, s := range tree.Snapshots() {
		parent, isAncestor := tree.ParentOf(s)
		if !isAncestor {
			instead[s.Name] = parent.Name
		}
		own, attributes, clusters := reader.ownOf(from, s.Lvol), s.Lvol.Attributes, int(s.Lvol.Size/cluster)
		on := find(instead[s.Name])
		switch rapid.SampledFrom([]int{0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6}).Draw(d.T, "drift of "+s.Name) {
		case 1:
			for at := range own {
				own[at] ^= 0x55
			}
		case 2: // the same bytes elsewhere
			moved := make(map[int]byte, len(own))
			for at, b := range own {
				moved[(at+1)%clusters] = b
			}
			own = moved
		case 3: // merged
			own[rapid.IntRange(0, clusters-1).Draw(d.T, "merged")] = 0xEE
		case 4:
			attributes = minute(51)
		case 5:
			continue
		case 6:
			var others []string
			for name, size := range sizes {
				if size <= s.Lvol.Size {
					others = append(others, name)
				}
			}
			if slices.Sort(others); len(others) > 0 {
				on = d.builder.uuids[rapid.SampledFrom(others).Draw(d.T, "hangs on")]
			}
		}
		d.builder.snapshot(s.Name, on, clusters, own, attributes)
		sizes[s.Name] = s.Lvol.Size
	}
	if rapid.IntRange(0, 9).Draw(d.T, "no head") == 0 {
		return
	}
	below := ""
	if parent, ok := tree.HeadParent(); ok {
		below = parent.Name
	}
	head := d.builder.writable(sourceName, find(below), int(d.from.Head.Size/cluster))
	for at, b := range reader.ownOf(from, *d.from.Head) {
		d.builder.write(head, at, b)
	}
	if d.life.hasImage && rapid.IntRange(0, 9).Draw(d.T, "hurt") == 0 {
		require.NoError(d, d.host.Graft(context.Background(), d.life.root(d.host, image), ""))
	}
}
