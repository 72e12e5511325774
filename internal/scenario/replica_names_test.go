package scenario_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/scenario"
)

func TestReplicaNames(t *testing.T) {
	const file = `
apiVersion: rebuild/v1
volume: {name: vol-1, size: 1MiB}
source: {replica: vol-1-r-0a1b2c3d, snapshots: [{name: s1}]}
destination: {replica: vol-1-r-4e5f6a7b}
`
	built := func(text string) *scenario.World {
		s, err := scenario.ParseBytes("f.yaml", "", []byte(text))
		require.NoError(t, err)
		w, err := s.Build()
		require.NoError(t, err)
		return w
	}
	w := built(file)
	require.Equal(t, "vol-1-r-0a1b2c3d", w.SourceReplica)
	require.Equal(t, "vol-1-r-4e5f6a7b", w.DestinationReplica)

	w = built(strings.Replace(file, "destination: {replica: vol-1-r-4e5f6a7b}\n", "", 1))
	require.Equal(t, "vol-1-r-0a1b2c3d", w.SourceReplica)
	require.Equal(t, "vol-1-r-2", w.DestinationReplica)

	_, err := scenario.ParseBytes("f.yaml", "", []byte(strings.Replace(file, "vol-1-r-4e5f6a7b", "vol-1-rebuilding", 1)))
	require.ErrorContains(t, err, `f.yaml:5: destination.replica: replica name "vol-1-rebuilding"`)
}
