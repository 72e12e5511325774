package spdk

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// A target that has restarted, and not loaded its disk yet, answers "No such device" to
// each get_xattr. That is not "nothing recorded": a rebuild would seal the copies without
// what is recorded, and the attributes of a snapshot cannot be set later.
func TestUnloadedLvolIsNotUnrecorded(t *testing.T) {
	noSuchDevice := &simtarget.Error{Code: -19, Message: "No such device"}
	target := targettest.Simulate(t, simtarget.NewFabric(), simtarget.Fork)
	h := openNew(t, target, 16)
	ctx := t.Context()
	l := create(t, h, "vol-1-rebuilding-00000001", 2)
	snapshot, err := h.Seal(ctx, l, "vol-1-snap-a", ports.SealRecord{Attributes: domain.Attributes{CreatedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), UserCreated: true}})
	require.NoError(t, err)
	image, err := h.Seal(ctx, create(t, h, "bi-rebuilding-00000002", 2), domain.ImageLvolName("base", h.store.UUID), ports.SealRecord{Image: &domain.ImageRecord{UUID: "u", Checksum: "sha"}})
	require.NoError(t, err)
	head, err := h.Clone(ctx, snapshot, "vol-1", 2*cluster, "base")
	require.NoError(t, err)

	for _, uuid := range []string{snapshot, image, head} {
		t.Run(uuid, func(t *testing.T) {
			fresh := open(t, target.Socket, h.store.Name) // knows nothing yet
			target.Simulated().Inject(func(r simtarget.Request) simtarget.Fault {
				if r.Method == "bdev_lvol_get_xattr" {
					return simtarget.Fault{Refuse: noSuchDevice}
				}
				return simtarget.Fault{}
			})
			_, err := fresh.List(ctx)
			require.ErrorIs(t, err, ports.ErrUnavailable)
			require.ErrorContains(t, err, "is listed, and yet not found")
			_, err = fresh.Look(ctx, uuid)
			require.ErrorIs(t, err, ports.ErrUnavailable)

			target.Simulated().Inject(nil)
			store, err := fresh.List(ctx)
			require.NoError(t, err)
			for _, listed := range store.Lvols {
				known, err := h.Look(ctx, listed.UUID)
				require.NoError(t, err)
				require.Equal(t, known, listed, "nothing was remembered of the time when it was not known")
			}
		})
	}
}

// An lvol that has gone between a listing and the question what is recorded of it is left
// out; where it has clones, another look is needed.
func TestListLeavesOutDeletedLvols(t *testing.T) {
	h := openNew(t, targettest.Simulate(t, simtarget.NewFabric(), simtarget.Fork), 16)
	ctx := t.Context()
	create(t, h, "vol-1", 1)
	store, err := h.List(ctx)
	require.NoError(t, err)
	there := store.Lvols[0]
	gone := domain.Lvol{UUID: "00000000-0000-4000-8000-000000000000", Name: "vol-2-snap-a", Size: cluster, ReadOnly: true}

	store.Lvols = []domain.Lvol{gone, there}
	require.NoError(t, h.view.addRecorded(ctx, &store, nil))
	require.Equal(t, []domain.Lvol{there}, store.Lvols)

	child := there
	child.Parent = gone.UUID
	store.Lvols = []domain.Lvol{gone, child}
	require.ErrorIs(t, h.view.addRecorded(ctx, &store, nil), errDisagree)
}

// Longhorn's engine makes entry points without xattrs.
func TestEntryPointGetsNoXattrs(t *testing.T) {
	target := targettest.Simulate(t, simtarget.NewFabric(), simtarget.Fork)
	h := openNew(t, target, 16)
	snapshot := snapshotOf(t, target, h, "vol-9-r-0a1b2c3d-snap-daily", 2, 1)
	l := create(t, h, "vol-1-r-0a1b2c3d-rebuilding-00000001", 2)
	require.NoError(t, h.Graft(t.Context(), l, snapshot))
	entryPoint, err := h.Seal(t.Context(), l, domain.EntryPointLvolName("vol-9-r-0a1b2c3d", "daily"), ports.SealRecord{})
	require.NoError(t, err)
	for _, key := range recordedXattrs {
		require.Error(t, target.Try("bdev_lvol_get_xattr", map[string]any{"name": entryPoint, "xattr_name": key}, nil), "%s", key)
	}
}
