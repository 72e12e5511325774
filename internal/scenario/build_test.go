package scenario_test

import (
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/scenario"
)

const (
	kib = 1 << 10
	mib = 1 << 20
)

func TestWriteUsesSeed(t *testing.T) {
	w := build(t, with(`source: {head: {writes: [{offset: 1048577, length: 3MiB, seed: 72623859790382856}]}}`))
	var key [32]byte
	copy(key[:], "\x08\x07\x06\x05\x04\x03\x02\x01")
	require.EqualValues(t, 72623859790382856, binary.LittleEndian.Uint64(key[:]))
	expected := make([]byte, 3*mib)
	rand.NewChaCha8(key).Read(expected)

	head := w.source.lvol("vol-1-r-1")
	require.Equal(t, expected, w.source.read(head, 1*mib+1, 3*mib))
	require.Equal(t, []byte{0}, w.source.read(head, 1*mib, 1))
	require.Equal(t, []uint64{1, 2, 3, 4}, w.source.own(head))
}

func TestSourceTree(t *testing.T) {
	w := build(t, with(
		`backingImage: {name: base, size: 8MiB, writes: [{offset: 0, length: 1MiB, seed: 1}, {offset: 512KiB, length: 1MiB, seed: 2}]}`,
		`source:`,
		`  snapshots:`,
		`    - {name: child, parent: ancestor, userCreated: false, writes: [{offset: 4MiB, length: 0, seed: 3}]}`,
		`    - {name: ancestor, size: 12MiB, createdAt: "2026-02-03T06:05:06.789+02:00", writes: [{offset: 1MiB, length: 1, seed: 11}]}`,
		`    - {name: last, parent: ancestor}`,
	))
	image := w.source.lvol(domain.ImageLvolName("base", scenario.SourceStoreUUID))
	ancestor := w.source.snapshot("ancestor")
	child := w.source.snapshot("child")
	last := w.source.snapshot("last")
	head := w.source.lvol("vol-1-r-1")

	require.Equal(t, []string{"", image.UUID, ancestor.UUID, ancestor.UUID, last.UUID},
		[]string{image.Parent, ancestor.Parent, child.Parent, last.Parent, head.Parent}, "the head is on the last listed one")
	require.Equal(t, []uint64{8 * mib, 12 * mib, 16 * mib, 16 * mib, 16 * mib}, []uint64{image.Size, ancestor.Size, child.Size, last.Size, head.Size})
	require.Equal(t, []bool{true, true, true, true, false}, []bool{image.ReadOnly, ancestor.ReadOnly, child.ReadOnly, last.ReadOnly, head.ReadOnly})
	require.Equal(t, []uint64{0, 1}, w.source.own(image))
	require.Equal(t, []uint64{1}, w.source.own(ancestor))
	require.Empty(t, w.source.own(child), "a write of no bytes touches nothing")
	require.Equal(t, w.source.read(image, 1*mib+1, 4095), w.source.read(ancestor, 1*mib+1, 4095), "the rest of a cluster is the parent's")
	require.NotEqual(t, w.source.read(image, 1*mib, 1), w.source.read(ancestor, 1*mib, 1))

	require.Equal(t, domain.Attributes{CreatedAt: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}, child.Attributes)
	require.Equal(t, domain.Attributes{CreatedAt: time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC), UserCreated: true}, ancestor.Attributes)
	require.Equal(t, domain.Attributes{CreatedAt: time.Date(2026, 1, 1, 0, 2, 0, 0, time.UTC), UserCreated: true}, last.Attributes)
	require.Equal(t, "base", head.Record)
	require.Equal(t, domain.ImageBase("base"), w.Base)
}

func TestSourceWithoutSnapshots(t *testing.T) {
	w := build(t, smallest)
	require.Len(t, w.source.store().Lvols, 1)
	head := w.source.lvol("vol-1-r-1")
	require.Empty(t, head.Parent)
	require.Equal(t, "none", head.Record)
	require.Equal(t, domain.NoBase(), w.Base)

	w = build(t, with(`source: {head: {parent: none}}`, image))
	require.Equal(t, w.source.image("base").UUID, w.source.lvol("vol-1-r-1").Parent, "an ancestor of its own")
}

func TestDefaults(t *testing.T) {
	for name, text := range map[string]string{
		"left out":       smallest,
		"empty mappings": smallest + "destination: {}\noptions: {}\n",
		"commented out":  smallest + "backingImage:\ndestination:\n#  head: {}\noptions:\n",
		"given":          smallest + "destination: {clusterSize: 1048576, flavour: fork, image: present, snapshots: [], lvols: []}\noptions: {fast: true, parallel: 4, acceptHurtSource: false}\nruns: 1\n",
	} {
		t.Run(name, func(t *testing.T) {
			w := build(t, text)
			require.True(t, w.Fast)
			require.Equal(t, 4, w.Parallel)
			require.False(t, w.AcceptHurtSource)
			require.Equal(t, 1, w.Runs)
			require.Equal(t, "vol-1-r-1", w.SourceReplica)
			require.Equal(t, "vol-1-r-2", w.DestinationReplica)
			require.Empty(t, w.destination.store().Lvols)
			require.EqualValues(t, mib, w.destination.store().ClusterSize)
			require.EqualValues(t, 1<<40, w.destination.store().FreeClusters)
			require.True(t, w.destination.store().Proves)
			require.Equal(t, scenario.SourceStoreUUID, w.source.store().UUID)
			require.Equal(t, scenario.DestinationStoreUUID, w.destination.store().UUID)
		})
	}
	w := build(t, smallest+"options: {fast: FALSE, parallel: 7, acceptHurtSource: true}\nruns: 2\n")
	require.Equal(t, []any{false, 7, true, 2}, []any{w.Fast, w.Parallel, w.AcceptHurtSource, w.Runs})
}

func TestJSONScenario(t *testing.T) {
	w := build(t, `{"apiVersion": "rebuild/v1", "volume": {"name": "vol-1", "size": 16777216}, "source": {"snapshots": [{"name": "a", "size": "8MiB", "userCreated": false}]}}`)
	require.EqualValues(t, 8*mib, w.source.snapshot("a").Size)
}

func TestNameMayLookLikeNumber(t *testing.T) {
	w := build(t, with(`source: {snapshots: [{name: 1}, {name: 2026-01-01, parent: 1}]}`))
	require.Equal(t, w.source.snapshot("1").UUID, w.source.snapshot("2026-01-01").Parent)
}

func TestImageHasSameRecordOnBothHosts(t *testing.T) {
	w := build(t, with(tree, image))
	source, destination := w.source.image("base"), w.destination.image("base")
	sum := sha512.Sum512(w.source.read(source, 0, 8*mib))
	require.Equal(t, domain.ImageRecord{UUID: scenario.ImageUUID("base"), Checksum: hex.EncodeToString(sum[:])}, source.Image)
	require.Equal(t, source.Image, destination.Image)
	require.Equal(t, w.source.view(source), w.destination.view(destination))
	require.Equal(t, w.source.own(source), w.destination.own(destination))
	require.NotEqual(t, source.UUID, destination.UUID, "of the lvols")
}

func TestDestinationImage(t *testing.T) {
	of := func(t *testing.T, state string) *world {
		return build(t, with(tree, image, "destination: {image: "+state+"}"))
	}
	t.Run("may be absent", func(t *testing.T) {
		require.Empty(t, of(t, "absent").destination.store().Lvols)
	})
	t.Run("may have another UUID, with the same bytes", func(t *testing.T) {
		w := of(t, "{uuid: 0ddba11c}")
		source, destination := w.source.image("base"), w.destination.image("base")
		require.Equal(t, domain.ImageRecord{UUID: "0ddba11c", Checksum: source.Image.Checksum}, destination.Image)
	})
	t.Run("may have other bytes, with the same UUID", func(t *testing.T) {
		w := of(t, "{uuid: "+scenario.ImageUUID("base")+", writes: []}")
		source, destination := w.source.image("base"), w.destination.image("base")
		require.Equal(t, source.Image.UUID, destination.Image.UUID)
		require.Equal(t, source.Size, destination.Size)
		require.NotEqual(t, source.Image.Checksum, destination.Image.Checksum)
		require.Empty(t, w.destination.own(destination))
	})
	t.Run("may be shorter, with the bytes up to there", func(t *testing.T) {
		w := of(t, "{size: 3MiB}")
		source, destination := w.source.image("base"), w.destination.image("base")
		require.NotEqual(t, source.Image.UUID, destination.Image.UUID)
		require.EqualValues(t, 3*mib, destination.Size)
		require.Equal(t, w.source.read(source, 0, 3*mib), w.destination.read(destination, 0, 3*mib))
	})
	t.Run("may be longer than the volume", func(t *testing.T) {
		w := of(t, "{size: 1GiB}")
		require.EqualValues(t, 1<<30, w.destination.image("base").Size)
		require.Len(t, w.destination.own(w.destination.image("base")), 8)
	})
	t.Run("has no checksum where that would take too long", func(t *testing.T) {
		w := of(t, "{size: 2GiB}")
		require.Empty(t, w.destination.image("base").Image.Checksum)
	})
}

func TestImageFilePaddedWithZeros(t *testing.T) {
	dir := t.TempDir()
	content := make([]byte, 5*mib/2)
	rand.NewChaCha8([32]byte{}).Read(content)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "disk.img"), content, 0o600))
	file := filepath.Join(dir, "scenario.yaml")
	for _, given := range []string{"disk.img", "../" + filepath.Base(dir) + "/disk.img", filepath.Join(dir, "disk.img")} {
		require.NoError(t, os.WriteFile(file, []byte(with(tree, "backingImage: {name: base, file: "+given+"}")), 0o600))
		s, err := scenario.Parse(file)
		require.NoError(t, err)
		w := buildOf(t, s)
		for _, h := range []host{w.source, w.destination} {
			require.EqualValues(t, 3*mib, h.image("base").Size)
			require.Equal(t, append(content[:len(content):len(content)], make([]byte, mib/2)...), h.read(h.image("base"), 0, 3*mib))
			require.Len(t, h.own(h.image("base")), 3)
		}
	}
}

// qcow2Of is a disk as a qcow2 image of one cluster of 2 MiB, followed by a hole.
func qcow2Of(data []byte, size uint64) []byte {
	const cluster = 2 * mib
	be := binary.BigEndian
	p := make([]byte, 4*cluster)
	copy(p, "QFI\xfb")
	be.PutUint32(p[4:], 2)
	be.PutUint32(p[20:], 21)
	be.PutUint64(p[24:], size)
	be.PutUint32(p[36:], 1)
	be.PutUint64(p[40:], cluster)
	be.PutUint64(p[cluster:], 2*cluster|1<<63)
	be.PutUint64(p[2*cluster:], 3*cluster|1<<63)
	copy(p[3*cluster:], data)
	return p
}

func TestQcow2ImageIsItsDisk(t *testing.T) {
	dir := t.TempDir()
	content := make([]byte, 2*mib)
	rand.NewChaCha8([32]byte{}).Read(content)
	image := qcow2Of(content, 5*mib/2)
	file := func(name string, p []byte) (text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), p, 0o600))
		return with(tree, "backingImage: {name: base, file: "+name+"}")
	}
	s, err := scenario.ParseBytes("f.yaml", dir, []byte(file("disk.qcow2", image)))
	require.NoError(t, err)
	w := buildOf(t, s)
	raw, err := scenario.ParseBytes("f.yaml", dir, []byte(file("disk.img", append(content[:len(content):len(content)], make([]byte, mib/2)...))))
	require.NoError(t, err)
	require.Equal(t, buildOf(t, raw).source.store(), w.source.store())
	for _, h := range []host{w.source, w.destination} {
		require.EqualValues(t, 3*mib, h.image("base").Size)
		require.Equal(t, append(content[:len(content):len(content)], make([]byte, mib)...), h.read(h.image("base"), 0, 3*mib))
	}
	for name, c := range map[string]struct {
		p       []byte
		problem string
	}{
		"cut":  {image[:len(image)-100], `"cut" is a truncated qcow2 image: the file ends after 8388508 bytes, 100 are missing`},
		"huge": {qcow2Of(content, 5<<30), `expected an image of at most 4GiB, but "huge" has 5GiB`},
		"vmdk": {[]byte("KDMV"), `"vmdk" is a VMDK image; expected a disk image, raw or qcow2`},
	} {
		_, err := scenario.ParseBytes("f.yaml", dir, []byte(file(name, c.p)))
		require.ErrorContains(t, err, "backingImage.file: "+c.problem)
	}
}

func TestHurtSourceLostImageAfterWrites(t *testing.T) {
	text := []string{image, `source:`, `  snapshots: [{name: a, writes: [{offset: 0, length: 1, seed: 1}]}, {name: b, parent: a}]`, `destination: {snapshots: [{name: a, like: source}]}`}
	whole := build(t, with(text...))
	text[1] = "source:\n  hurt: true"
	hurt := build(t, with(text...))
	require.NotEmpty(t, whole.source.snapshot("a").Parent)
	require.Empty(t, hurt.source.snapshot("a").Parent)
	require.Equal(t, hurt.source.snapshot("a").UUID, hurt.source.snapshot("b").Parent)
	require.Equal(t, whole.source.read(whole.source.snapshot("a"), 0, mib), hurt.source.read(hurt.source.snapshot("a"), 0, mib))
	require.Equal(t, hurt.destination.image("base").UUID, hurt.destination.snapshot("a").Parent)

	headless := build(t, with(image, `source: {hurt: true}`))
	require.Empty(t, headless.source.lvol("vol-1-r-1").Parent)
}

func TestBuildsAreEqualAndIndependent(t *testing.T) {
	s, err := scenario.ParseBytes("f.yaml", "", []byte(with(tree, image, `destination: {snapshots: [{name: a, like: source}], head: {}}`)))
	require.NoError(t, err)
	first, second := buildOf(t, s), buildOf(t, s)
	require.Equal(t, first.source.store(), second.source.store())
	require.Equal(t, first.destination.store(), second.destination.store())
	require.NoError(t, first.Destination.Delete(t.Context(), first.destination.lvol("vol-1-r-2").UUID))
	require.NotEqual(t, first.destination.store(), second.destination.store())
}

// world is a World with easy access to its hosts.
type world struct {
	*scenario.World
	source, destination host
}

type host struct {
	t *testing.T
	*memory.Host
	replica string
}

func build(t *testing.T, text string) *world {
	t.Helper()
	s, err := scenario.ParseBytes("f.yaml", "", []byte(text))
	require.NoError(t, err)
	return buildOf(t, s)
}

func buildOf(t *testing.T, s *scenario.Scenario) *world {
	t.Helper()
	w, err := s.Build()
	require.NoError(t, err)
	return &world{w, host{t, w.Source, w.SourceReplica}, host{t, w.Destination, w.DestinationReplica}}
}

func (h host) store() domain.Listing {
	store, err := h.List(h.t.Context())
	require.NoError(h.t, err)
	return store
}

func (h host) lvol(name string) domain.Lvol {
	h.t.Helper()
	var names []string
	for _, l := range h.store().Lvols {
		if l.Name == name {
			return l
		}
		names = append(names, l.Name)
	}
	require.Fail(h.t, "no lvol "+name, strings.Join(names, "\n"))
	return domain.Lvol{}
}

func (h host) snapshot(name string) domain.Lvol {
	h.t.Helper()
	return h.lvol(domain.SnapshotLvolName(h.replica, name))
}

func (h host) image(name string) domain.Lvol {
	h.t.Helper()
	return h.lvol(domain.ImageLvolName(name, h.store().UUID))
}

func (h host) own(l domain.Lvol) []uint64 {
	own, err := h.OwnClusters(l.UUID)
	require.NoError(h.t, err)
	return own
}

func (h host) read(l domain.Lvol, offset, length uint64) []byte {
	p := make([]byte, length)
	require.NoError(h.t, h.ReadAt(l.UUID, p, offset))
	return p
}

func (h host) view(l domain.Lvol) string {
	sum, err := h.ViewSHA256(l.UUID)
	require.NoError(h.t, err)
	return sum
}
