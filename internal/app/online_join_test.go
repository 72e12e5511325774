package app_test

import (
	"context"
	"encoding/json"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/freezer"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/app"
)

// TestFailedJoinIsNotRepeatedInItsFreeze has the RAID refuse the live head. On upstream SPDK each
// attempt deletes and makes it twice, while clients stand still.
func TestFailedJoinIsNotRepeatedInItsFreeze(t *testing.T) {
	t.Parallel()
	for _, flavour := range []simtarget.Flavour{simtarget.Fork, simtarget.Upstream} {
		t.Run(flavour.String(), func(t *testing.T) {
			t.Parallel()
			fabric := simtarget.NewFabric()
			v := newVolumeOnTargets(t, func(t *testing.T) *targettest.Target { return targettest.Simulate(t, fabric, flavour) })
			var mu sync.Mutex
			var joins []int // attempts, by freeze
			v.targets[0].Simulated().Inject(func(r simtarget.Request) simtarget.Fault {
				mu.Lock()
				defer mu.Unlock()
				if len(joins) == 0 || !isJoin(t, r) {
					return simtarget.Fault{}
				}
				joins[len(joins)-1]++
				if len(joins) > 1 {
					return simtarget.Fault{}
				}
				return simtarget.Fault{Refuse: &simtarget.Error{Code: -32603, Message: "Input/output error"}}
			})
			r := v.request()
			r.Freezer = freezer.Func(func(ctx context.Context) error {
				mu.Lock()
				joins = append(joins, 0)
				mu.Unlock()
				return v.mirror.Suspend(ctx)
			}, v.mirror.Resume)
			report, err := app.New(nil).RebuildOnline(t.Context(), r)
			require.NoError(t, err)
			require.Equal(t, []int{1, 1, 0}, joins, "two cuts and the landing")
			require.Len(t, report.Online.Members, 3)
			v.reads()
		})
	}
}

// isJoin reports whether a call has a third base join the RAID.
func isJoin(t *testing.T, r simtarget.Request) bool {
	t.Helper()
	var made struct {
		Bases []string `json:"base_bdevs"`
	}
	if r.Method == "bdev_raid_create" {
		require.NoError(t, json.Unmarshal(r.Params, &made))
	}
	return r.Method == "bdev_raid_grow_base_bdev" || len(made.Bases) == 3
}
