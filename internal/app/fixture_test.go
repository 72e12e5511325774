package app_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
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

// request is the rebuild of copyName from sourceName.
func (b *fixture) request() app.Request {
	return app.Request{Source: app.Site{Host: b.source, Replica: sourceName}, Destination: app.Site{Host: b.destination, Replica: copyName}}
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
	base := domain.NoBase()
	if image {
		base = domain.ImageBase(imageName)
	}
	requireEqualReplicas(t, b, source, destination, base)
}

// requireEqualReplicas compares two replicas of a volume with that base, byte for byte.
func requireEqualReplicas(t tester, b *fixture, source, destination string, base domain.Base) {
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
		require.Equal(t, base.Record(), d.Head.Record, "what is recorded of the head")
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
	parent := ""
	if _, isImage := base.Image(); isImage {
		parent = "bi-base-disk-" + d.Store.UUID
	} else if base.Any() {
		parent = entryPointHere
	}
	require.Equal(t, parent, names[oldest.Parent], "the ancestor's parent")
}

var _ tester = (*testing.T)(nil)
