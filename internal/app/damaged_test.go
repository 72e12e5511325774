package app_test

import (
	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
)

// newDamagedFixture makes the field's branching tree, with data in the head, and a
// leftover replica that is damaged in several ways.
func newDamagedFixture(t tester, source, destination memory.Flavour) (*fixture, app.Request) {
	t.Helper()
	b := newFixture(t, memory.Config{Flavour: source}, memory.Config{Flavour: destination})
	p := newBuilder(t, b.source, sourceName, makeImage(t, b.source, 4))
	p.growTree(fieldTree, 8, 10)
	p.write(list(t, b.source, sourceName).Head.UUID, 7, 99)
	image := makeImage(t, b.destination, 4)
	left := newBuilder(t, b.destination, copyName, image)
	left.snapshot("snap11", "", 8, map[int]byte{0: 10}, minute(0)) // lost its image
	left.snapshot("snap12", left.uuids["snap11"], 8, map[int]byte{1: 251}, minute(1))
	left.snapshot("snap14", left.uuids["snap12"], 8, map[int]byte{3: 252}, minute(3))
	left.snapshot("snap21", left.uuids["snap14"], 8, map[int]byte{3: 13}, minute(3))
	left.writable(domain.InFlightLvolName(copyName, "0badcafe"), left.uuids["snap21"], 8)
	left.writable(copyName, left.uuids["snap14"], 8)
	other := newBuilder(t, b.destination, "vol-10-r-4e5f6a7b", image)
	other.snapshot("s0", image, 8, map[int]byte{0: 77}, minute(0))
	other.writable("vol-10-r-4e5f6a7b", other.uuids["s0"], 8)
	return b, app.Request{
		Source:      app.Site{Host: b.source, Replica: sourceName},
		Destination: app.Site{Host: b.destination, Replica: copyName},
	}
}
