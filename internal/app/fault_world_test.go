package app_test

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// faultScenario is what faults are let loose on: the field's branching tree, whose
// head has data of its own, and a leftover replica that is damaged in every way
// that a rebuild has a verb for, beside somebody else's replica.
type faultScenario struct {
	name   string
	image  int  // clusters of the backing image; 0: the volume has none
	absent bool // the destination lacks the image
}

const worldClusters = 8 // of the volume

var faultScenarios = []faultScenario{
	{name: "branching", image: worldClusters},
	{name: "small-image", image: 4},
	{name: "missing-image", image: 4, absent: true},
	{name: "no-image"},
}

// worldTree are the source's snapshots, parents first, with their own clusters.
var worldTree = []struct {
	branch
	own map[int]byte
}{
	{branch{"snap11", ""}, map[int]byte{0: 10}},
	{branch{"snap12", "snap11"}, map[int]byte{1: 11, 4: 12}},
	{branch{"snap13", "snap12"}, map[int]byte{2: 13, 3: 14, 5: 15}},
	{branch{"snap21", "snap11"}, map[int]byte{3: 16}},
	{branch{"snap22", "snap21"}, nil},
	{branch{"snap31", "snap21"}, map[int]byte{5: 17, 6: 18}},
}

const (
	oldInFlight = "0badcafe"
	neighbour   = "vol-10-r-4e5f6a7b"
)

// flavours are those of the source and of the destination.
type flavours struct{ source, destination memory.Flavour }

func (f flavours) String() string { return fmt.Sprintf("%s-%s", f.source, f.destination) }

// prove reports whether identical snapshots can be told.
func (f flavours) prove() bool { return f.source == memory.Fork && f.destination == memory.Fork }

var allFlavours = []flavours{
	{memory.Fork, memory.Fork}, {memory.Upstream, memory.Upstream}, {memory.Fork, memory.Upstream}, {memory.Upstream, memory.Fork},
}

// builtHost is a host that a replica is built on.
type builtHost struct {
	ports.Host

	cluster uint64
	write   func(uuid string, at int, b byte) // one whole cluster
}

// grower grows a replica on a host by the host's own verbs.
type grower struct {
	builtHost

	t       tester
	replica string
	made    int
	uuids   map[string]string // of snapshots by name
}

func newGrower(t tester, on builtHost, replica string) *grower {
	return &grower{builtHost: on, t: t, replica: replica, uuids: make(map[string]string)}
}

func (g *grower) snapshot(name, parent string, own map[int]byte, attributes domain.Attributes) {
	g.t.Helper()
	g.made++
	sealed := g.seal(domain.InFlightLvolName(g.replica, fmt.Sprintf("%08x", g.made)), parent, worldClusters, own,
		domain.SnapshotLvolName(g.replica, name), ports.SealRecord{Attributes: attributes})
	g.uuids[name] = sealed
}

func (g *grower) seal(inFlight, parent string, clusters int, own map[int]byte, name string, record ports.SealRecord) string {
	g.t.Helper()
	ctx := context.Background()
	uuid, err := g.Create(ctx, inFlight, uint64(clusters)*g.cluster)
	require.NoError(g.t, err)
	for _, at := range slices.Sorted(maps.Keys(own)) {
		g.write(uuid, at, own[at])
	}
	if parent != "" {
		require.NoError(g.t, g.Graft(ctx, uuid, parent))
	}
	sealed, err := g.Seal(ctx, uuid, name, record)
	require.NoError(g.t, err)
	return sealed
}

func (g *grower) image(clusters int) string {
	own := make(map[int]byte)
	for at := range clusters {
		own[at] = byte(200 + at)
	}
	return g.imageOf(clusters, own)
}

func (g *grower) imageOf(clusters int, own map[int]byte) string {
	store, err := g.List(context.Background())
	require.NoError(g.t, err)
	record := ports.SealRecord{Image: &domain.ImageRecord{UUID: "8f5fd5be", Checksum: "sha512"}}
	return g.seal(domain.ImageInFlightLvolName("00000001"), "", clusters, own, domain.ImageLvolName(imageName, store.UUID), record)
}

// writable hangs an lvol on a snapshot ("": on nothing).
func (g *grower) writable(name, parent string) string {
	g.t.Helper()
	uuid, err := g.Clone(context.Background(), parent, name, worldClusters*g.cluster, "")
	require.NoError(g.t, err)
	return uuid
}

// buildOn makes the world on two hosts.
func (w faultScenario) buildOn(t tester, from, to builtHost) {
	t.Helper()
	source, left, other := newGrower(t, from, sourceName), newGrower(t, to, copyName), newGrower(t, to, neighbour)
	sourceImage, image := "", ""
	if w.image > 0 {
		sourceImage = source.image(w.image)
		if !w.absent {
			image = left.image(w.image)
		}
	}
	for i, s := range worldTree {
		parent := sourceImage
		if s.parent != "" {
			parent = source.uuids[s.parent]
		}
		source.snapshot(s.name, parent, s.own, minute(i))
	}
	source.write(source.writable(sourceName, source.uuids["snap31"]), 7, 99)

	left.snapshot("snap11", "", map[int]byte{0: 10}, minute(0))                           // lost its image
	left.snapshot("snap12", left.uuids["snap11"], map[int]byte{1: 11, 4: 255}, minute(1)) // outdated
	left.snapshot("snap14", left.uuids["snap12"], map[int]byte{3: 252}, minute(3))        // extra
	left.snapshot("snap21", left.uuids["snap14"], map[int]byte{3: 16}, minute(3))         // under a wrong parent
	left.snapshot("snap22", left.uuids["snap21"], nil, minute(4))                         // right, on it
	left.writable(domain.InFlightLvolName(copyName, oldInFlight), left.uuids["snap21"])
	left.writable(copyName, left.uuids["snap14"])

	other.snapshot("s0", image, map[int]byte{0: 77}, minute(0))
	other.writable(neighbour, other.uuids["s0"])
}

// declared is the volume's image.
func (w faultScenario) declared() domain.Image {
	if w.image > 0 {
		return domain.ImageNamed(imageName)
	}
	return domain.NoImage()
}

// request rebuilds it. With one copy at a time one thing is done after the other, so
// that the n-th call is the same each time.
func (p trial) request(source, destination ports.Host) app.Request {
	return p.verify.of(app.Request{
		Source:      app.Site{Host: source, Replica: sourceName},
		Destination: app.Site{Host: destination, Replica: copyName},
		Image:       p.world.declared(),
		Parallel:    p.parallel,
	})
}

// build makes the world in memory.
func (p trial) build(t tester) (*fixture, app.Request) {
	t.Helper()
	b := newFixture(t, memory.Config{Flavour: p.flavours.source}, memory.Config{Flavour: p.flavours.destination})
	on := func(host *memory.Host) builtHost {
		return builtHost{host, cluster, func(uuid string, at int, b byte) {
			require.NoError(t, host.WriteAt(uuid, filled(b), uint64(at)*cluster))
		}}
	}
	p.world.buildOn(t, on(b.source), on(b.destination))
	return b, p.request(b.source, b.destination)
}

// rebuildCleanly is a rebuild that nothing befalls.
func rebuildCleanly(t tester, request app.Request) app.Report {
	t.Helper()
	report, err := app.New(nil).Rebuild(context.Background(), request)
	require.NoError(t, err)
	require.Equal(t, app.OutcomeComplete, report.Outcome)
	require.Empty(t, report.Violations)
	return report
}
