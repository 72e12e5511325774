package simtarget_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
)

// What limits the disk under a store holds copies into its lvols back, all together.
func TestALimitOfTheDiskHoldsCopiesIntoItsLvolsBack(t *testing.T) {
	const clusters, copies, mibSecond = 4, 2, 20
	target := targettest.Simulate(t, simtarget.NewFabric(), simtarget.Fork)
	from, to := target.NewStore(t, 32), target.NewStore(t, 32)
	create := func(store, name string) (uuid string) {
		target.Call(t, "bdev_lvol_create", map[string]any{"lvs_name": store, "lvol_name": name, "size_in_mib": clusters, "thin_provision": true}, &uuid)
		return uuid
	}
	target.LimitWrites(t, to, mibSecond)
	began := time.Now()
	var under []uint32
	for _, name := range []string{"a", "b"} {
		source := create(from, name)
		target.Write(t, source, make([]byte, clusters*targettest.ClusterSize), 0)
		var snapshot string
		target.Call(t, "bdev_lvol_snapshot", map[string]any{"lvol_name": source, "snapshot_name": name + "-snap"}, &snapshot)
		var started struct {
			OperationID uint32 `json:"operation_id"`
		}
		target.Call(t, "bdev_lvol_start_shallow_copy", map[string]any{"src_lvol_name": snapshot, "dst_bdev_name": create(to, name)}, &started)
		under = append(under, started.OperationID)
	}
	for _, id := range under {
		require.Eventually(t, func() bool {
			var status struct{ State string }
			target.Call(t, "bdev_lvol_check_shallow_copy", map[string]any{"operation_id": id}, &status)
			return status.State == "complete"
		}, 30*time.Second, 5*time.Millisecond)
	}
	// The first cluster does not wait.
	require.GreaterOrEqual(t, time.Since(began), (copies*clusters-1)*time.Second/mibSecond)
}
