package app_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

const (
	cluster    = 4 << 10
	imageName  = "base"
	sourceName = "vol-1-r-0a1b2c3d"
	copyName   = "vol-1-r-4e5f6a7b"
)

// tester is a *testing.T or a *rapid.T.
type tester interface {
	require.TestingT
	Helper()
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// fixture is two hosts of one fabric, for replicas of one volume.
type fixture struct {
	t                   tester
	source, destination *memory.Host
}

func newFixture(t tester, source, destination memory.Config) *fixture {
	fabric := memory.NewFabric()
	source.Name, destination.Name = "disk-1", "disk-2"
	for _, c := range []*memory.Config{&source, &destination} {
		c.ClusterSize, c.Seed = cluster, 1
	}
	return &fixture{t: t, source: fabric.NewHost(source), destination: fabric.NewHost(destination)}
}

// builder makes a replica on a host by the host's own verbs.
type builder struct {
	t       tester
	host    *memory.Host
	replica string
	image   string // UUID; "": none
	made    int
	uuids   map[string]string // of snapshots by name
}

func newBuilder(t tester, host *memory.Host, replica, image string) *builder {
	return &builder{t: t, host: host, replica: replica, image: image, uuids: make(map[string]string)}
}

// makeImage makes the backing image, the same on every host.
func makeImage(t tester, host *memory.Host, clusters int) string {
	t.Helper()
	ctx := context.Background()
	store, err := host.List(ctx)
	require.NoError(t, err)
	uuid, err := host.Create(ctx, domain.ImageInFlightLvolName("00000001"), uint64(clusters)*cluster)
	require.NoError(t, err)
	for c := range clusters {
		require.NoError(t, host.WriteAt(uuid, filled(byte(200+c)), uint64(c)*cluster))
	}
	image, err := host.Seal(ctx, uuid, domain.ImageLvolName(imageName, store.UUID), ports.SealRecord{Image: &domain.ImageRecord{UUID: "8f5fd5be", Checksum: "sha512"}})
	require.NoError(t, err)
	return image
}

func filled(b byte) []byte {
	p := make([]byte, cluster)
	for i := range p {
		p[i] = b
	}
	return p
}

func minute(n int) domain.Attributes {
	return domain.Attributes{CreatedAt: time.Date(2026, 1, 1, 0, n, 0, 0, time.UTC), UserCreated: true}
}

// writable makes an lvol of that name on a snapshot ("": nothing).
func (p *builder) writable(name, parent string, clusters int) string {
	p.t.Helper()
	uuid, err := p.host.Clone(context.Background(), parent, name, uint64(clusters)*cluster, "")
	require.NoError(p.t, err)
	return uuid
}

func (p *builder) write(uuid string, at int, b byte) {
	p.t.Helper()
	require.NoError(p.t, p.host.WriteAt(uuid, filled(b), uint64(at)*cluster))
}

// snapshot makes a snapshot with these own clusters, position and content.
func (p *builder) snapshot(name, parent string, clusters int, own map[int]byte, attributes domain.Attributes) string {
	p.t.Helper()
	p.made++
	uuid := p.writable(domain.InFlightLvolName(p.replica, fmt.Sprintf("%08x", p.made)), "", clusters)
	for at, b := range own {
		p.write(uuid, at, b)
	}
	if parent != "" {
		require.NoError(p.t, p.host.Graft(context.Background(), uuid, parent))
	}
	sealed, err := p.host.Seal(context.Background(), uuid, domain.SnapshotLvolName(p.replica, name), ports.SealRecord{Attributes: attributes})
	require.NoError(p.t, err)
	p.uuids[name] = sealed
	return sealed
}

// tree is a drawn tree: snapshots by name, parents first.
type branch struct{ name, parent string }

// fieldTree is the branching tree of the field's own test.
var fieldTree = []branch{{"snap11", ""}, {"snap12", "snap11"}, {"snap13", "snap12"}, {"snap21", "snap11"}, {"snap22", "snap21"}, {"snap31", "snap21"}}

// growTree makes the branches, each with one cluster of its own, and a head on
// the last one.
func (p *builder) growTree(branches []branch, clusters int, seed byte) {
	p.t.Helper()
	for i, b := range branches {
		parent := p.image
		if b.parent != "" {
			parent = p.uuids[b.parent]
		}
		p.snapshot(b.name, parent, clusters, map[int]byte{i % clusters: seed + byte(i)}, minute(i))
	}
	p.writable(p.replica, p.uuids[branches[len(branches)-1].name], clusters)
}

// list is the replica as its host lists it.
func list(t tester, host *memory.Host, replica string) domain.Replica {
	t.Helper()
	store, err := host.List(context.Background())
	require.NoError(t, err)
	r, err := domain.NewReplica(store, replica)
	require.NoError(t, err)
	return r
}

func sha(t tester, host *memory.Host, uuid string) string {
	t.Helper()
	sum, err := host.ViewSHA256(uuid)
	require.NoError(t, err)
	return sum
}

// requireEqualViews compares two replicas byte for byte, with what is recorded of them,
// and looks at rule 1 without asking the domain.
func requireEqualViews(t tester, b *fixture, source, destination string, image bool) {
	t.Helper()
	s, d := list(t, b.source, source), list(t, b.destination, destination)
	require.Len(t, d.Snapshots, len(s.Snapshots))
	require.Empty(t, d.InFlight, "left in flight")
	for i, want := range s.Snapshots {
		got := d.Snapshots[i]
		require.Equal(t, want.Name, got.Name)
		require.Equal(t, sha(t, b.source, want.Lvol.UUID), sha(t, b.destination, got.Lvol.UUID), "the view of %s", want.Name)
		require.Equal(t, want.Lvol.Size, got.Lvol.Size, "the size of %s", want.Name)
		require.Equal(t, want.Lvol.Own.Count, got.Lvol.Own.Count, "the own clusters of %s", want.Name)
		if s.Store.Records && d.Store.Records {
			require.Equal(t, want.Lvol.Attributes, got.Lvol.Attributes, "what is recorded of %s", want.Name)
		}
	}
	require.NotNil(t, d.Head)
	require.Equal(t, s.Head.Size, d.Head.Size, "the head's size")
	if d.Store.Records {
		record := domain.RecordNoImage
		if image {
			record = imageName
		}
		require.Equal(t, record, d.Head.Record, "what is recorded of the head")
	}
	require.Equal(t, sha(t, b.source, s.Head.UUID), sha(t, b.destination, d.Head.UUID), "the view of the head")
	names := make(map[string]string)
	for _, l := range d.Store.Lvols {
		names[l.UUID] = l.Name
	}
	tree, err := domain.NewSnapshotTree(s)
	require.NoError(t, err)
	oldest := *d.Head
	if ancestor, ok := tree.Ancestor(); ok {
		copied, _ := d.Snapshot(ancestor.Name)
		oldest = copied.Lvol
	}
	if image {
		require.Equal(t, "bi-base-disk-"+d.Store.UUID, names[oldest.Parent], "the ancestor's parent")
	} else {
		require.Empty(t, oldest.Parent, "the ancestor's parent")
	}
}

var _ tester = (*testing.T)(nil)
