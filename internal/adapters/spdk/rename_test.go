package spdk

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/ports"
)

const asideName = "vol-1-r-0a1b2c3d-rebuilding-0badcafe"

// renamedSnapshot is a snapshot with two clones, so that the target writes a new name only
// when somebody opens it.
func renamedSnapshot(t *testing.T, target *targettest.Target, h *Host) (uuid string) {
	t.Helper()
	uuid = snapshotOf(t, target, h, "vol-1-r-0a1b2c3d-snap-a", 2, 1)
	for _, name := range []string{"vol-1-r-0a1b2c3d", "vol-2-r-0a1b2c3d"} {
		_, err := h.Clone(t.Context(), uuid, name, 2*cluster, "")
		require.NoError(t, err)
	}
	return uuid
}

// A call that ends between the rename and the clone leaves a name that a crash of the target
// takes back. The next call finds that the lvol has the name, and has it written all the same.
func TestRepeatedRenameWritesTheName(t *testing.T) {
	target := targettest.Simulate(t, simtarget.NewFabric(), simtarget.Fork)
	h := openNew(t, target, 16)
	uuid := renamedSnapshot(t, target, h)
	target.Simulated().Inject(func(r simtarget.Request) simtarget.Fault {
		if r.Method == "bdev_lvol_clone" {
			return simtarget.Fault{Before: simtarget.Close}
		}
		return simtarget.Fault{}
	})
	require.ErrorIs(t, h.Rename(t.Context(), uuid, asideName), ports.ErrUnavailable)
	target.Simulated().Inject(nil)
	require.Contains(t, lvolNames(t, h), asideName)

	require.NoError(t, h.Rename(t.Context(), uuid, asideName))
	snapshotOf(t, target, h, "vol-1-r-0a1b2c3d-snap-a", 2, 1)
	before := lvolNames(t, h)
	require.Len(t, before, 4)
	target.Restart(t)
	require.ElementsMatch(t, before, lvolNames(t, h))
}

// Upstream SPDK would change the alias and then refuse.
func TestSnapshotOfUpstreamIsNotRenamed(t *testing.T) {
	target := targettest.Simulate(t, simtarget.NewFabric(), simtarget.Upstream)
	h := openNew(t, target, 16)
	uuid := renamedSnapshot(t, target, h)
	asked := 0
	target.Simulated().Inject(func(r simtarget.Request) simtarget.Fault {
		if r.Method == "bdev_lvol_rename" {
			asked++
		}
		return simtarget.Fault{}
	})
	require.ErrorIs(t, h.Rename(t.Context(), uuid, "vol-1-r-0a1b2c3d-snap-b"), ports.ErrUnsupported)
	require.Zero(t, asked)
}

// Another program has asked upstream SPDK to rename a snapshot. A rename to the name that is
// listed gives it its alias back.
func TestRenameRestoresAlias(t *testing.T) {
	target := targettest.Simulate(t, simtarget.NewFabric(), simtarget.Upstream)
	h := openNew(t, target, 16)
	const name = "vol-1-r-0a1b2c3d-snap-a"
	uuid := renamedSnapshot(t, target, h)
	require.Error(t, target.Try("bdev_lvol_rename", map[string]string{"old_name": uuid, "new_name": "other"}, nil))
	_, err := h.store.Find(t.Context(), h.store.Alias(name))
	require.ErrorIs(t, err, ports.ErrNotFound)
	require.NoError(t, h.Rename(t.Context(), uuid, name))
	_, err = h.store.Find(t.Context(), h.store.Alias(name))
	require.NoError(t, err)
}
