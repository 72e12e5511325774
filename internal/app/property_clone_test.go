package app_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
)

// cloneBase is the source volume of a linked clone, the same on both hosts.
type cloneBase struct {
	tree     string
	clusters int
	image    int // clusters; 0: none
}

func drawCloneBase(l *volumeHistory) (n cloneBase) {
	n.clusters = l.IntRange(2, l.size, "clusters of the source volume")
	n.tree = fmt.Sprintf("clusters %d\nimage\n  weekly 0=31\n    daily %d=32\n      head 1=33\n", n.clusters, l.IntRange(0, n.clusters-1, "daily"))
	if l.hasImage {
		n.image = l.IntRange(1, n.clusters, "image clusters")
	}
	return n
}

func (n cloneBase) build(t tester, host *memory.Host, replica, tree string) *builder {
	if n.image == 0 {
		return newBuilder(t, host, replica, "").build(withoutImage(tree))
	}
	return newBuilder(t, host, replica, makeImage(t, host, n.image)).build(tree)
}

// drawCloneBase makes the source volume on the destination, perhaps without the entry point, the
// snapshot, or the same bytes. It returns the entry point, "" without one, and the snapshots.
func (r *leftovers) drawCloneBase(b *fixture) (entryPoint string, snapshots []string) {
	n := r.life.nine
	state := rapid.SampledFrom([]string{"right", "right", "right", "no entry point", "no entry point", "no entry point", "loose", "misplaced", "no snapshot", "other clusters", "no image"}).Draw(r.T, "base")
	tree := n.tree
	switch state {
	case "no snapshot":
		tree, r.wrongBase = strings.Replace(tree, "daily", "hourly", 1), true
	case "other clusters":
		tree, r.wrongBase = strings.Replace(tree, "weekly", "weekly 1=30", 1), true
	case "no image":
		n.image, r.wrongBase = 0, n.image > 0
	}
	nine := n.build(r, b.destination, nineHere, tree)
	if _, has := nine.uuids["daily"]; has && state != "no entry point" {
		entryPoint = makeEntryPoint(nine, "daily")
	}
	switch state {
	case "loose":
		require.NoError(r, b.destination.Graft(context.Background(), entryPoint, ""))
		r.wrongBase = true
	case "misplaced":
		require.NoError(r, b.destination.Graft(context.Background(), entryPoint, nine.uuids["weekly"]))
		r.wrongBase = true
	}
	for name := range contents(r, b.destination) {
		r.foreign[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(nine.uuids)) {
		snapshots = append(snapshots, nine.uuids[name])
	}
	return entryPoint, snapshots
}
