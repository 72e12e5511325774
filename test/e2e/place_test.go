package e2e

import (
	"bytes"
	"math/rand/v2"
	"sync"
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
	clusterSize   = targettest.ClusterSize
	imageName     = "base"
	imageUUID     = "e4f5a6b7"
	storeClusters = 320
)

// place is an lvstore on a real target.
type place struct {
	target  *targettest.Target
	lvstore string
	host    *spdk.Host
	image   string    // UUID; "": none
	views   *sync.Map // of snapshots that were read already, by UUID
}

func newPlace(t *testing.T, target *targettest.Target, clusters int) *place {
	t.Helper()
	return openPlace(t, target, target.NewStore(t, clusters))
}

func openPlace(t *testing.T, target *targettest.Target, lvstore string) *place {
	t.Helper()
	host, err := spdk.Open(t.Context(), spdk.Config{Socket: target.Socket, Lvstore: lvstore, Logger: zaptest.NewLogger(t)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, host.Close()) })
	return &place{target: target, lvstore: lvstore, host: host, views: new(sync.Map)}
}

func (p *place) store(t *testing.T) domain.Listing {
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
		Image: &domain.ImageRecord{UUID: imageUUID, Checksum: "0123"},
	})
	require.NoError(t, err)
}

// snapshot makes a snapshot of a replica: a writable clone of the parent, writes of whole
// clusters, and a snapshot of that.
func (p *place) snapshot(t *testing.T, replica, name, parent string, clusters int, attributes domain.Attributes, writes map[int]uint64) string {
	t.Helper()
	inFlight := domain.InFlightLvolName(replica, "000000aa")
	var uuid string
	var err error
	if parent == "" {
		uuid, err = p.host.Create(t.Context(), inFlight, uint64(clusters)*clusterSize)
	} else {
		uuid, err = p.host.Clone(t.Context(), parent, inFlight, uint64(clusters)*clusterSize, "")
	}
	require.NoError(t, err)
	for at, seed := range writes {
		p.target.Write(t, uuid, noise(seed), uint64(at)*clusterSize)
	}
	return p.seal(t, uuid, domain.SnapshotLvolName(replica, name), attributes)
}

func (p *place) seal(t *testing.T, uuid, name string, attributes domain.Attributes) string {
	t.Helper()
	sealed, err := p.host.Seal(t.Context(), uuid, name, ports.SealRecord{Attributes: attributes})
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
func noise(seed uint64) []byte { return noises(seed, 1) }

func noises(seed uint64, clusters int) []byte {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	p := make([]byte, clusters*clusterSize)
	_, _ = rand.NewChaCha8(key).Read(p) // never fails
	return p
}

// view reads the data of an lvol.
func (p *place) view(t *testing.T, l domain.Lvol) []byte {
	t.Helper()
	view := make([]byte, l.Size)
	p.target.Read(t, l.UUID, view, 0)
	return view
}

// sourceView is view for a source's snapshot, whose data must not change: requireAsItWas
// finds a rebuild that wrote to its source.
func (p *place) sourceView(t *testing.T, l domain.Lvol) []byte {
	t.Helper()
	view, known := p.views.Load(l.UUID)
	if !known {
		view = p.view(t, l)
		p.views.Store(l.UUID, view)
	}
	return view.([]byte)
}

// requireAsItWas reads a source again.
func (p *place) requireAsItWas(t *testing.T, replica string) {
	t.Helper()
	r := p.replica(t, replica)
	for _, s := range r.Snapshots {
		if known, ok := p.views.Load(s.Lvol.UUID); ok {
			require.True(t, bytes.Equal(known.([]byte), p.view(t, s.Lvol)), "the source's %s shows other bytes than before", s.Name)
		}
	}
}

func createdAt(minute int) domain.Attributes {
	return domain.Attributes{CreatedAt: time.Date(2026, 1, 1, 0, minute, 0, 0, time.UTC), UserCreated: minute%2 == 0}
}

// requireRebuilt compares the data of every lvol, and parents, timestamps and lineage.
func requireRebuilt(t *testing.T, source *place, from string, destination *place, to string) {
	t.Helper()
	requireEqual(t, source, from, destination, to)
	require.Equal(t, destination.image, destination.ancestor(t, to).Parent, "the ancestor's parent is the image")
}

// requireEqual is requireRebuilt without the ancestor's parent.
func requireEqual(t *testing.T, source *place, from string, destination *place, to string) {
	t.Helper()
	s, d := source.replica(t, from), destination.replica(t, to)
	require.Empty(t, d.InFlight, "left in flight")
	require.Len(t, d.Snapshots, len(s.Snapshots))
	for i, want := range s.Snapshots {
		got := d.Snapshots[i]
		require.Equal(t, want.Name, got.Name)
		require.True(t, bytes.Equal(source.sourceView(t, want.Lvol), destination.view(t, got.Lvol)), "the view of %s", want.Name)
		require.Equal(t, s.ParentOf(want.Lvol), d.ParentOf(got.Lvol), "the parent of %s", want.Name)
		if s.Store.Records && d.Store.Records {
			require.Equal(t, want.Lvol.Attributes, got.Lvol.Attributes, "the attributes of %s", want.Name)
		}
	}
	require.NotNil(t, d.Head)
	require.Equal(t, s.ParentOf(*s.Head), d.ParentOf(*d.Head), "the parent of the head")
	require.True(t, bytes.Equal(source.view(t, *s.Head), destination.view(t, *d.Head)), "the view of the head")
}

// ancestor is the oldest snapshot of a replica.
func (p *place) ancestor(t *testing.T, replica string) domain.Lvol {
	t.Helper()
	tree, err := domain.NewSnapshotTree(p.replica(t, replica))
	require.NoError(t, err)
	ancestor, ok := tree.Ancestor()
	require.True(t, ok)
	return ancestor.Lvol
}
