package spdk

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

func TestAHelperBelongsToTheReplicaOfItsLvol(t *testing.T) {
	for name, c := range map[string]struct {
		lvol    string
		kin     []string
		replica string
	}{
		"a head":                              {"vol-1-r-4e5f6a7b", nil, "vol-1-r-4e5f6a7b"},
		"a snapshot":                          {"vol-1-r-4e5f6a7b-snap-a", nil, "vol-1-r-4e5f6a7b"},
		"what is in flight":                   {"vol-1-r-4e5f6a7b-rebuilding-0badcafe", nil, "vol-1-r-4e5f6a7b"},
		"what Longhorn has in flight":         {"vol-1-r-4e5f6a7b-rebuilding", nil, "vol-1-r-4e5f6a7b"},
		"in flight of an odd replica":         {"vol-1-snap-x-rebuilding-0badcafe", nil, "vol-1-snap-x"},
		"two readings: the shortest":          {"vol-1-snap-x-snap-y", nil, "vol-1"},
		"two readings, and a parent for each": {"vol-1-snap-x-snap-y", []string{"vol-1-snap-a"}, "vol-1"},
		"kin that may be either's":            {"vol-1-snap-x-snap-y", []string{"bi-base-disk-1", "vol-1-snap-x"}, "vol-1"},
		"so does a sibling in flight":         {"vol-1-snap-x-snap-y", []string{"vol-1-snap-x-rebuilding-0badcafe"}, "vol-1-snap-x"},
		"overlapping infixes":                 {"v-snap-snap-x", nil, "v"},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.replica, replicaOf(c.lvol, c.kin...)) })
	}
}

func TestHelpersAreInFlight(t *testing.T) {
	h := &Host{store: &rpc.Lvstore{UUID: "0000"}}
	require.Regexp(t, `^vol-1-r-4e5f6a7b-rebuilding-[0-9a-f]{8}$`, h.helperName("vol-1-r-4e5f6a7b-snap-a"))
	require.Regexp(t, `^bi-rebuilding-[0-9a-f]{8}$`, h.helperName(domain.ImageLvolName("base", "0000")))
	require.Regexp(t, `^bi-rebuilding-[0-9a-f]{8}$`, h.helperName("bi-rebuilding-00000001"))
	require.Regexp(t, `^bi-vol-rebuilding-[0-9a-f]{8}$`, h.helperName("bi-vol"), "a replica may be called so")
	require.NotEqual(t, h.helperName("vol-1"), h.helperName("vol-1"))
}

func TestSizesThatSPDKCanTake(t *testing.T) {
	h := &Host{store: &rpc.Lvstore{ClusterSize: 1 << 20}}
	for size, want := range map[uint64]uint64{1: 1, 1 << 20: 1, 1<<20 + 1: 2} {
		mib, err := h.mebibytes(size)
		require.NoError(t, err)
		require.Equal(t, want, mib)
	}
	_, err := h.mebibytes(0)
	require.ErrorIs(t, err, ports.ErrInvalid)
	h.store.ClusterSize = 64 << 10
	_, err = h.mebibytes(3 << 19)
	require.ErrorIs(t, err, ports.ErrInvalid, "1.5 MiB of small clusters would become 2")
	mib, err := h.mebibytes(2 << 20)
	require.NoError(t, err)
	require.EqualValues(t, 2, mib)
}
