package memory_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

func TestGraftCyclePanics(t *testing.T) {
	h := oneHost()
	a, b, c := snapshot(t, h, "a", 2, 1, 0), snapshot(t, h, "b", 2, 2, 0), snapshot(t, h, "c", 2, 3, 0)
	require.NoError(t, h.Graft(t.Context(), b, a))
	require.NoError(t, h.Graft(t.Context(), c, b))
	require.Panics(t, func() { h.Graft(t.Context(), a, c) })
	require.Panics(t, func() { h.Graft(t.Context(), a, b) })
	require.Empty(t, look(t, h, a).Parent, "and the host goes on")
}

func TestMergeChangesChild(t *testing.T) {
	h := oneHost()
	a := snapshot(t, h, "a", 3, 1, 0)
	b := snapshot(t, h, "b", 3, 2, 0, 1)
	c := snapshot(t, h, "c", 3, 3, 1, 2)
	require.NoError(t, h.Graft(t.Context(), b, a))
	require.NoError(t, h.Graft(t.Context(), c, b))
	before, err := h.Prove(t.Context(), []string{c})
	require.NoError(t, err)
	free := freeClusters(t, h)
	require.NoError(t, h.DeleteMerging(b))
	after, err := h.Prove(t.Context(), []string{c})
	require.NoError(t, err)
	require.EqualValues(t, 3, after[c].Count)
	require.NotEqual(t, before[c].Map, after[c].Map)
	require.NotEqual(t, before[c].Checksum, after[c].Checksum)
	require.Equal(t, a, look(t, h, c).Parent)
	require.Equal(t, free+1, freeClusters(t, h), "one of the two was masked")
	own, err := h.OwnClusters(c)
	require.NoError(t, err)
	require.Equal(t, []uint64{0, 1, 2}, own)
}

func TestChecksumIgnoresPositions(t *testing.T) {
	h := oneHost()
	a, b := snapshot(t, h, "a", 8, 1, 2), snapshot(t, h, "b", 8, 1, 5)
	empty := snapshot(t, h, "empty", 8, 1)
	proven, err := h.Prove(t.Context(), []string{a, b, empty})
	require.NoError(t, err)
	require.Equal(t, proven[a].Checksum, proven[b].Checksum, "the trap")
	require.NotEqual(t, proven[a].Map, proven[b].Map)
	require.Equal(t, "0", proven[empty].Checksum)
}

// A cluster of 1 MiB with 4 KiB of data hides the parent's bytes.
func TestOtherClusterSizes(t *testing.T) {
	fabric := memory.NewFabric()
	small := fabric.NewHost(memory.Config{Name: "small", ClusterSize: kib4})
	large := fabric.NewHost(memory.Config{Name: "large", ClusterSize: 4 * kib4})
	a := snapshot(t, small, "a", 8, 1, 1, 6)
	l := create(t, large, "filling", 8)
	require.NoError(t, small.Copy(t.Context(), run, a, receive(t, large, l, small), nil))
	require.EqualValues(t, 2, look(t, large, l).Own.Count)
	sent, err := small.ViewSHA256(a)
	require.NoError(t, err)
	got, err := large.ViewSHA256(l)
	require.NoError(t, err)
	require.Equal(t, sent, got)

	sealed, err := large.Seal(t.Context(), l, "a", ports.SealRecord{})
	require.NoError(t, err)
	back := create(t, small, "filling", 8)
	require.NoError(t, large.Copy(t.Context(), run, sealed, receive(t, small, back, large), nil))
	require.EqualValues(t, 8, look(t, small, back).Own.Count)
	got, err = small.ViewSHA256(back)
	require.NoError(t, err)
	require.Equal(t, sent, got)
}

func TestAddressIsForOnePeer(t *testing.T) {
	fabric := memory.NewFabric()
	config := memory.Config{Name: "disk", ClusterSize: kib4}
	from, to, third := fabric.NewHost(config), fabric.NewHost(config), fabric.NewHost(config)
	l := create(t, to, "filling", 2)
	address := receive(t, to, l, from)
	require.ErrorIs(t, third.Copy(t.Context(), run, snapshot(t, third, "a", 2, 1, 0), address, nil), ports.ErrUnavailable)
	require.ErrorIs(t, third.Copy(t.Context(), run, snapshot(t, third, "b", 2, 1, 0), "nonsense", nil), ports.ErrInvalid)
	require.ErrorIs(t, third.Copy(t.Context(), run, snapshot(t, third, "c", 2, 1, 0), "memory:99:1", nil), ports.ErrUnavailable)
	require.Zero(t, look(t, to, l).Own.Count)
}

func TestWritesBeyondEndRefused(t *testing.T) {
	h := memory.NewFabric().NewHost(memory.Config{Name: "disk-1", ClusterSize: kib4, TotalClusters: 2})
	l := create(t, h, "filling", 8)
	require.ErrorIs(t, h.WriteAt(l, make([]byte, 3*kib4), 0), ports.ErrNoSpace)
	require.Zero(t, look(t, h, l).Own.Count, "nothing was written")
	fill(t, h, l, 1, 0, 7)
	fill(t, h, l, 2, 0)
	require.ErrorIs(t, h.WriteAt(l, []byte{1}, kib4), ports.ErrNoSpace)
	require.ErrorIs(t, h.WriteAt(l, make([]byte, 2), 8*kib4-1), ports.ErrInvalid)
	require.ErrorIs(t, h.ReadAt(l, make([]byte, 2), 8*kib4-1), ports.ErrInvalid)
	require.NoError(t, h.Resize(l, 7*kib4))
	fill(t, h, l, 1, 1)
	_, err := h.Snapshot(t.Context(), l, "a", morning)
	require.NoError(t, err)
	_, err = h.Clone(t.Context(), look(t, h, l).Parent, "b", 6*kib4, "")
	require.ErrorIs(t, err, ports.ErrInvalid)
	require.ErrorIs(t, h.WriteAt(look(t, h, l).Parent, []byte{1}, 0), ports.ErrInvalid, "a snapshot")
}

func TestRenameFreesOldName(t *testing.T) {
	h := oneHost()
	l := create(t, h, "filling", 2)
	snapshot(t, h, "a", 2, 1)
	require.ErrorIs(t, h.Rename(t.Context(), l, "a"), ports.ErrExists)
	require.NoError(t, h.Rename(t.Context(), l, "head"))
	create(t, h, "filling", 2)
	require.Equal(t, []string{"head", "a", "filling"}, names(t, h))
}

func TestSizesAreWholeClusters(t *testing.T) {
	h := oneHost()
	uuid, err := h.Create(t.Context(), "filling", kib4+1)
	require.NoError(t, err)
	require.EqualValues(t, 2*kib4, look(t, h, uuid).Size)
	_, err = h.Create(t.Context(), "nothing", 0)
	require.ErrorIs(t, err, ports.ErrInvalid)
}

func TestSameSeedDrawsSameUUIDs(t *testing.T) {
	draw := func(name string, seed uint64) []string {
		h := memory.NewFabric().NewHost(memory.Config{Name: name, ClusterSize: kib4, Seed: seed})
		store, err := h.List(t.Context())
		require.NoError(t, err)
		return []string{store.UUID, create(t, h, "a", 1), create(t, h, "b", 1)}
	}
	require.Equal(t, draw("disk-1", 7), draw("disk-1", 7))
	require.NotEqual(t, draw("disk-1", 7), draw("disk-2", 7))
	require.NotEqual(t, draw("disk-1", 7), draw("disk-1", 8))
	require.NotEqual(t, draw("disk-1", 0), draw("disk-1", 0))
	require.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, draw("disk-1", 0)[0])
}

func TestUpstreamKeepsNoAttributes(t *testing.T) {
	h := memory.NewFabric().NewHost(memory.Config{Name: "disk-1", Flavour: memory.Upstream})
	store, err := h.List(t.Context())
	require.NoError(t, err)
	require.Equal(t, 63, store.NameLimit)
	require.False(t, store.Proves || store.Records)
	a, err := h.Snapshot(t.Context(), create(t, h, "head", 256), "a", morning)
	require.NoError(t, err)
	require.Equal(t, domain.Attributes{}, look(t, h, a).Attributes)
}

func TestViewIsASnapshotInTime(t *testing.T) {
	h := oneHost()
	l := create(t, h, "head", 2)
	fill(t, h, l, 1, 0)
	want, err := h.ViewSHA256(l)
	require.NoError(t, err)
	r, size, err := h.View(l)
	require.NoError(t, err)
	require.EqualValues(t, 2*kib4, size)
	fill(t, h, l, 2, 0, 1)
	require.NoError(t, h.Delete(t.Context(), l))
	require.Equal(t, want, sha256Of(t, r))
}
