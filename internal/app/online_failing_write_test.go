package app_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"

	"github.com/rootgraft/rebuild/internal/adapters/freezer"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/raid"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/app"
)

// TestWriteFailsBeforeCut has the last write before the freeze fail on one member, which its RAID
// drops after the freeze.
func TestWriteFailsBeforeCut(t *testing.T) {
	t.Parallel()
	for _, flavour := range []simtarget.Flavour{simtarget.Fork, simtarget.Upstream} {
		t.Run(flavour.String(), func(t *testing.T) {
			t.Parallel()
			fabric := simtarget.NewFabric()
			v := newVolumeOnTargets(t, func(t *testing.T) *targettest.Target { return targettest.Simulate(t, fabric, flavour) })
			vol, err := v.mirror.Volume(t.Context())
			require.NoError(t, err)
			// This process did not add the member, so it does not know of its I/O so far.
			mirror, err := raid.OpenMirror(t.Context(), raid.MirrorConfig{Socket: v.targets[0].Socket, RAID: vol.Name, Logger: zaptest.NewLogger(t)})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, mirror.Close()) })
			v.mirror = mirror
			r := v.request()
			require.Len(t, r.MoreSources, 1)
			r.Source, r.MoreSources = r.MoreSources[0], []app.Site{r.Source}
			freezes := 0
			home := v.targets[0].Simulated()
			r.Freezer = freezer.Func(func(ctx context.Context) error {
				if freezes++; freezes == 1 {
					home.HoldDrops(true)
					v.failWrite()
				}
				return mirror.Suspend(ctx)
			}, func(ctx context.Context) error {
				home.HoldDrops(false)
				return mirror.Resume(ctx)
			})
			_, err = app.New(nil).RebuildOnline(t.Context(), r)
			require.NoError(t, err)
			require.Greater(t, freezes, 2, "the volume was cut again")
			got := make([]byte, len(v.want))
			for range 4 {
				require.NoError(t, v.client.Read(t.Context(), got, 0))
				require.True(t, bytes.Equal(v.want, got))
			}
		})
	}
}

// failWrite has a write fail on the second member only, whose store is full for a moment.
func (v *volumeOnTargets) failWrite() {
	const at = 7 * targettest.ClusterSize
	_, store := v.hosts[1].Identity()
	var stores []struct {
		Free uint64 `json:"free_clusters"`
	}
	target := v.targets[1]
	target.Call(v.t, "bdev_lvol_get_lvstores", map[string]any{"lvs_name": store}, &stores)
	target.Call(v.t, "bdev_lvol_create", map[string]any{
		"lvs_name": store, "lvol_name": "thick", "size_in_mib": stores[0].Free * targettest.ClusterSize >> 20, "thin_provision": false,
	}, nil)
	page := v.want[at : at+4096]
	copy(page, bytes.Repeat([]byte{77}, len(page)))
	require.NoError(v.t, v.client.Write(v.t.Context(), page, at))
	target.Call(v.t, "bdev_lvol_delete", map[string]any{"name": store + "/thick"}, nil)
}
