package spdk

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// notMergedWhileCopied: a target that is asked to merge what somebody else
// copies answers "busy", and hides the snapshot until it is restarted, also
// where it is the clone that is being copied.
func notMergedWhileCopied(t *testing.T, p *pair) {
	for _, copied := range []string{"the snapshot", "what hangs on it"} {
		t.Run(copied, func(t *testing.T) {
			h := openNew(t, p.from, 64)
			snapshot := func(id, name string) string {
				uuid := create(t, h, domain.InFlightLvolName("vol-1", id), 8)
				p.from.Write(t, uuid, make([]byte, 8*cluster), 0)
				sealed, err := h.Seal(t.Context(), uuid, domain.SnapshotLvolName("vol-1", name), ports.SealRecord{})
				require.NoError(t, err)
				return sealed
			}
			a, b := snapshot("00000001", "a"), snapshot("00000002", "b")
			require.NoError(t, h.Graft(t.Context(), b, a))
			source := map[string]string{"the snapshot": a, "what hangs on it": b}[copied]
			into := create(t, h, domain.InFlightLvolName("vol-1", "00000003"), 8)
			// So slowly that it goes on all the while.
			limit := func(rate int) *call {
				return newCall("bdev_set_qos_limit", map[string]any{"name": into, "rw_mbytes_per_sec": rate}, nil)
			}
			slow, start := limit(1), newCall("bdev_lvol_start_shallow_copy", map[string]any{"src_lvol_name": source, "dst_bdev_name": into}, nil)
			h.rpc.do(t.Context(), slow)
			h.rpc.do(t.Context(), start)
			require.NoError(t, errors.Join(slow.err, start.err))
			require.ErrorIs(t, h.Merge(t.Context(), a), ports.ErrBusy)
			for _, uuid := range []string{a, b} {
				_, err := h.Look(t.Context(), uuid)
				require.NoError(t, err, "refused, and yet it is gone")
			}
			// Lifted, the copy ends, and what was busy merges.
			lift := limit(0)
			h.rpc.do(t.Context(), lift)
			require.NoError(t, lift.err)
			for {
				err := h.Merge(t.Context(), a)
				if !errors.Is(err, ports.ErrBusy) {
					require.NoError(t, err)
					break
				}
			}
		})
	}
}
