package raid_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/freezer"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// failWrite has one write fail on the last member only: its store is full for a moment. The RAID
// does not drop that member before drops are released.
func (v *volume) failWrite(t *testing.T, home *targettest.Target) {
	t.Helper()
	last := len(v.hosts) - 1
	_, store := v.hosts[last].Identity()
	var stores []struct {
		Free uint64 `json:"free_clusters"`
	}
	home.Call(t, "bdev_lvol_get_lvstores", map[string]any{"lvs_name": store}, &stores)
	home.Call(t, "bdev_lvol_create", map[string]any{
		"lvs_name": store, "lvol_name": "thick", "size_in_mib": stores[0].Free * cluster >> 20, "thin_provision": false,
	}, nil)
	home.Simulated().HoldDrops(true)
	v.write(t, (clusters-1)*cluster, 4096) // a new cluster
	home.Call(t, "bdev_lvol_delete", map[string]any{"name": store + "/thick"}, nil)
}

// TestWriteFailsBeforeFreeze has a write fail on a member that the RAID still lists in the freeze.
func TestWriteFailsBeforeFreeze(t *testing.T) {
	t.Parallel()
	for _, flavour := range []simtarget.Flavour{simtarget.Fork, simtarget.Upstream} {
		t.Run(flavour.String(), func(t *testing.T) {
			t.Parallel()
			fabric := simtarget.NewFabric()
			home, to := targettest.Simulate(t, fabric, flavour), targettest.Simulate(t, fabric, flavour)
			v := newVolume(t, home)
			_, planned := v.members(t)
			_, again := v.members(t)
			require.Equal(t, planned, again)
			failing, _ := planned.Member(v.heads[1])
			b := prepare(t, v, openStore(t, to))
			v.failWrite(t, home)
			err := freezer.Func(v.Suspend, v.Resume).Freeze(t.Context(), time.Minute, func(ctx context.Context) error {
				whole, now := v.members(t)
				require.Equal(t, v.heads, whole, "the RAID has not dropped it")
				kept, _ := planned.Member(v.heads[0])
				require.NoError(t, now.CheckKept(kept))
				require.ErrorContains(t, now.CheckKept(failing), "an I/O to "+failing.Name+" failed")
				if flavour == simtarget.Upstream {
					b.graft(t, v)
					_, err := v.Join(ctx, b.run, b.way)
					require.ErrorIs(t, err, ports.ErrUnavailable, "it would come back")
					require.ErrorContains(t, err, failing.Name)
				}
				return nil
			})
			require.NoError(t, err)
			home.Simulated().HoldDrops(false)
			_, now := v.members(t)
			lost, _ := now.Member(failing.Head)
			require.Equal(t, domain.ModeERR, lost.Mode)
			require.Error(t, now.CheckKept(failing))
			v.reads(t)
			if flavour == simtarget.Upstream {
				_, err := v.Join(t.Context(), b.run, b.way)
				require.NoError(t, err)
				v.reads(t)
			}
		})
	}
}
