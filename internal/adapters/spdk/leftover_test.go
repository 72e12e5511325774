package spdk

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/ports"
)

// A snapshot is cloned before it is deleted, to find out whether it is busy. Where
// the clone could not be removed it was in the way when the delete was asked for
// again: "it has 1 clones".
func TestNextVerbRemovesLeftHelper(t *testing.T) {
	for _, flavour := range []simtarget.Flavour{simtarget.Fork, simtarget.Upstream} {
		t.Run(flavour.String(), func(t *testing.T) {
			target := targettest.Simulate(t, simtarget.NewFabric(), flavour)
			h := openNew(t, target, 16)
			snapshot, err := h.Seal(t.Context(), create(t, h, "vol-1-rebuilding-00000001", 2), "vol-1-snap-a", ports.SealRecord{})
			require.NoError(t, err)
			var asked atomic.Int64
			target.Simulated().Inject(func(r simtarget.Request) simtarget.Fault {
				if r.Method == "bdev_lvol_delete" && asked.Add(1) <= 2 {
					return simtarget.Fault{Before: simtarget.Close}
				}
				return simtarget.Fault{}
			})
			require.ErrorIs(t, h.Delete(t.Context(), snapshot), ports.ErrUnavailable)
			store, err := h.List(t.Context())
			require.NoError(t, err)
			require.Len(t, store.Lvols, 2, "the helper is there")
			require.NoError(t, h.Delete(t.Context(), snapshot))
			store, err = h.List(t.Context())
			require.NoError(t, err)
			require.Empty(t, store.Lvols)
		})
	}
}

// The end of a run removes them, too.
func TestReleaseRemovesLeftHelper(t *testing.T) {
	target := targettest.Simulate(t, simtarget.NewFabric(), simtarget.Fork)
	h := openNew(t, target, 16)
	snapshot, err := h.Seal(t.Context(), create(t, h, "vol-1-rebuilding-00000001", 2), "vol-1-snap-a", ports.SealRecord{})
	require.NoError(t, err)
	var asked atomic.Int64
	target.Simulated().Inject(func(r simtarget.Request) simtarget.Fault {
		if r.Method == "bdev_lvol_delete" && asked.Add(1) <= 2 {
			return simtarget.Fault{Before: simtarget.Close}
		}
		return simtarget.Fault{}
	})
	require.Error(t, h.Delete(t.Context(), snapshot))
	require.NoError(t, h.Release(t.Context(), ports.Run{Replica: "vol-1", ID: "00000001"}))
	store, err := h.List(t.Context())
	require.NoError(t, err)
	require.Len(t, store.Lvols, 1)
	require.Equal(t, snapshot, store.Lvols[0].UUID)
}

// An attach that took effect and was not answered stayed after the run's release,
// where no copy came after it.
func TestReleaseEndsUnansweredAttach(t *testing.T) {
	for _, again := range []bool{false, true} {
		attachUnanswered(t, again)
	}
}

func attachUnanswered(t *testing.T, again bool) {
	t.Helper()
	fabric := simtarget.NewFabric()
	from, to := targettest.Simulate(t, fabric, simtarget.Fork), targettest.Simulate(t, fabric, simtarget.Fork)
	source, destination := openNew(t, from, 16), openNew(t, to, 16)
	snapshot, err := source.Seal(t.Context(), create(t, source, "vol-1-rebuilding-00000001", 2), "vol-1-snap-a", ports.SealRecord{})
	require.NoError(t, err)
	run := ports.Run{Replica: "vol-1-r-4e5f6a7b", ID: "00000001"}
	require.NoError(t, source.Release(t.Context(), run)) // what there was before the run
	require.NoError(t, destination.Release(t.Context(), run))
	peer, err := source.Peer(t.Context())
	require.NoError(t, err)
	address, err := destination.Receive(t.Context(), run, create(t, destination, "vol-1-r-4e5f6a7b-rebuilding-00000002", 2), peer)
	require.NoError(t, err)
	from.Simulated().Inject(func(r simtarget.Request) simtarget.Fault {
		if r.Method == "bdev_nvme_attach_controller" && r.N == 1 {
			return simtarget.Fault{After: simtarget.Close}
		}
		return simtarget.Fault{}
	})
	require.ErrorIs(t, source.Copy(t.Context(), run, snapshot, address, nil), ports.ErrUnavailable)
	opened, err := source.Opened(t.Context())
	require.NoError(t, err)
	require.Len(t, opened, 1)
	if again {
		require.NoError(t, source.Copy(t.Context(), run, snapshot, address, nil), "the next copy goes")
	}
	require.NoError(t, source.Release(t.Context(), run))
	opened, err = source.Opened(t.Context())
	require.NoError(t, err)
	require.Empty(t, opened)
}

// The answer to the rename that gives a clone its name was lost, and the clone, a
// head by then, was taken for a helper that is left over.
func TestCloneStaysAfterUnansweredRename(t *testing.T) {
	target := targettest.Simulate(t, simtarget.NewFabric(), simtarget.Fork)
	h := openNew(t, target, 16)
	snapshot, err := h.Seal(t.Context(), create(t, h, "vol-1-rebuilding-00000001", 2), "vol-1-snap-a", ports.SealRecord{})
	require.NoError(t, err)
	target.Simulated().Inject(func(r simtarget.Request) simtarget.Fault {
		if r.Method == "bdev_lvol_rename" && r.N == 1 {
			return simtarget.Fault{After: simtarget.Close}
		}
		return simtarget.Fault{}
	})
	_, err = h.Clone(t.Context(), snapshot, "vol-1", 2*cluster, "base")
	require.ErrorIs(t, err, ports.ErrUnavailable)
	require.NoError(t, h.Release(t.Context(), ports.Run{Replica: "vol-1", ID: "00000001"}))
	store, err := h.List(t.Context())
	require.NoError(t, err)
	require.Len(t, store.Lvols, 2)
	require.Equal(t, "vol-1", store.Lvols[1].Name)
	require.Equal(t, "base", store.Lvols[1].Record)
}

// Rebuilds of several volumes share a host and an image, and are often equally long. One
// would have hung its lvol on a helper that bears the other's name.
func TestGraftUsesSpacerOfItsReplica(t *testing.T) {
	target := targettest.Simulate(t, simtarget.NewFabric(), simtarget.Fork)
	h := openNew(t, target, 16)
	ctx := t.Context()
	image := snapshotOf(t, target, h, "base", 1, 1)
	theirs := ports.Run{Replica: "vol-2-r-0a1b2c3d", ID: "0badcafe"}
	require.NoError(t, h.PrepareGraft(ctx, theirs, 2*cluster, image))
	before := lvolNames(t, h)
	require.Len(t, before, 3)

	for _, host := range []*Host{h, open(t, target.Socket, h.store.Name)} { // one that has made it, one that has not
		l := create(t, h, "vol-1-rebuilding-00000001", 2)
		require.NoError(t, host.Graft(ctx, l, image))
		require.NoError(t, h.Delete(ctx, l))
		require.Equal(t, before, lvolNames(t, h))
	}
	l := create(t, h, "vol-2-r-0a1b2c3d-rebuilding-00000001", 2)
	require.NoError(t, h.Graft(ctx, l, image))
	require.Equal(t, []string{"base", "vol-2-r-0a1b2c3d-rebuilding-00000001"}, lvolNames(t, h))
}
