package spdk

import (
	"encoding/base64"
	"testing"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"
	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
)

func mapOf(clusters, own uint64, bits ...byte) *proof {
	return &proof{uuid: "u", fragmap: &rpc.CallOf[spdktypes.BdevLvolFragmap]{Result: spdktypes.BdevLvolFragmap{
		NumClusters: clusters, NumAllocatedClusters: own, Fragmap: base64.StdEncoding.EncodeToString(bits),
	}}}
}

// A map that cannot be right proves nothing.
func TestInconsistentFragmapIsRefused(t *testing.T) {
	garbled := mapOf(8, 1, 1)
	garbled.fragmap.Result.Fragmap += "!" // what is decoded of it has the right count
	for name, p := range map[string]*proof{
		"not base64":                      garbled,
		"fewer clusters than are counted": mapOf(8, 2, 1),
		"more clusters than are counted":  mapOf(8, 1, 3),
		"too short for its clusters":      mapOf(16, 2, 1),
		"clusters beyond the lvol's end":  mapOf(4, 2, 1|1<<4),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := p.bitmap()
			require.ErrorIs(t, err, ports.ErrUnavailable)
			require.ErrorContains(t, err, "the map of lvol u")
		})
	}
}

// What stands beyond the last cluster is nobody's.
func TestEqualFragmapsHaveEqualDigests(t *testing.T) {
	digest := func(p *proof) string {
		t.Helper()
		text, err := p.bitmap()
		require.NoError(t, err)
		return text
	}
	five := digest(mapOf(5, 2, 1|1<<4))
	require.Equal(t, five, digest(mapOf(5, 2, 1|1<<4|1<<5|1<<7)), "spare bits")
	require.Equal(t, five, digest(mapOf(5, 2, 1|1<<4, 255)), "spare bytes")
	require.Equal(t, digest(mapOf(16, 1, 1, 0)), digest(mapOf(16, 1, 1)), "zeros at the end")
	for name, other := range map[string]*proof{
		"another place":  mapOf(5, 2, 1|1<<3),
		"another length": mapOf(6, 2, 1|1<<4),
		"the last one":   mapOf(5, 2, 1|1<<1),
	} {
		require.NotEqual(t, five, digest(other), name)
	}
	require.NotEqual(t, digest(mapOf(9, 1, 0, 1)), digest(mapOf(9, 1, 1, 0)))
}
