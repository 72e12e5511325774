package app_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
)

// tally says how much a property run has seen.
type tally struct{ cases, refused, kept, grafted, copied, system, clones, entryPoints atomic.Int64 }

func (c *tally) count(plan domain.Plan) {
	for _, s := range plan.Steps {
		switch s.Action {
		case domain.ActionKeep:
			c.kept.Add(1)
		case domain.ActionGraft:
			c.grafted.Add(1)
		case domain.ActionCopy:
			c.copied.Add(1)
		case domain.ActionCreateEntryPoint:
			c.entryPoints.Add(1)
		}
	}
}

// TestAnyLeftoverOfAnyTreeIsRebuilt draws a volume's life on the source, what
// is left on the destination, flavours and options; then everything that a
// rebuild promises must hold, byte for byte.
func TestAnyLeftoverOfAnyTreeIsRebuilt(t *testing.T) {
	var seen tally
	rapid.Check(t, func(t *rapid.T) { rebuildAnything(t, &seen) })
	t.Logf("%d cases, %d of linked clones, %d of them refused; %d entry points made, %d snapshots kept, %d grafted, %d copied; %d system snapshots",
		seen.cases.Load(), seen.clones.Load(), seen.refused.Load(), seen.entryPoints.Load(), seen.kept.Load(), seen.grafted.Load(), seen.copied.Load(), seen.system.Load())
}

func rebuildAnything(t *rapid.T, seen *tally) {
	ctx := context.Background()
	flavour := rapid.SampledFrom([]memory.Flavour{memory.Fork, memory.Fork, memory.Fork, memory.Upstream})
	b := newFixture(t, memory.Config{Flavour: flavour.Draw(t, "source flavour")}, memory.Config{Flavour: flavour.Draw(t, "destination flavour")})
	grow := &volumeHistory{T: t, hasImage: rapid.Bool().Draw(t, "image"), isClone: rapid.Bool().Draw(t, "linked clone"), size: rapid.IntRange(2, 6).Draw(t, "clusters")}
	grow.live(b.source)
	leave := &leftovers{T: t, life: grow, source: list(t, b.source, sourceName)}
	leave.draw(b)

	request := app.Request{
		Source: app.Site{Host: b.source, Replica: sourceName}, Destination: app.Site{Host: b.destination, Replica: copyName},
		Base:     grow.base(),
		Options:  domain.Options{Full: rapid.IntRange(0, 4).Draw(t, "full") == 0, AcceptHurtSource: grow.hurt},
		Parallel: rapid.IntRange(1, 5).Draw(t, "parallel"),
		Proof:    rapid.Bool().Draw(t, "proof"),
	}
	before := contents(t, b.source)
	foreign := contents(t, b.destination)
	headHadData := leave.source.Head.Own.Count > 0
	shrinks := foreign[copyName].lvol.Size > leave.source.Head.Size
	if rapid.IntRange(0, 3).Draw(t, "overwrite") > 0 {
		request.Options.Overwrite, shrinks = copyName, false
	}
	seen.cases.Add(1)
	if grow.isClone {
		seen.clones.Add(1)
	}
	report, err := app.New(nil).Rebuild(ctx, request)
	if errors.Is(err, app.ErrRefused) {
		require.True(t, leave.foreignClone || leave.wrongBase || shrinks, "refused without a cause: %v", err)
		require.Equal(t, app.OutcomeRefused, report.Outcome)
		require.Equal(t, foreign, contents(t, b.destination), "refused, and yet changed")
		require.Equal(t, before, contents(t, b.source), "refused, and yet changed")
		seen.refused.Add(1)
		return
	}
	require.False(t, leave.wrongBase, "the base is not there, or another one")
	require.False(t, shrinks, "the head has shrunk, and nobody said that it may")
	require.NoError(t, err)
	require.Equal(t, app.OutcomeComplete, report.Outcome)
	require.Empty(t, report.Violations)
	seen.count(report.Plan)

	if grow.hurt {
		// The source's views lie; what must come out is its own clusters over the
		// image. Curing the source shows the same.
		requireHurtSourceUntouched(t, before, contents(t, b.source), headHadData)
		for _, s := range list(t, b.source, sourceName).Snapshots {
			if s.Lvol.Parent == "" {
				require.NoError(t, b.source.Graft(ctx, s.Lvol.UUID, grow.builder.image))
			}
		}
		if s := list(t, b.source, sourceName); len(s.Snapshots) == 0 {
			require.NoError(t, b.source.Graft(ctx, s.Head.UUID, grow.builder.image))
		}
	} else {
		requireHurtSourceUntouched(t, before, contents(t, b.source), headHadData)
	}
	requireEqualReplicas(t, b, sourceName, copyName, grow.base())
	if headHadData {
		seen.system.Add(1)
		now := list(t, b.source, sourceName)
		require.Len(t, now.Snapshots, len(leave.source.Snapshots)+1, "one system snapshot")
		system, _ := now.ParentOf(*now.Head).Snapshot()
		require.Regexp(t, "^rebuild-[0-9a-f]{8}$", system)
		require.False(t, mustSnapshot(t, now, system).Lvol.Attributes.UserCreated)
	}
	after := contents(t, b.destination)
	for name, was := range foreign {
		if leave.isForeign(name) {
			require.Equal(t, was, after[name], "foreign lvol %s", name)
		}
	}
	requireNothingToDo(t, request, b)
}

// requireNothingToDo: planned again, nothing is copied where hosts can prove.
func requireNothingToDo(t tester, request app.Request, b *fixture) {
	for _, host := range []*memory.Host{b.source, b.destination} {
		store, err := host.List(context.Background())
		require.NoError(t, err)
		if !store.Proves {
			return
		}
	}
	request.Options.Full = false
	plan, err := app.New(nil).Plan(context.Background(), request)
	require.NoError(t, err)
	require.Empty(t, plan.Operations, "there is still something to do")
}

// requireHurtSourceUntouched: but for a system snapshot, into which the head's
// clusters have moved, the source is as it was.
func requireHurtSourceUntouched(t tester, before, after map[string]content, systemSnapshot bool) {
	for name, was := range before {
		is := after[name]
		if name == sourceName && systemSnapshot {
			require.Equal(t, was.sha, is.sha, "the head's view")
			continue
		}
		require.Equal(t, was, is, "lvol %s of the source", name)
	}
}

// content is all that can be seen of an lvol.
type content struct {
	lvol domain.Lvol
	sha  string
}

func contents(t tester, host *memory.Host) map[string]content {
	store, err := host.List(context.Background())
	require.NoError(t, err)
	all := make(map[string]content)
	for _, l := range store.Lvols {
		all[l.Name] = content{l, sha(t, host, l.UUID)}
	}
	return all
}

// volumeHistory is what a user has done to the volume whose replica is the source.
type volumeHistory struct {
	*rapid.T
	builder  *builder
	hasImage bool // the volume or, of a linked clone, its source volume
	isClone  bool
	nine     cloneBase
	hurt     bool
	size     int // clusters of the head
	head     string
	names    []string // snapshots
	sizes    map[string]int
}

func (l *volumeHistory) live(host *memory.Host) {
	image := ""
	switch {
	case l.isClone:
		l.nine = drawCloneBase(l)
		image = makeEntryPoint(l.nine.build(l, host, nineThere, l.nine.tree), "daily")
	case l.hasImage:
		image = makeImage(l, host, l.IntRange(1, l.size, "image clusters"))
	}
	l.builder = newBuilder(l, host, sourceName, image)
	l.sizes = make(map[string]int)
	l.head = l.builder.writable(sourceName, image, l.size)
	for range rapid.IntRange(0, 24).Draw(l.T, "deeds") {
		switch rapid.IntRange(0, 6).Draw(l.T, "deed") {
		case 0, 1:
			l.builder.write(l.head, l.IntRange(0, l.size-1, "at"), rapid.Byte().Draw(l.T, "byte"))
		case 2, 3:
			l.snapshot(host)
		case 4:
			l.revert(host)
		case 5:
			l.size++
			require.NoError(l, host.Resize(l.head, uint64(l.size)*cluster))
		case 6:
			l.deleteMerging(host)
		}
	}
	if l.base().Any() && rapid.IntRange(0, 5).Draw(l.T, "hurt") == 0 {
		l.hurt = true
		r := list(l, host, sourceName)
		hurt := r.Head.UUID
		for _, s := range r.Snapshots {
			if s.Lvol.Parent == image {
				hurt = s.Lvol.UUID
			}
		}
		require.NoError(l, host.Graft(context.Background(), hurt, ""))
	}
}

func (l *volumeHistory) base() domain.Base {
	switch {
	case l.isClone:
		return domain.CloneBase("vol-9", "daily")
	case l.hasImage:
		return domain.ImageBase(imageName)
	default:
		return domain.NoBase()
	}
}

// IntRange draws a number.
func (l *volumeHistory) IntRange(from, to int, what string) int {
	return rapid.IntRange(from, to).Draw(l.T, what)
}

func (l *volumeHistory) snapshot(host *memory.Host) {
	name := fmt.Sprintf("%s%d", rapid.SampledFrom([]string{"s", "a-snap-s"}).Draw(l.T, "prefix"), len(l.sizes))
	uuid, err := host.Snapshot(context.Background(), l.head, domain.SnapshotLvolName(sourceName, name), minute(len(l.sizes)))
	require.NoError(l, err)
	l.builder.uuids[name] = uuid
	l.names = append(l.names, name)
	l.sizes[name] = l.size
}

func (l *volumeHistory) revert(host *memory.Host) {
	if len(l.names) == 0 {
		return
	}
	to := rapid.SampledFrom(l.names).Draw(l.T, "revert to")
	require.NoError(l, host.Delete(context.Background(), l.head))
	l.size = max(l.size, l.sizes[to])
	l.head = l.builder.writable(sourceName, l.builder.uuids[to], l.size)
}

// deleteMerging deletes a snapshot as a user does: what hangs on it takes over
// its clusters.
func (l *volumeHistory) deleteMerging(host *memory.Host) {
	if len(l.names) == 0 {
		return
	}
	i := l.IntRange(0, len(l.names)-1, "delete")
	if host.DeleteMerging(l.builder.uuids[l.names[i]]) == nil {
		l.names = append(l.names[:i:i], l.names[i+1:]...)
	}
}

// leftovers is what is left of the destination's replica.
type leftovers struct {
	*rapid.T
	life         *volumeHistory
	source       domain.Replica
	builder      *builder
	foreignClone bool
	wrongBase    bool // of a linked clone: it must be refused
	foreign      map[string]bool
}

func (r *leftovers) isForeign(name string) bool { return r.foreign[name] }

func (r *leftovers) draw(b *fixture) {
	image := ""
	r.foreign = make(map[string]bool)
	var below []string
	if r.life.isClone {
		image, below = r.drawCloneBase(b)
	} else if r.life.hasImage && rapid.IntRange(0, 3).Draw(r.T, "image is there") > 0 {
		store, err := b.source.Look(context.Background(), r.life.builder.image)
		require.NoError(r, err)
		image = makeImage(r, b.destination, int(store.Size/cluster))
		r.foreign[r.name(b, image)] = true
	}
	r.builder = newBuilder(r, b.destination, copyName, image)
	other := newBuilder(r, b.destination, "vol-10-r-4e5f6a7b", image)
	other.snapshot("s0", image, 8, map[int]byte{0: 77}, minute(0))
	other.writable("vol-10-r-4e5f6a7b", other.uuids["s0"], 8)
	r.foreign["vol-10-r-4e5f6a7b"], r.foreign["vol-10-r-4e5f6a7b-snap-s0"] = true, true

	parents := append([]string{"", image, other.uuids["s0"]}, below...)
	parent := func() string { return rapid.SampledFrom(parents).Draw(r.T, "parent") }
	grown := func(uuid string) { parents = append(parents, uuid) }
	if rapid.IntRange(0, 2).Draw(r.T, "extra") == 0 {
		grown(r.builder.snapshot("extra", parent(), r.life.size, map[int]byte{1: 99}, minute(50)))
	}
	if rapid.IntRange(0, 2).Draw(r.T, "spacer") == 0 {
		spacer := r.builder.writable(domain.InFlightLvolName(copyName, "0000aaaa"), parent(), 12)
		frozen, err := b.destination.Snapshot(context.Background(), spacer, domain.InFlightLvolName(copyName, "0000aaab"), domain.Attributes{})
		require.NoError(r, err)
		require.NoError(r, b.destination.Delete(context.Background(), spacer))
		grown(frozen)
	}
	for _, s := range r.order() {
		if uuid := r.leave(b, s, parent); uuid != "" {
			grown(uuid)
		}
	}
	r.drawWritable(b, parent)
}

// order is the source's snapshots, parents first or in any order.
func (r *leftovers) order() []domain.Snapshot {
	tree, err := domain.NewSnapshotTree(r.source)
	require.NoError(r, err)
	if rapid.Bool().Draw(r.T, "parents first") {
		return tree.Snapshots()
	}
	return rapid.Permutation(tree.Snapshots()).Draw(r.T, "order")
}

// leave leaves a snapshot's copy, identical or spoiled, where it belongs or not.
func (r *leftovers) leave(b *fixture, s domain.Snapshot, parent func() string) string {
	letter := rapid.SampledFrom([]int{0, 1, 1, 1, 2, 3, 4, 5, 6, 7}).Draw(r.T, "letter")
	if letter == 0 {
		return ""
	}
	own := r.ownOf(b.source, s.Lvol)
	clusters, attributes := int(s.Lvol.Size/cluster), s.Lvol.Attributes
	on := r.builder.image
	if up, ok := r.source.ParentOf(s.Lvol).Snapshot(); ok {
		on = r.builder.uuids[up] // "" if it is not there: loose
	}
	switch letter {
	case 1, 2: // identical
	case 3:
		on = ""
	case 4:
		on = parent()
	case 5:
		for at := range own {
			own[at] ^= 0x55
		}
		on = parent()
	case 6: // the same bytes elsewhere: SPDK's checksum is the same
		moved := make(map[int]byte, len(own))
		for at, b := range own {
			moved[(at+1)%clusters] = b
		}
		own = moved
	case 7:
		if rapid.Bool().Draw(r.T, "attributes") {
			attributes = minute(51)
		} else {
			own[rapid.IntRange(0, clusters-1).Draw(r.T, "merged")] = 0xEE
		}
	}
	return r.builder.snapshot(s.Name, on, clusters, own, attributes)
}

// ownOf reads own clusters; all tests fill a cluster with one byte.
func (r *leftovers) ownOf(host *memory.Host, l domain.Lvol) map[int]byte {
	positions, err := host.OwnClusters(l.UUID)
	require.NoError(r, err)
	own := make(map[int]byte)
	for _, at := range positions {
		p := make([]byte, 1)
		require.NoError(r, host.ReadAt(l.UUID, p, at*cluster))
		own[int(at)] = p[0]
	}
	return own
}

func (r *leftovers) drawWritable(b *fixture, parent func() string) {
	if rapid.IntRange(0, 2).Draw(r.T, "in flight") == 0 {
		uuid := r.builder.writable(domain.InFlightLvolName(copyName, "0000bbbb"), parent(), 12)
		r.builder.write(uuid, 0, 1)
	}
	if rapid.IntRange(0, 3).Draw(r.T, "Longhorn's in flight") == 0 {
		r.builder.writable(copyName+"-rebuilding", parent(), 12)
	}
	if rapid.Bool().Draw(r.T, "head") {
		head := r.builder.writable(copyName, parent(), 12)
		if rapid.Bool().Draw(r.T, "written") {
			r.builder.write(head, 0, 9)
		}
	}
	if rapid.IntRange(0, 9).Draw(r.T, "foreign clone") == 0 {
		clone := r.builder.writable(copyName+"-clone-ep-1", parent(), 12)
		r.builder.write(clone, 1, 8)
		r.foreignClone = true
		r.foreign[copyName+"-clone-ep-1"] = true
	}
}

func (r *leftovers) name(b *fixture, uuid string) string {
	l, err := b.destination.Look(context.Background(), uuid)
	require.NoError(r, err)
	return l.Name
}
