package scenario_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/domain"
)

const chain = `source:
  snapshots:
    - {name: a, size: 8MiB, writes: [{offset: 0, length: 2MiB, seed: 11}]}
    - {name: b, parent: a, userCreated: false, createdAt: 2026-03-03T03:03:03Z, writes: [{offset: 1572864, length: 4KiB, seed: 12}, {offset: 9MiB, length: 1MiB, seed: 13}]}`

func TestLeftoverLikeSourceCopiesOwnClusters(t *testing.T) {
	w := build(t, with(image, chain, `destination: {snapshots: [{name: b, like: source}, {name: a, like: source}]}`))
	for _, name := range []string{"a", "b"} {
		s, d := w.source.snapshot(name), w.destination.snapshot(name)
		require.Equal(t, w.source.own(s), w.destination.own(d))
		require.Equal(t, w.source.view(s), w.destination.view(d))
		require.Equal(t, s.Attributes, d.Attributes)
		require.Equal(t, s.Size, d.Size)
		proof, err := w.Source.Prove(t.Context(), []string{s.UUID})
		require.NoError(t, err)
		same, err := w.Destination.Prove(t.Context(), []string{d.UUID})
		require.NoError(t, err)
		require.Equal(t, proof[s.UUID], same[d.UUID])
	}
	require.Equal(t, w.destination.image("base").UUID, w.destination.snapshot("a").Parent)
	require.Equal(t, w.destination.snapshot("a").UUID, w.destination.snapshot("b").Parent)
}

func TestLeftoverLikeSourceOverrides(t *testing.T) {
	leftover := func(t *testing.T, fields string) (*world, domain.Lvol) {
		w := build(t, with(image, chain, `destination: {snapshots: [{name: b, like: source`+fields+`}, {name: x}]}`))
		return w, w.destination.snapshot("b")
	}
	t.Run("has the image as its parent if its own is not here", func(t *testing.T) {
		w, b := leftover(t, "")
		require.Equal(t, w.destination.image("base").UUID, b.Parent)
		require.Equal(t, w.source.read(w.source.snapshot("b"), mib, mib), w.destination.read(b, mib, mib), "own clusters are the source's whole ones")
	})
	t.Run("another parent", func(t *testing.T) {
		w, b := leftover(t, ", parent: x")
		require.Equal(t, w.destination.snapshot("x").UUID, b.Parent)
	})
	t.Run("no parent", func(t *testing.T) {
		w, b := leftover(t, ", parent: none")
		require.Empty(t, b.Parent)
		require.Equal(t, []uint64{1, 9}, w.destination.own(b))
	})
	t.Run("other writes, on top of the parent here", func(t *testing.T) {
		w, b := leftover(t, ", writes: [{offset: 3MiB, length: 1, seed: 5}]")
		require.Equal(t, []uint64{3}, w.destination.own(b))
		require.Equal(t, w.destination.read(w.destination.image("base"), 3*mib+1, 99), w.destination.read(b, 3*mib+1, 99))
		require.False(t, b.Attributes.UserCreated)
	})
	t.Run("no writes", func(t *testing.T) {
		w, b := leftover(t, ", writes: []")
		require.Empty(t, w.destination.own(b))
	})
	t.Run("a smaller size cuts it off", func(t *testing.T) {
		w, b := leftover(t, ", size: 9MiB")
		require.EqualValues(t, 9*mib, b.Size)
		require.Equal(t, []uint64{1}, w.destination.own(b))
	})
	t.Run("other attributes", func(t *testing.T) {
		_, b := leftover(t, ", userCreated: true, createdAt: 2026-04-04T04:04:04Z")
		require.Equal(t, domain.Attributes{CreatedAt: time.Date(2026, 4, 4, 4, 4, 4, 0, time.UTC), UserCreated: true}, b.Attributes)
	})
}

func TestLeftoverDefaults(t *testing.T) {
	w := build(t, with(image, chain, `destination:`,
		`  snapshots:`,
		`    - {name: b, writes: [{offset: 1MiB, length: 1MiB, seed: 99}]}`,
		`    - {name: extra, parent: b, size: 64MiB}`,
		`    - {name: short, parent: extra, size: 1MiB}`,
		`    - {name: loose, parent: none}`,
		`  head: {writes: [{offset: 0, length: 1, seed: 1}]}`,
	))
	b := w.destination.snapshot("b")
	require.Equal(t, w.destination.image("base").UUID, b.Parent, "by default")
	require.EqualValues(t, 16*mib, b.Size, "the volume's, not the source's")
	require.Equal(t, domain.Attributes{CreatedAt: w.source.snapshot("b").Attributes.CreatedAt, UserCreated: true}, b.Attributes, "forged")
	require.Equal(t, time.Date(2026, 1, 1, 0, 3, 0, 0, time.UTC), w.destination.snapshot("extra").Attributes.CreatedAt, "after the source's two, second here")
	require.Equal(t, w.destination.snapshot("extra").UUID, w.destination.snapshot("short").Parent)
	require.Empty(t, w.destination.snapshot("loose").Parent)
	head := w.destination.lvol("vol-1-r-2")
	require.Equal(t, w.destination.snapshot("loose").UUID, head.Parent, "on the last listed one")
	require.Equal(t, []uint64{0}, w.destination.own(head))
	require.Equal(t, "base", head.Record)
	require.EqualValues(t, 16*mib, head.Size)
}

func TestHeadParent(t *testing.T) {
	for given, parent := range map[string]string{"none": "", "a": "vol-1-r-2-snap-a", "x": "x"} {
		w := build(t, with(image, tree, `destination: {snapshots: [{name: a}, {name: b}], head: {parent: `+given+`}, lvols: [{name: x, snapshot: true}]}`))
		expected := ""
		if parent != "" {
			expected = w.destination.lvol(parent).UUID
		}
		require.Equal(t, expected, w.destination.lvol("vol-1-r-2").Parent)
	}
	w := build(t, with(image, tree, `destination: {head: {}}`))
	require.Equal(t, w.destination.image("base").UUID, w.destination.lvol("vol-1-r-2").Parent)
	w = build(t, with(image, tree, `destination: {image: absent, head: {}}`))
	require.Empty(t, w.destination.lvol("vol-1-r-2").Parent)
}

func TestOtherLvols(t *testing.T) {
	w := build(t, with(image, tree, `destination:`,
		`  snapshots: [{name: a, like: source, parent: vol-1-r-2-rebuilding-5bace000}, {name: b, like: source}]`,
		`  lvols:`,
		`    - {name: vol-1-r-2-rebuilding, parent: b, writes: [{offset: 0, length: 1, seed: 7}]}`,
		`    - {name: vol-1-r-2-rebuilding-5bace000, parent: other@disk, snapshot: true, size: 1MiB}`,
		`    - {name: other@disk, snapshot: true, size: 128MiB}`,
	))
	inFlight := w.destination.lvol("vol-1-r-2-rebuilding")
	spacer := w.destination.lvol("vol-1-r-2-rebuilding-5bace000")
	other := w.destination.lvol("other@disk")
	require.Equal(t, []bool{false, true, true}, []bool{inFlight.ReadOnly, spacer.ReadOnly, other.ReadOnly})
	require.Equal(t, []string{w.destination.snapshot("b").UUID, other.UUID, ""}, []string{inFlight.Parent, spacer.Parent, other.Parent})
	require.Equal(t, []uint64{16 * mib, mib, 128 * mib}, []uint64{inFlight.Size, spacer.Size, other.Size})
	require.Equal(t, spacer.UUID, w.destination.snapshot("a").Parent)
	require.Empty(t, inFlight.Record)
	for _, l := range w.destination.store().Lvols {
		require.False(t, strings.HasPrefix(l.Name, "~"), "%s was for building only", l.Name)
	}
}

func TestUpstreamKeepsNoRecords(t *testing.T) {
	w := build(t, with(image, chain, `destination: {flavour: upstream, snapshots: [{name: a, like: source}], head: {}}`))
	store := w.destination.store()
	require.False(t, store.Proves)
	require.False(t, store.Records)
	require.Equal(t, 63, store.NameLimit)
	require.Zero(t, w.destination.snapshot("a").Attributes)
	require.Zero(t, w.destination.image("base").Image)
	require.Empty(t, w.destination.lvol("vol-1-r-2").Record)
	require.True(t, w.source.store().Proves)
}

func TestLongNamesAreBuilt(t *testing.T) {
	name := strings.Repeat("v", 54) // 58 with -r-2, 65 and more in flight
	build(t, volume(`{name: `+name+`, size: 16MiB}`)+"destination: {flavour: upstream, head: {}}\n")
	build(t, volume(`{name: v, size: 16MiB}`)+"destination: {flavour: upstream, snapshots: [{name: "+strings.Repeat("s", 52)+"}]}\n")
}

func TestFreeClusters(t *testing.T) {
	for name, destination := range map[string]string{
		"with leftovers":          `{freeClusters: 5, snapshots: [{name: a, like: source}, {name: b, like: source}], head: {writes: [{offset: 0, length: 16MiB, seed: 3}]}}`,
		"without anything":        `{freeClusters: 5, image: absent}`,
		"with an image":           `{freeClusters: 5}`,
		"with overlapping writes": `{freeClusters: 5, head: {writes: [{offset: 1, length: 2MiB, seed: 3}, {offset: 0, length: 1, seed: 4}, {offset: 2MiB, length: 1MiB, seed: 5}]}}`,
	} {
		t.Run(name, func(t *testing.T) {
			require.EqualValues(t, 5, build(t, with(image, chain, `destination: `+destination)).destination.store().FreeClusters)
			full := strings.Replace(destination, "freeClusters: 5", "freeClusters: 0", 1)
			require.Zero(t, build(t, with(image, chain, `destination: `+full)).destination.store().FreeClusters)
		})
	}
}

func TestDestinationClusterSize(t *testing.T) {
	for _, size := range []string{"64KiB", "4MiB"} {
		w := build(t, with(`backingImage: {name: base, size: 6MiB, writes: [{offset: 5MiB, length: 1MiB, seed: 1}]}`, chain, `destination: {clusterSize: `+size+`, snapshots: [{name: a, like: source}, {name: b, like: source}]}`))
		for _, name := range []string{"a", "b"} {
			require.Equal(t, w.source.view(w.source.snapshot(name)), w.destination.view(w.destination.snapshot(name)), "of %s with clusters of %s", name, size)
		}
		require.Equal(t, w.source.image("base").Image, w.destination.image("base").Image)
	}
}
