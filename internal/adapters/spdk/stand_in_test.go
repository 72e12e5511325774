package spdk

import (
	"encoding/json"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// A clone under an in-flight name takes a helper where it grows. Whatever a crash
// leaves of it is the replica's own: an engine of 2025 showed a phantom replica
// that was named after an lvol in flight.
func TestHelperOfInFlightCloneHasReplicasName(t *testing.T) {
	for _, flavour := range []simtarget.Flavour{simtarget.Fork, simtarget.Upstream} {
		t.Run(flavour.String(), func(t *testing.T) {
			target := targettest.Simulate(t, simtarget.NewFabric(), flavour)
			h := openNew(t, target, 16)
			below, err := h.Seal(t.Context(), create(t, h, domain.InFlightLvolName("vol-1", "00000001"), 2), domain.SnapshotLvolName("vol-1", "a"), ports.SealRecord{})
			require.NoError(t, err)
			names := recordNames(target)
			standIn := domain.InFlightLvolName("vol-1", "0badcafe")
			_, err = h.Clone(t.Context(), below, standIn, 4*cluster, "base")
			require.NoError(t, err)
			named := names()
			require.Contains(t, named, standIn)
			require.Greater(t, len(named), 1, "it takes a helper")
			for _, name := range named {
				replica, ok := domain.ReplicaInFlight(name)
				require.True(t, ok, name)
				require.Equal(t, "vol-1", replica, name)
			}
		})
	}
}

// recordNames tells which names lvols have been given since.
func recordNames(target *targettest.Target) func() []string {
	var mu sync.Mutex
	var named []string
	record := func(params map[string]any) {
		mu.Lock()
		defer mu.Unlock()
		for _, field := range []string{"clone_name", "new_name", "lvol_name"} {
			if name, ok := params[field].(string); ok {
				named = append(named, name)
			}
		}
	}
	target.Simulated().Inject(func(r simtarget.Request) simtarget.Fault {
		var params map[string]any
		if json.Unmarshal(r.Params, &params) == nil {
			record(params)
		}
		return simtarget.Fault{}
	})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(named)
	}
}
