package spdk

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
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
			require.NoError(t, rpc.LimitBdev(into, 1).Do(t.Context(), h.store.Client))
			_, err := rpc.StartShallowCopy(source, into).Do(t.Context(), h.store.Client)
			require.NoError(t, err)
			require.ErrorIs(t, h.Merge(t.Context(), a), ports.ErrBusy)
			for _, uuid := range []string{a, b} {
				_, err := h.Look(t.Context(), uuid)
				require.NoError(t, err, "refused, and yet it is gone")
			}
			// Lifted, the copy ends, and what was busy merges.
			require.NoError(t, rpc.LimitBdev(into, 0).Do(t.Context(), h.store.Client))
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

// notMergedIntoDamage: an lvol that takes over an extent page of a shorter snapshot is
// lost when its target starts again (see survivesMerge). What does merge is there then.
func notMergedIntoDamage(t *testing.T, p *pair) {
	const page = clustersPerPage
	h := openNew(t, p.from, 64)
	merged := make(map[string]domain.Lvol) // by UUID
	write := func(uuid string, clusters ...uint64) {
		for _, i := range clusters {
			p.from.Write(t, uuid, bytes.Repeat([]byte{'A'}, targettest.ClusterSize), i*targettest.ClusterSize)
		}
	}
	for i, test := range []struct {
		snapshot, head   uint64   // their clusters
		filled, own      []uint64 // which each owns
		refused, unknown bool     // the latter: without a map
	}{
		{100, page + 1, []uint64{0}, []uint64{page}, true, true},
		{100, page + 1, []uint64{0}, []uint64{99, page}, false, false},
		{100, page + 1, nil, []uint64{page}, true, true},
		{100, 100, []uint64{0}, nil, false, false},
		{page, page + 1, []uint64{0}, []uint64{page}, false, false},
		{page + 100, 2*page + 1, []uint64{page}, []uint64{0, 2 * page}, true, true},
		{page + 100, 2*page + 1, []uint64{0}, []uint64{0, 2 * page}, true, true},
		{page + 100, 2*page + 1, []uint64{page}, []uint64{page + 100, 2 * page}, false, true},
	} {
		volume := fmt.Sprint("vol-", i)
		filled := create(t, h, domain.InFlightLvolName(volume, newID()), test.snapshot)
		write(filled, test.filled...)
		snapshot, err := h.Seal(t.Context(), filled, domain.SnapshotLvolName(volume, "s"), ports.SealRecord{})
		require.NoError(t, err)
		head, err := h.Clone(t.Context(), snapshot, volume, test.head*targettest.ClusterSize, "none")
		require.NoError(t, err)
		write(head, test.own...)
		before, err := h.List(t.Context())
		require.NoError(t, err)
		err = h.Merge(t.Context(), snapshot)
		if test.refused || test.unknown && !h.store.Can.Proves {
			require.ErrorIs(t, err, ports.ErrInvalid, volume)
			require.ErrorContains(t, err, volume+", which it would merge into")
			after, err := h.List(t.Context())
			require.NoError(t, err)
			require.Equal(t, before, after)
			continue
		}
		require.NoError(t, err, volume)
		l, err := h.Look(t.Context(), head)
		require.NoError(t, err)
		require.Equal(t, test.head*targettest.ClusterSize, l.Size)
		merged[head] = l
	}
	require.NotEmpty(t, merged)
	p.from.Restart(t)
	for uuid, was := range merged {
		is, err := h.Look(t.Context(), uuid)
		require.NoError(t, err, was.Name)
		require.Equal(t, was, is)
	}
}
