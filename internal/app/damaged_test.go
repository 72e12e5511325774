package app_test

import (
	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
)

// newDamagedFixture makes the field's branching tree, with data in the head, and a
// leftover replica that is damaged in several ways.
func newDamagedFixture(t tester, source, destination memory.Flavour) (*fixture, app.Request) {
	t.Helper()
	b := newFixture(t, memory.Config{Flavour: source}, memory.Config{Flavour: destination})
	newBuilder(t, b.source, sourceName, "").makeImage(4).build(fieldTreeWithData)
	left := newBuilder(t, b.destination, copyName, "").makeImage(4).build(`
		snap11 0=10 # lost its image
		  snap12 1=251
		    snap14 3=252 at=3
		      snap21 3=13 at=3
		        flight:0badcafe
		      head`)
	newBuilder(t, b.destination, neighbour, left.image).build("image\n s0 0=77\n  head")
	request := b.request()
	return b, request
}
