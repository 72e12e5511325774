package spdk

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

func TestHelperNamesAreInFlight(t *testing.T) {
	l := &lvols{Lvstore: &rpc.Lvstore{UUID: "0000"}}
	require.Regexp(t, `^vol-1-r-4e5f6a7b-rebuilding-[0-9a-f]{8}$`, l.helperName("vol-1-r-4e5f6a7b-snap-a"))
	require.Regexp(t, `^bi-rebuilding-[0-9a-f]{8}$`, l.helperName(domain.ImageLvolName("base", "0000")))
	require.Regexp(t, `^bi-rebuilding-[0-9a-f]{8}$`, l.helperName("bi-rebuilding-00000001"))
	require.Regexp(t, `^bi-vol-rebuilding-[0-9a-f]{8}$`, l.helperName("bi-vol"), "a replica may be called so")
	require.Regexp(t, `^vol-9-r-4e5f6a7b-rebuilding-[0-9a-f]{8}$`, l.helperName("vol-9-r-4e5f6a7b-clone-ep-a"))
	require.NotEqual(t, l.helperName("vol-1"), l.helperName("vol-1"))
}

func TestSizesInMebibytes(t *testing.T) {
	l := &lvols{Lvstore: &rpc.Lvstore{ClusterSize: 1 << 20}}
	for size, want := range map[uint64]uint64{1: 1, 1 << 20: 1, 1<<20 + 1: 2} {
		mib, err := l.mebibytes(size)
		require.NoError(t, err)
		require.Equal(t, want, mib)
	}
	_, err := l.mebibytes(0)
	require.ErrorIs(t, err, ports.ErrInvalid)
	l.ClusterSize = 64 << 10
	_, err = l.mebibytes(3 << 19)
	require.ErrorIs(t, err, ports.ErrInvalid, "1.5 MiB of small clusters would become 2")
	mib, err := l.mebibytes(2 << 20)
	require.NoError(t, err)
	require.EqualValues(t, 2, mib)
}
