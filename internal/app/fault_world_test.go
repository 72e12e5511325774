package app_test

import (
	"context"
	"fmt"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
)

// faultWorld is what faults are let loose on: the field's branching tree, whose
// head has data of its own, and a leftover replica that is damaged in every way
// that a rebuild has a verb for, beside somebody else's replica.
type faultWorld struct {
	name   string
	image  int  // clusters of the backing image; 0: the volume has none
	absent bool // the destination lacks the image
}

const worldClusters = 8 // of the volume

var faultWorlds = []faultWorld{
	{name: "branching", image: worldClusters},
	{name: "small-image", image: 3},
	{name: "missing-image", image: 3, absent: true},
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
	neighbour   = "vol-10-r-2"
)

// flavours are those of the source and of the destination.
type flavours struct{ source, destination memory.Flavour }

func (f flavours) String() string { return fmt.Sprintf("%s-%s", f.source, f.destination) }

// prove reports whether identical snapshots can be told.
func (f flavours) prove() bool { return f.source == memory.Fork && f.destination == memory.Fork }

var allFlavours = []flavours{
	{memory.Fork, memory.Fork}, {memory.Upstream, memory.Upstream}, {memory.Fork, memory.Upstream}, {memory.Upstream, memory.Fork},
}

func (w faultWorld) grow(t tester, f flavours) (*bench, app.Request) {
	t.Helper()
	b := newBench(t, memory.Config{Flavour: f.source}, memory.Config{Flavour: f.destination})
	sourceImage, image, declared := "", "", domain.NoImage()
	if w.image > 0 {
		sourceImage, declared = growImage(t, b.source, w.image), domain.ImageNamed(imageName)
		if !w.absent {
			image = growImage(t, b.destination, w.image)
		}
	}
	source := newPlant(t, b.source, sourceName, sourceImage)
	for i, s := range worldTree {
		parent := sourceImage
		if s.parent != "" {
			parent = source.uuids[s.parent]
		}
		source.snapshot(s.name, parent, worldClusters, s.own, minute(i))
	}
	source.write(source.writable(sourceName, source.uuids["snap31"], worldClusters), 7, 99)

	left := newPlant(t, b.destination, copyName, image)
	left.snapshot("snap11", "", worldClusters, map[int]byte{0: 10}, minute(0))                           // lost its image
	left.snapshot("snap12", left.uuids["snap11"], worldClusters, map[int]byte{1: 11, 4: 255}, minute(1)) // outdated
	left.snapshot("snap14", left.uuids["snap12"], worldClusters, map[int]byte{3: 252}, minute(3))        // extra
	left.snapshot("snap21", left.uuids["snap14"], worldClusters, map[int]byte{3: 16}, minute(3))         // under a wrong parent
	left.snapshot("snap22", left.uuids["snap21"], worldClusters, nil, minute(4))                         // right, on it
	left.writable(domain.InFlightLvolName(copyName, oldInFlight), left.uuids["snap21"], worldClusters)
	left.writable(copyName, left.uuids["snap14"], worldClusters)

	other := newPlant(t, b.destination, neighbour, image)
	other.snapshot("s0", image, worldClusters, map[int]byte{0: 77}, minute(0))
	other.writable(neighbour, other.uuids["s0"], worldClusters)
	return b, app.Request{
		Source:      app.Site{Host: b.source, Replica: sourceName},
		Destination: app.Site{Host: b.destination, Replica: copyName},
		Image:       declared,
		Parallel:    1, // so that the n-th call is the same each time
	}
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
