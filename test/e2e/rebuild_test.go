package e2e

import (
	"bytes"
	"context"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"

	"github.com/rootgraft/rebuild/internal/adapters/spdk"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

const (
	clusterSize    = targettest.ClusterSize
	imageName      = "ext4"
	imageClusters  = 8
	volumeClusters = 16
	storeClusters  = 128
)

// place is an lvstore on a real target.
type place struct {
	target  *targettest.Target
	lvstore string
	host    *spdk.Host
	image   string // UUID; "": none
}

func newPlace(t *testing.T, target *targettest.Target) *place {
	t.Helper()
	lvstore := target.NewStore(t, storeClusters)
	host, err := spdk.Open(t.Context(), spdk.Config{Socket: target.Socket, Lvstore: lvstore, Logger: zaptest.NewLogger(t)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, host.Close()) })
	return &place{target: target, lvstore: lvstore, host: host}
}

func (p *place) store(t *testing.T) domain.Store {
	t.Helper()
	store, err := p.host.List(t.Context())
	require.NoError(t, err)
	return store
}

func (p *place) replica(t *testing.T, name string) domain.Replica {
	t.Helper()
	r, err := domain.NewReplica(p.store(t), name)
	require.NoError(t, err)
	return r
}

// importImage makes the backing image of a disk image's bytes.
func (p *place) importImage(t *testing.T, bytes []byte) {
	t.Helper()
	uuid, err := p.host.Create(t.Context(), domain.ImageInFlightLvolName("00000001"), uint64(len(bytes)))
	require.NoError(t, err)
	p.target.Write(t, uuid, bytes, 0)
	p.image, err = p.host.Seal(t.Context(), uuid, domain.ImageLvolName(imageName, p.store(t).UUID), ports.SealRecord{
		Image: &domain.ImageRecord{UUID: "e4f5a6b7", Checksum: "0123"},
	})
	require.NoError(t, err)
}

// snapshot makes a snapshot of a replica as a user does: a writable lvol on the
// parent, writes of whole clusters, frozen.
func (p *place) snapshot(t *testing.T, replica, name, parent string, clusters int, attributes domain.Attributes, writes map[int]uint64) string {
	t.Helper()
	uuid, err := p.host.Clone(t.Context(), parent, domain.InFlightLvolName(replica, "000000aa"), uint64(clusters)*clusterSize, "")
	require.NoError(t, err)
	for at, seed := range writes {
		p.target.Write(t, uuid, noise(seed), uint64(at)*clusterSize)
	}
	sealed, err := p.host.Seal(t.Context(), uuid, domain.SnapshotLvolName(replica, name), ports.SealRecord{Attributes: attributes})
	require.NoError(t, err)
	return sealed
}

func (p *place) head(t *testing.T, replica, parent string, clusters int) string {
	t.Helper()
	uuid, err := p.host.Clone(t.Context(), parent, replica, uint64(clusters)*clusterSize, "")
	require.NoError(t, err)
	return uuid
}

// noise is a cluster of bytes that are not zero.
func noise(seed uint64) []byte {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	p := make([]byte, clusterSize)
	_, _ = rand.NewChaCha8(key).Read(p) // never fails
	return p
}

func (p *place) view(t *testing.T, l domain.Lvol) []byte {
	t.Helper()
	view := make([]byte, l.Size)
	p.target.Read(t, l.UUID, view, 0)
	return view
}

func createdAt(minute int) domain.Attributes {
	return domain.Attributes{CreatedAt: time.Date(2026, 1, 1, 0, minute, 0, 0, time.UTC), UserCreated: true}
}

// branches is the tree of the field's own test; each snapshot writes clusters
// of its own, over the image and beyond its end.
var branches = []struct {
	name, parent string
	writes       map[int]uint64
}{
	{"snap11", "", map[int]uint64{0: 11, 12: 12}},
	{"snap12", "snap11", map[int]uint64{1: 13, 2: 14}},
	{"snap13", "snap12", map[int]uint64{2: 15}},
	{"snap21", "snap11", map[int]uint64{12: 16}},
	{"snap22", "snap21", map[int]uint64{9: 17}},
	{"snap31", "snap21", map[int]uint64{3: 18, 15: 19}},
}

// growSource makes the branching tree under an image that is smaller than the
// volume, and a head that was written to.
func (p *place) growSource(t *testing.T, replica string) {
	t.Helper()
	uuids := map[string]string{"": p.image}
	for i, b := range branches {
		uuids[b.name] = p.snapshot(t, replica, b.name, uuids[b.parent], volumeClusters, createdAt(i), b.writes)
	}
	head := p.head(t, replica, uuids["snap31"], volumeClusters)
	p.target.Write(t, head, noise(20), 5*clusterSize)
}

// requireRebuilt compares every view byte for byte, and the lineage.
func requireRebuilt(t *testing.T, source *place, from string, destination *place, to string) {
	t.Helper()
	s, d := source.replica(t, from), destination.replica(t, to)
	require.Len(t, d.Snapshots, len(s.Snapshots))
	require.Empty(t, d.InFlight, "left in flight")
	for i, want := range s.Snapshots {
		got := d.Snapshots[i]
		require.Equal(t, want.Name, got.Name)
		require.True(t, bytes.Equal(source.view(t, want.Lvol), destination.view(t, got.Lvol)), "the view of %s", want.Name)
		require.Equal(t, s.ParentOf(want.Lvol), d.ParentOf(got.Lvol), "the parent of %s", want.Name)
		if s.Store.Records && d.Store.Records {
			require.Equal(t, want.Lvol.Attributes, got.Lvol.Attributes, "the attributes of %s", want.Name)
		}
	}
	require.NotNil(t, d.Head)
	require.True(t, bytes.Equal(source.view(t, *s.Head), destination.view(t, *d.Head)), "the view of the head")
	tree, err := domain.NewSnapshotTree(d)
	require.NoError(t, err)
	ancestor, _ := tree.Ancestor()
	require.Equal(t, destination.image, ancestor.Lvol.Parent, "the ancestor's parent is the image")
}

// TestRebuildOfTheBranchingTree rebuilds a tree over a real disk image by the
// engine's own command: within one target, between two, for every target that
// there is, on a destination that has nothing, then nothing to do, then a
// damaged leftover.
func TestRebuildOfTheBranchingTree(t *testing.T) {
	program := buildEngine(t)
	for _, binary := range targettest.Binaries(t) {
		kind := filepath.Base(filepath.Dir(binary))
		t.Run(kind+", within one target", func(t *testing.T) {
			target := targettest.Start(t, binary, 0)
			rebuildBranchingTree(t, program, newPlace(t, target), newPlace(t, target))
		})
		t.Run(kind+", between two targets", func(t *testing.T) {
			rebuildBranchingTree(t, program, newPlace(t, targettest.Start(t, binary, 0)), newPlace(t, targettest.Start(t, binary, 1)))
		})
	}
}

func rebuildBranchingTree(t *testing.T, program engine, source, destination *place) {
	const from, to = "vol-1-r-1", "vol-1-r-2"
	image, files := makeDiskImage(t, imageClusters)
	source.importImage(t, image)
	destination.importImage(t, image)
	source.growSource(t, from)
	a, b := address(source.target.Socket, source.lvstore, from), address(destination.target.Socket, destination.lvstore, to)
	proves := source.store(t).Proves

	r, status := program.rebuild(t, a, b)
	require.Zero(t, status, "%+v", r)
	require.Equal(t, "complete", r.Outcome)
	require.Empty(t, r.Violations)
	requireRebuilt(t, source, from, destination, to)
	rebuilt := destination.replica(t, to)
	snap11, _ := rebuilt.Snapshot("snap11")
	require.Equal(t, image[clusterSize:], destination.view(t, snap11.Lvol)[clusterSize:imageClusters*clusterSize], "the image shows through the ancestor")
	require.Len(t, rebuilt.Snapshots, len(branches)+1, "the head's data became one system snapshot")

	r, status = program.rebuild(t, a, b)
	require.Zero(t, status, "%+v", r)
	requireRebuilt(t, source, from, destination, to)
	if proves {
		require.Zero(t, r.CopiedBytes, "nothing has changed")
	} else {
		require.Contains(t, r.Plan[0].Reason, "tells no checksums")
	}

	damage(t, destination, to)
	r, status = program.rebuild(t, a, b)
	require.Zero(t, status, "%+v", r)
	requireRebuilt(t, source, from, destination, to)
	require.Equal(t, imageName, r.Destination.BackingImage)
	requireFiles(t, destination.view(t, destination.imageLvol(t)), files)
}

func (p *place) imageLvol(t *testing.T) domain.Lvol {
	t.Helper()
	l, err := p.host.Look(t.Context(), p.image)
	require.NoError(t, err)
	return l
}

// damage does to a replica what crashes and careless tools do: the ancestor
// loses its image, snap13 is forged, an extra snapshot and an lvol in flight
// are there, and the head hangs on the extra one.
func damage(t *testing.T, p *place, replica string) {
	t.Helper()
	ctx := context.Background()
	r := p.replica(t, replica)
	require.NoError(t, p.host.Delete(ctx, r.Head.UUID))
	snap11, _ := r.Snapshot("snap11")
	snap12, _ := r.Snapshot("snap12")
	snap13, _ := r.Snapshot("snap13")
	require.NoError(t, p.host.Delete(ctx, snap13.Lvol.UUID))
	p.snapshot(t, replica, "snap13", snap12.Lvol.UUID, volumeClusters, snap13.Lvol.Attributes, map[int]uint64{4: 15}) // the same bytes elsewhere
	extra := p.snapshot(t, replica, "snap14", snap12.Lvol.UUID, volumeClusters, createdAt(9), map[int]uint64{6: 66})
	p.head(t, replica, extra, volumeClusters)
	_, err := p.host.Create(ctx, domain.InFlightLvolName(replica, "0badcafe"), volumeClusters*clusterSize)
	require.NoError(t, err)
	require.NoError(t, p.host.Graft(ctx, snap11.Lvol.UUID, ""))
}

// TestRebuildRefusesWhatItCannotKnow: no image is said, recorded or hung on.
func TestRebuildRefusesWhatItCannotKnow(t *testing.T) {
	program := buildEngine(t)
	target := targettest.Start(t, targettest.Binaries(t)[0], 0)
	source, destination := newPlace(t, target), newPlace(t, target)
	snap := source.snapshot(t, "vol-2-r-1", "s1", "", 4, createdAt(0), map[int]uint64{0: 1})
	source.head(t, "vol-2-r-1", snap, 4)
	a := address(source.target.Socket, source.lvstore, "vol-2-r-1")
	b := address(destination.target.Socket, destination.lvstore, "vol-2-r-2")

	r, status := program.rebuild(t, a, b)
	require.Equal(t, 1, status)
	require.Equal(t, "refused", r.Outcome)
	require.Contains(t, r.Error, "backing image")
	require.Empty(t, destination.store(t).Lvols)

	r, status = program.rebuild(t, a, b, "--no-image")
	require.Zero(t, status, "%+v", r)
	require.Equal(t, "s1", r.Destination.Head.Parent)
}
