package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/domain"
)

const (
	imageClusters  = 4
	volumeClusters = 8
)

// branches is the tree of Longhorn's own test; each snapshot writes clusters over the image
// and beyond its end.
var branches = []struct {
	name, parent string
	writes       map[int]uint64
}{
	{"snap11", "", map[int]uint64{0: 11, 6: 12}},
	{"snap12", "snap11", map[int]uint64{1: 13, 2: 14}},
	{"snap13", "snap12", map[int]uint64{2: 15}},
	{"snap21", "snap11", map[int]uint64{6: 16}},
	{"snap22", "snap21", map[int]uint64{5: 17}},
	{"snap31", "snap21", map[int]uint64{3: 18, 7: 19}},
}

// growSource makes the branching tree on an image that is smaller than the volume, and a
// head with data of its own.
func (p *place) growSource(t *testing.T, replica string) {
	t.Helper()
	p.growOn(t, replica, p.image)
}

// growOn is growSource on another base.
func (p *place) growOn(t *testing.T, replica, base string) {
	t.Helper()
	uuids := map[string]string{"": base}
	for i, b := range branches {
		uuids[b.name] = p.snapshot(t, replica, b.name, uuids[b.parent], volumeClusters, createdAt(i), b.writes)
	}
	head := p.head(t, replica, uuids["snap31"], volumeClusters)
	p.target.Write(t, head, noise(20), 4*clusterSize)
}

// The command rebuilds a tree on a real disk image: on an empty destination, then with
// nothing to do, then over damaged leftovers, whose lost image the same run restores.
func TestRebuildBranchingTree(t *testing.T) {
	onEach(t, within|between|mixed, func(t *testing.T, from, to *targettest.Target) {
		rebuildBranchingTree(t, newPlace(t, from, storeClusters), newPlace(t, to, storeClusters))
	})
}

func rebuildBranchingTree(t *testing.T, source, destination *place) {
	const from, to = "vol-1-r-0a1b2c3d", "vol-1-r-4e5f6a7b"
	image, files := makeDiskImage(t, imageClusters)
	source.importImage(t, image)
	destination.importImage(t, image)
	source.growSource(t, from)
	a, b := source.address(from), destination.address(to)
	proves := source.store(t).Proves && destination.store(t).Proves

	program.mustRebuild(t, a, b)
	requireRebuilt(t, source, from, destination, to)
	rebuilt := destination.replica(t, to)
	snap11, _ := rebuilt.Snapshot("snap11")
	require.Equal(t, image[clusterSize:], destination.view(t, snap11.Lvol)[clusterSize:imageClusters*clusterSize], "the image shows through the ancestor")
	require.Len(t, rebuilt.Snapshots, len(branches)+1, "the head's data became one system snapshot")

	r := program.mustRebuild(t, a, b)
	if proves {
		require.Zero(t, r.CopiedBytes, "nothing has changed")
	} else {
		require.Contains(t, r.Plan[0].Reason, "reports no checksums")
	}

	damage(t, destination, to)
	r = program.mustRebuild(t, a, b)
	requireRebuilt(t, source, from, destination, to)
	require.Equal(t, imageName, r.Destination.BackingImage)
	if proves {
		actions := r.actions()
		require.Equal(t, "graft", actions["snap11"], "the lost image is repaired without a copy")
		require.Equal(t, "keep", actions["snap12"])
		require.Equal(t, "copy", actions["snap13"], "forged: the same bytes elsewhere")
		require.Equal(t, "remove", actions["snap14"])
	}
	source.requireAsItWas(t, from)
	requireFiles(t, destination.view(t, destination.imageLvol(t)), files)
}

func (p *place) imageLvol(t *testing.T) domain.Lvol {
	t.Helper()
	l, err := p.host.Look(t.Context(), p.image)
	require.NoError(t, err)
	return l
}

// damage damages a replica as crashes and careless tools do: the ancestor loses its image,
// snap13 has other data, there are an extra snapshot and an lvol in flight, and the extra
// one is the parent of the head.
func damage(t *testing.T, p *place, replica string) {
	t.Helper()
	ctx := t.Context()
	r := p.replica(t, replica)
	require.NoError(t, p.host.Delete(ctx, r.Head.UUID))
	snap11, _ := r.Snapshot("snap11")
	snap12, _ := r.Snapshot("snap12")
	snap13, _ := r.Snapshot("snap13")
	require.NoError(t, p.host.Delete(ctx, snap13.Lvol.UUID))
	p.snapshot(t, replica, "snap13", snap12.Lvol.UUID, volumeClusters, snap13.Lvol.Attributes, map[int]uint64{4: 15}) // the same bytes elsewhere
	extra := p.snapshot(t, replica, "snap14", snap12.Lvol.UUID, volumeClusters, createdAt(9), map[int]uint64{5: 66})
	p.head(t, replica, extra, volumeClusters)
	_, err := p.host.Create(ctx, domain.InFlightLvolName(replica, "0badcafe"), volumeClusters*clusterSize)
	require.NoError(t, err)
	require.NoError(t, p.host.Graft(ctx, snap11.Lvol.UUID, ""))
}

// No image is given or recorded, and no lvol has one as its parent.
func TestRebuildRefusesUnknownImage(t *testing.T) {
	onEach(t, within, func(t *testing.T, from, to *targettest.Target) {
		source, destination := newPlace(t, from, 16), newPlace(t, to, 16)
		snap := source.snapshot(t, "vol-2-r-0a1b2c3d", "s1", "", 4, createdAt(0), map[int]uint64{0: 1})
		source.head(t, "vol-2-r-0a1b2c3d", snap, 4)
		a, b := source.address("vol-2-r-0a1b2c3d"), destination.address("vol-2-r-4e5f6a7b")

		r, status := program.rebuild(t, a, b)
		require.Equal(t, 1, status)
		require.Equal(t, "refused", r.Outcome)
		require.Contains(t, r.Error, "backing image")
		require.Empty(t, destination.store(t).Lvols)

		r = program.mustRebuild(t, a, b, "--no-image")
		require.Equal(t, "s1", r.Destination.Head.Parent)
	})
}
