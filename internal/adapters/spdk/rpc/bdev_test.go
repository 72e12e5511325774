package rpc

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/ports"
)

// A head of which a target did not tell that it has clusters would be taken for an empty
// one, and what was written into it would be missing from every copy.
func TestMissingClusterCountIsRefused(t *testing.T) {
	s := &Lvstore{UUID: "store", Name: "disk-1"}
	for fields, want := range map[string]uint64{`"num_allocated_clusters": 0, `: 0, `"num_allocated_clusters": 3, `: 3, "": 0} {
		look := GetBdev("u")
		require.NoError(t, json.Unmarshal([]byte(`[{"name": "u", "uuid": "u", "aliases": ["disk-1/vol-1-r-0a1b2c3d"], "driver_specific": {"lvol": {`+fields+`"lvol_store_uuid": "store"}}}]`), &look.Result))
		b, err := s.Found(look, "u")
		if fields == "" {
			require.ErrorIs(t, err, ports.ErrUnsupported)
			require.ErrorContains(t, err, "does not tell how many clusters lvol vol-1-r-0a1b2c3d has of its own")
			continue
		}
		require.NoError(t, err)
		require.Equal(t, want, b.Own())
	}
}
