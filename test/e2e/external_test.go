package e2e

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
)

// A replica with an external snapshot (bdev_lvol_clone_bdev) has no parent on its lvstore,
// and not all of its data. It is refused as a source, is a violation in an audit, is named
// in lists, and can be overwritten as a destination.
func TestExternalSnapshots(t *testing.T) {
	onEach(t, within, func(t *testing.T, target, _ *targettest.Target) {
		const outside, to = "vol-1-r-1b2c3d4e", "vol-1-r-2c3d4e5f"
		a, b := newPlace(t, target, storeClusters), newPlace(t, target, storeClusters)
		head := target.CloneExternal(t, a.lvstore, outside, noises(1, volumeClusters))
		target.Write(t, head, noise(2), 0)
		left := b.head(t, to, b.snapshot(t, to, "s1", "", volumeClusters, createdAt(1), map[int]uint64{1: 3}), volumeClusters)
		target.Write(t, left, noise(4), 0)
		before := b.lvolsBut(t)

		r, status := program.startRebuild(t, a.address(outside), b.address(to), "--no-image").result(t)
		require.Equal(t, 1, status)
		require.Equal(t, "refused", r.Outcome)
		require.Contains(t, r.Error, "lvol "+outside+" on lvstore "+a.lvstore+" reads through to external snapshot ")
		require.Equal(t, before, b.lvolsBut(t), "nothing was changed")

		status, object, _ := program.command(t, "audit", a.address(outside), "--no-image")
		require.Equal(t, 1, status, "%v", object)
		tree := program.do(t, "tree", a.address(outside))
		replica := tree["replicas"].([]any)[0].(map[string]any)
		require.Contains(t, replica["head"].(map[string]any)["parent"], "external:")

		// As a destination it is the leftover of another engine's rebuild.
		healthy := b.replica(t, to)
		r, status = program.startRebuild(t, b.address(to), a.address(outside), "--no-image").result(t)
		require.Zero(t, status, "%+v", r)
		require.Contains(t, r.Warnings[0], "reads through to external snapshot")
		rebuilt := a.replica(t, outside)
		require.Empty(t, rebuilt.Head.External)
		require.Len(t, rebuilt.Snapshots, len(b.replica(t, to).Snapshots))
		require.True(t, bytes.Equal(b.view(t, *healthy.Head), a.view(t, *rebuilt.Head)))
		program.do(t, "replica", "delete", a.address(outside), "--confirm", outside)
		require.Empty(t, a.lvolsBut(t))
	})
}

// A replica whose external snapshot is missing is listed with 0 bytes. A rebuild from it
// changes nothing on either side, and lists show it as degraded.
func TestDegradedSource(t *testing.T) {
	onEach(t, within, func(t *testing.T, target, _ *targettest.Target) {
		const degraded, to = "vol-1-r-1b2c3d4e", "vol-1-r-2c3d4e5f"
		a, b := newPlace(t, target, storeClusters), newPlace(t, target, storeClusters)
		target.CloneExternal(t, a.lvstore, degraded, noises(1, volumeClusters))
		left := b.head(t, to, b.snapshot(t, to, "s1", "", volumeClusters, createdAt(1), map[int]uint64{1: 3}), volumeClusters)
		target.Write(t, left, noise(4), 0)
		target.Restart(t) // the external bdev is not attached again
		before := b.lvolsBut(t)

		r, status := program.startRebuild(t, a.address(degraded), b.address(to), "--no-image").result(t)
		require.Equal(t, 1, status)
		require.Equal(t, "refused", r.Outcome)
		require.Contains(t, r.Error, "lvol "+degraded+" on lvstore "+a.lvstore+" is degraded")
		require.Equal(t, before, b.lvolsBut(t), "nothing was changed")
		require.Equal(t, noise(4), b.view(t, *b.replica(t, to).Head)[:clusterSize])

		status, object, _ := program.command(t, "audit", a.address(degraded), "--no-image")
		require.Equal(t, 1, status, "%v", object)
		tree := program.do(t, "tree", a.address(degraded))
		head := tree["replicas"].([]any)[0].(map[string]any)["head"].(map[string]any)
		require.Equal(t, "unknown", head["parent"])
		require.Equal(t, true, head["degraded"])

		// It can be overwritten as a destination, and deleted.
		r, status = program.startRebuild(t, b.address(to), a.address(degraded), "--no-image").result(t)
		require.Zero(t, status, "%+v", r)
		program.do(t, "replica", "delete", a.address(degraded), "--confirm", degraded)
		require.Empty(t, a.lvolsBut(t))
	})
}
