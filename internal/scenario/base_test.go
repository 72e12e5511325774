package scenario_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/domain"
)

// baseWith is a base whose snapshot daily is neither first nor last, with more fields.
func baseWith(fields string) string {
	return `base: {volume: vol-9, snapshot: daily, snapshots: [` +
		`{name: first, size: 8MiB, writes: [{offset: 2MiB, length: 2MiB, seed: 91}]}, ` +
		`{name: daily, parent: first, size: 8MiB, writes: [{offset: 3MiB, length: 1MiB, seed: 92}]}, ` +
		`{name: later, parent: daily, writes: [{offset: 0, length: 1MiB, seed: 93}]}]` + fields + `}`
}

const (
	baseImage  = `, backingImage: {name: os, size: 4MiB, writes: [{offset: 0, length: 4MiB, seed: 90}]}`
	entryPoint = "-clone-ep-daily"
)

// onHost is a replica of the source volume.
func onHost(h host, replica string) host { return host{h.t, h.Host, replica} }

// parents are the parents of all lvols of a host, by names.
func parents(h host) map[string]string {
	names := map[string]string{"": ""}
	store := h.store()
	for _, l := range store.Lvols {
		names[l.UUID] = l.Name
	}
	all := make(map[string]string)
	for _, l := range store.Lvols {
		all[l.Name] = names[l.Parent]
	}
	return all
}

func TestLinkedCloneHangsOnEntryPoint(t *testing.T) {
	w := build(t, with(tree, baseWith(baseImage), `destination: {snapshots: [{name: b, parent: a}, {name: a, like: source}]}`))
	require.Equal(t, domain.CloneBase("vol-9", "daily"), w.Base)
	image := domain.ImageLvolName("os", w.source.store().UUID)
	require.Equal(t, map[string]string{
		image:                           "",
		"vol-9-r-0000000a-snap-first":   image,
		"vol-9-r-0000000a-snap-daily":   "vol-9-r-0000000a-snap-first",
		"vol-9-r-0000000a-snap-later":   "vol-9-r-0000000a-snap-daily",
		"vol-9-r-0000000a":              "vol-9-r-0000000a-snap-later",
		"vol-9-r-0000000a" + entryPoint: "vol-9-r-0000000a-snap-daily",
		"vol-1-r-1-snap-a":              "vol-9-r-0000000a" + entryPoint,
		"vol-1-r-1-snap-b":              "vol-1-r-1-snap-a",
		"vol-1-r-1":                     "vol-1-r-1-snap-b",
	}, parents(w.source))
	require.Equal(t, "vol-9-r-0000000b"+entryPoint, parents(w.destination)["vol-1-r-2-snap-a"])
	require.Equal(t, "clone:vol-9@daily", w.source.lvol("vol-1-r-1").Record)
	require.Equal(t, "os", w.source.lvol("vol-9-r-0000000a").Record)

	for h, replica := range map[host]string{w.source: "vol-9-r-0000000a", w.destination: "vol-9-r-0000000b"} {
		daily, ep := onHost(h, replica).snapshot("daily"), h.lvol(replica+entryPoint)
		require.Empty(t, h.own(ep))
		require.Equal(t, daily.Size, ep.Size)
		require.True(t, ep.ReadOnly)
		require.Equal(t, domain.Attributes{}, ep.Attributes)
		require.Equal(t, h.view(daily), h.view(ep))
		found, ok, err := h.store().EntryPoint(w.Base)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, ep, found.Lvol)
	}
}

// The volume reads the source volume's data at the snapshot, and zeros beyond it.
func TestLinkedCloneReadsSnapshotOfSourceVolume(t *testing.T) {
	w := build(t, with(`source: {snapshots: [{name: a, writes: [{offset: 1MiB, length: 1MiB, seed: 1}]}]}`, baseWith(baseImage), `destination: {snapshots: [{name: a, like: source}], head: {}}`))
	want := make([]byte, 16*mib)
	fill(want, 0, 4*mib, 90)
	fill(want, 2*mib, 2*mib, 91)
	fill(want, 3*mib, 1*mib, 92)
	fill(want, 1*mib, 1*mib, 1)
	require.True(t, bytes.Equal(want, w.source.read(w.source.lvol("vol-1-r-1"), 0, 16*mib)))
	require.True(t, bytes.Equal(want, w.destination.read(w.destination.lvol("vol-1-r-2"), 0, 16*mib)))
}

func TestLinkedCloneWithoutSnapshotsHasItsHeadOnEntryPoint(t *testing.T) {
	w := build(t, with(`source: {}`, baseWith("")))
	require.Equal(t, "vol-9-r-0000000a"+entryPoint, parents(w.source)["vol-1-r-1"])
	require.Equal(t, "none", w.source.lvol("vol-9-r-0000000a").Record)
}

func TestBaseOnDestination(t *testing.T) {
	const (
		first, daily = "vol-9-r-0000000b-snap-first", "vol-9-r-0000000b-snap-daily"
		later, head  = "vol-9-r-0000000b-snap-later", "vol-9-r-0000000b"
		leftover     = "vol-1-r-2-snap-a"
		clonePoint   = "vol-9-r-0000000b" + entryPoint
	)
	for state, want := range map[string]map[string]string{
		"present":        {first: "", daily: first, later: daily, head: later, clonePoint: daily, leftover: clonePoint},
		"no-entry-point": {first: "", daily: first, later: daily, head: later, leftover: ""},
		"no-snapshot":    {first: "", later: first, head: later, leftover: ""},
		"absent":         {leftover: ""},
		"{snapshots: [{name: daily, writes: [{offset: 0, length: 1MiB, seed: 7}]}]}": {daily: "", head: daily, clonePoint: daily, leftover: clonePoint},
		"{snapshots: [{name: first}]}": {first: "", head: first, leftover: ""},
		"{snapshots: []}":              {head: "", leftover: ""},
	} {
		t.Run(state, func(t *testing.T) {
			w := build(t, with(tree, baseWith(`, destination: `+state), `destination: {snapshots: [{name: a}]}`))
			require.Equal(t, want, parents(w.destination))
			require.Len(t, w.source.store().Lvols, 8, "the source has all of it")
			if _, other := want[later]; other {
				source, destination := onHost(w.source, "vol-9-r-0000000a"), onHost(w.destination, head)
				require.Equal(t, source.snapshot("later").Attributes, destination.snapshot("later").Attributes)
				require.Equal(t, w.source.own(source.snapshot("later")), w.destination.own(destination.snapshot("later")))
			}
		})
	}
}

func TestBaseWithoutItsSnapshotKeepsTheImage(t *testing.T) {
	w := build(t, with(`source: {}`, `base: {volume: vol-9, snapshot: daily, snapshots: [{name: x, parent: daily}, {name: y, parent: daily}, {name: daily}], destination: no-snapshot`+baseImage+`}`))
	image := domain.ImageLvolName("os", w.destination.store().UUID)
	require.Equal(t, map[string]string{
		image: "", "vol-9-r-0000000b-snap-x": image, "vol-9-r-0000000b-snap-y": image, "vol-9-r-0000000b": image,
	}, parents(w.destination))
	require.Equal(t, w.source.image("os").Image, w.destination.image("os").Image)
}

func TestLvolOfBaseMayBeParentOnDestination(t *testing.T) {
	w := build(t, with(tree, baseWith(""), `destination: {snapshots: [{name: a, like: source, parent: vol-9-r-0000000b-snap-daily}], lvols: [{name: vol-7-r-0000000b, parent: vol-9-r-0000000b-clone-ep-daily}]}`))
	all := parents(w.destination)
	require.Equal(t, "vol-9-r-0000000b-snap-daily", all["vol-1-r-2-snap-a"])
	require.Equal(t, "vol-9-r-0000000b"+entryPoint, all["vol-7-r-0000000b"])
}

func TestHurtSourceLostEntryPointAfterWrites(t *testing.T) {
	source := `source: {%s snapshots: [{name: a, writes: [{offset: 2MiB, length: 1, seed: 1}]}]}`
	whole := build(t, with(fmt.Sprintf(source, ""), baseWith(baseImage)))
	hurt := build(t, with(fmt.Sprintf(source, "hurt: true,"), baseWith(baseImage)))
	require.Empty(t, parents(hurt.source)["vol-1-r-1-snap-a"])
	require.Equal(t, "vol-9-r-0000000a-snap-daily", parents(hurt.source)["vol-9-r-0000000a"+entryPoint])
	require.Equal(t, whole.source.read(whole.source.snapshot("a"), 2*mib, mib), hurt.source.read(hurt.source.snapshot("a"), 2*mib, mib))
	require.Equal(t, make([]byte, mib), hurt.source.read(hurt.source.snapshot("a"), 0, mib))
}

func TestBaseOnLargerClustersIsRoundedUp(t *testing.T) {
	w := build(t, with(`source: {}`, `base: {volume: vol-9, snapshot: s, snapshots: [{name: s, size: 5MiB}], backingImage: {name: os, size: 1MiB}}`, `destination: {clusterSize: 2MiB}`))
	require.EqualValues(t, 2*mib, w.destination.image("os").Size)
	require.EqualValues(t, 6*mib, w.destination.lvol("vol-9-r-0000000b-clone-ep-s").Size)
}

// fill writes the bytes of a seed.
func fill(p []byte, offset, length, seed uint64) {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:8], seed)
	rand.NewChaCha8(key).Read(p[offset : offset+length])
}
