package app_test

import (
	"context"
	"fmt"

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
	clones bool // other volumes are linked clones of the replicas' snapshots, on both hosts
}

const worldClusters = 8 // of the volume

var faultScenarios = []faultScenario{
	{name: "branching", image: worldClusters},
	{name: "small-image", image: 4},
	{name: "missing-image", image: 4, absent: true},
	{name: "no-image"},
	{name: "linked-clones", image: 4, clones: true},
}

// flavours are the pairs that the world is rebuilt on. What linked clones read is replaced
// only where all is proven.
func (w faultScenario) flavours() []flavours {
	if w.clones {
		return []flavours{bothProve}
	}
	return allFlavours
}

// worldTree is the source's.
const worldTree = `
image
  snap11 0=10
    snap12 1=11 4=12
      snap13 2=13 3=14 5=15
    snap21 3=16
      snap22
      snap31 5=17 6=18
        head 7=99
`

// worldLeftovers are on the destination.
const worldLeftovers = `
snap11 0=10                # lost its image
  snap12 1=11 4=255        # outdated
    snap14 3=252 at=3      # extra
      snap21 3=16 at=3     # under a wrong parent
        snap22 at=4        # right, on it
        flight:` + oldInFlight + `
      head
`

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

// buildOn makes the world on two hosts.
func (w faultScenario) buildOn(t tester, from, to builtHost) {
	t.Helper()
	source, left, other := newBuilderOn(t, from, sourceName, ""), newBuilderOn(t, to, copyName, ""), newBuilderOn(t, to, neighbour, "")
	if w.image > 0 {
		source.makeImage(w.image)
		if !w.absent {
			other.image = left.makeImage(w.image).image
		}
	}
	source.build(worldTree)
	left.build(worldLeftovers)
	other.build("image\n s0 0=77\n  head")
	for snapshot, clone := range linkedClones {
		if w.clones {
			newBuilderOn(t, from, clone+"a", makeEntryPoint(source, snapshot)).build(linkedCloneTree)
			newBuilderOn(t, to, clone+"b", makeEntryPoint(left, snapshot)).build(linkedCloneTree)
		}
	}
}

// linkedClones are the replicas, without the last letter, that are linked clones of some of
// the volume's snapshots.
var linkedClones = map[string]string{"snap12": "vol-77-r-0000000", "snap21": "vol-78-r-0000000"}

const linkedCloneTree = "image\n  c1 0=51\n    head 6=52\n"

// declared is the volume's image.
func (w faultScenario) declared() domain.Base {
	if w.image > 0 {
		return domain.ImageBase(imageName)
	}
	return domain.NoBase()
}

// request rebuilds it. With one copy at a time one thing is done after the other, so
// that the n-th call is the same each time.
func (p trial) request(source, destination ports.Host) app.Request {
	return p.verify.of(app.Request{
		Source:      app.Site{Host: source, Replica: sourceName},
		Destination: app.Site{Host: destination, Replica: copyName},
		Base:        p.world.declared(),
		Parallel:    p.parallel,
	})
}

// build makes the world in memory.
func (p trial) build(t tester) (*fixture, app.Request) {
	t.Helper()
	b := newFixture(t, memory.Config{Flavour: p.flavours.source}, memory.Config{Flavour: p.flavours.destination})
	p.world.buildOn(t, memoryHost(t, b.source), memoryHost(t, b.destination))
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
