package spdk

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/ports"
)

// A spacer that is not empty would merge into the lvol that is grafted over it: the
// lvol would have clusters that nobody copied into it.
func TestGraftRefusesWrittenSpacer(t *testing.T) {
	for _, flavour := range []simtarget.Flavour{simtarget.Fork, simtarget.Upstream} {
		t.Run(flavour.String(), func(t *testing.T) {
			target := targettest.Simulate(t, simtarget.NewFabric(), flavour)
			h := openNew(t, target, 16)
			short := snapshotOf(t, target, h, "base", 1, 1)
			l := create(t, h, "vol-1-rebuilding-00000001", 2)
			writeBeforeSnapshot(target) // of the lvol that becomes the spacer
			err := h.Graft(t.Context(), l, short)
			require.ErrorIs(t, err, ports.ErrInvalid)
			require.ErrorContains(t, err, "has 1 clusters of its own")
			target.Simulated().Inject(nil)
			seen, err := h.Look(t.Context(), l)
			require.NoError(t, err)
			require.Zero(t, seen.Own.Count, "nothing was merged into it")
			require.Len(t, lvolNames(t, h), 3, "the spacer stays, with the lvol on it")
		})
	}
}

// A helper is deleted with a clone on it, which no other lvol is. Not if it is not empty,
// or carries more than one.
func TestHelperWithClustersIsNotMerged(t *testing.T) {
	for _, flavour := range []simtarget.Flavour{simtarget.Fork, simtarget.Upstream} {
		t.Run(flavour.String(), func(t *testing.T) {
			target := targettest.Simulate(t, simtarget.NewFabric(), flavour)
			h := openNew(t, target, 32)
			ctx := t.Context()
			clone := func(of, name string) string {
				uuid, err := h.Clone(ctx, of, name, 2*cluster, "")
				require.NoError(t, err)
				return uuid
			}
			filled := snapshotOf(t, target, h, "vol-1-rebuilding-0000000a", 2, 1)
			empty := snapshotOf(t, target, h, "vol-1-rebuilding-0000000b", 2, 0)
			onFilled, onEmpty := clone(filled, "vol-1"), clone(empty, "vol-2")
			require.ErrorIs(t, h.lvols.deleteHelper(ctx, filled), ports.ErrInvalid)
			other := clone(empty, "vol-3")
			asked := 0
			target.Simulated().Inject(func(r simtarget.Request) simtarget.Fault {
				if r.Method == "bdev_lvol_delete" {
					asked++
				}
				return simtarget.Fault{}
			})
			require.ErrorIs(t, h.lvols.deleteHelper(ctx, empty), ports.ErrInvalid)
			target.Simulated().Inject(nil)
			require.Zero(t, asked, "the target is not asked to")
			for uuid, parent := range map[string]string{onFilled: filled, onEmpty: empty, other: empty} {
				l, err := h.Look(ctx, uuid)
				require.NoError(t, err)
				require.Equal(t, parent, l.Parent)
				require.Zero(t, l.Own.Count)
			}
			require.NoError(t, h.Delete(ctx, other))
			require.NoError(t, h.lvols.deleteHelper(ctx, empty))
			l, err := h.Look(ctx, onEmpty)
			require.NoError(t, err)
			require.Empty(t, l.Parent)
			require.NoError(t, h.Delete(ctx, onFilled))
			require.NoError(t, h.lvols.deleteHelper(ctx, filled), "with nothing on it, it merges into nothing")
		})
	}
}

func writeBeforeSnapshot(target *targettest.Target) {
	target.Simulated().Inject(func(r simtarget.Request) simtarget.Fault {
		var params struct {
			Name string `json:"lvol_name"`
		}
		if r.Method == "bdev_lvol_snapshot" && json.Unmarshal(r.Params, &params) == nil {
			_ = target.Simulated().WriteAt(params.Name, bytes.Repeat([]byte{1}, cluster), cluster)
		}
		return simtarget.Fault{}
	})
}
