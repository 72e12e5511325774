package targettest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"
	"github.com/stretchr/testify/require"
)

// Replicas that MakeLonghornStore makes. Volumes may be called as other volumes'
// replicas begin.
const (
	LonghornWhole    = "vol-1-r-0a0a0a0a"            // a branching tree on image ubuntu, with a system snapshot
	LonghornRebuilt  = "vol-10-r-0b0b0b0b"           // its rebuild was interrupted: finished snapshots, "-rebuilding", a degraded head
	LonghornClone    = "vol-2-r-0c0c0c0c"            // a linked clone of LonghornWhole
	LonghornCloning  = "vol-3-r-0d0d0d0d"            // a clone that is being filled
	LonghornHurt     = "vol-4-r-0e0e0e0e"            // has lost its image
	LonghornLookLike = LonghornWhole + "-r-0f0f0f0f" // of a volume that is called as LonghornWhole
	LonghornSize     = 4                             // clusters, of each
)

// LonghornSnapshots are those of the replicas that have several, oldest first.
var LonghornSnapshots = []string{"5f0c1c1e-0001-4a6b-9d3e-3a1d2e4f5a6b", "5f0c1c1e-0002-4a6b-9d3e-3a1d2e4f5a6b", "rebuild-5e6f7a8b"}

// MakeLonghornStore makes an lvstore on a target of the Longhorn branch by the
// calls that longhorn-spdk-engine makes (pkg/spdk/replica.go, backing_image.go),
// with what its crashes leave. The target is restarted, so that what is left of
// connections to others is degraded.
func MakeLonghornStore(t *testing.T, target *Target) (store string) {
	t.Helper()
	l := &longhorn{t: t, target: target, store: target.NewStore(t, 128)}
	var stores []spdktypes.LvstoreInfo
	target.Call(t, "bdev_lvol_get_lvstores", spdktypes.BdevLvolGetLvstoreRequest{LvsName: l.store}, &stores)
	l.uuid = stores[0].UUID

	ubuntu := l.image("ubuntu", "ready")
	l.image("broken", "failed")
	l.create("bi-debian-disk-" + l.uuid + "-temp-head") // while it is downloaded

	l.grow(LonghornWhole, ubuntu)
	l.grow(LonghornLookLike, ubuntu)
	l.grow(LonghornHurt, "")

	// clone -> snapshot -> delete: an empty snapshot with clones.
	from := LonghornWhole + "-snap-" + LonghornSnapshots[0]
	entrypoint := LonghornWhole + "-clone-ep-" + LonghornSnapshots[0]
	l.clone(from, entrypoint+"-tmp-head")
	l.snapshot(entrypoint+"-tmp-head", entrypoint, nil)
	l.delete(entrypoint + "-tmp-head")
	l.clone(entrypoint, LonghornClone)
	l.snapshot(LonghornClone, LonghornClone+"-snap-"+LonghornSnapshots[0], attributes(0, true))

	l.create(LonghornCloning)
	l.create(LonghornCloning + "-cloning")

	// Two snapshots are finished, the third is being filled, and the head reads
	// through to the source's, which is gone.
	l.grow(LonghornRebuilt, ubuntu)
	l.delete(LonghornRebuilt)
	l.delete(LonghornRebuilt + "-snap-" + LonghornSnapshots[2])
	l.clone(LonghornRebuilt+"-snap-"+LonghornSnapshots[0], LonghornRebuilt+"-rebuilding")
	l.write(LonghornRebuilt+"-rebuilding", 2, 9)
	external := "external-" + l.store
	file := filepath.Join(target.dir, external)
	require.NoError(t, os.WriteFile(file, make([]byte, LonghornSize*ClusterSize), 0o600))
	target.loadAIO(t, external, file)
	target.Call(t, "bdev_lvol_clone_bdev", spdktypes.BdevLvolCloneBdevRequest{Bdev: external, LvsName: l.store, CloneName: LonghornRebuilt}, nil)
	target.Restart(t)
	return l.store
}

type longhorn struct {
	t           *testing.T
	target      *Target
	store, uuid string
}

func attributes(minute int, user bool) map[string]string {
	return map[string]string{"user_created": fmt.Sprint(user), "snapshot_timestamp": fmt.Sprintf("2026-01-01T00:%02d:00Z", minute)}
}

// grow makes a head under the image, and a tree that branches at the oldest
// snapshot: after a revert the system snapshot is its child, too.
func (l *longhorn) grow(replica, image string) {
	l.t.Helper()
	if image == "" {
		l.create(replica)
	} else {
		l.clone(image, replica)
		l.target.Call(l.t, "bdev_lvol_resize", map[string]any{"name": l.alias(replica), "size_in_mib": LonghornSize}, nil)
	}
	snap := func(i int) string { return replica + "-snap-" + LonghornSnapshots[i] }
	l.write(replica, 0, 1)
	l.snapshot(replica, snap(0), attributes(0, true))
	l.write(replica, 1, 2)
	l.snapshot(replica, snap(1), attributes(1, true))
	l.delete(replica)
	l.clone(snap(0), replica)
	l.write(replica, 3, 3)
	l.snapshot(replica, snap(2), attributes(2, false))
}

// image is sealed under its final name also if it failed; its state tells.
func (l *longhorn) image(name, state string) string {
	l.t.Helper()
	final := "bi-" + name + "-disk-" + l.uuid
	l.target.Call(l.t, "bdev_lvol_create", spdktypes.BdevLvolCreateRequest{LvsName: l.store, LvolName: final + "-temp-head", SizeInMib: 2, ThinProvision: true}, nil)
	l.write(final+"-temp-head", 1, 7)
	l.snapshot(final+"-temp-head", final, map[string]string{
		"longhorn_backing_image_checksum": "c0ffee-" + name, "longhorn_backing_image_uuid": "b1b2b3b4", "longhorn_backing_image_prepare_state": state,
	})
	l.delete(final + "-temp-head")
	return final
}

func (l *longhorn) alias(name string) string { return l.store + "/" + name }

func (l *longhorn) create(name string) {
	l.t.Helper()
	l.target.Call(l.t, "bdev_lvol_create", spdktypes.BdevLvolCreateRequest{LvsName: l.store, LvolName: name, SizeInMib: LonghornSize, ThinProvision: true}, nil)
}

func (l *longhorn) clone(from, name string) {
	l.t.Helper()
	l.target.Call(l.t, "bdev_lvol_clone", spdktypes.BdevLvolCloneRequest{SnapshotName: l.alias(from), CloneName: name}, nil)
}

func (l *longhorn) snapshot(of, name string, xattrs map[string]string) {
	l.t.Helper()
	l.target.Call(l.t, "bdev_lvol_snapshot", spdktypes.BdevLvolSnapshotRequest{LvolName: l.alias(of), SnapshotName: name, Xattrs: xattrs}, nil)
}

func (l *longhorn) delete(name string) {
	l.t.Helper()
	l.target.Call(l.t, "bdev_lvol_delete", spdktypes.BdevLvolDeleteRequest{Name: l.alias(name)}, nil)
}

// write fills one cluster.
func (l *longhorn) write(name string, cluster int, with byte) {
	l.t.Helper()
	var found []struct{ UUID string }
	l.target.Call(l.t, "bdev_get_bdevs", spdktypes.BdevGetBdevsRequest{Name: l.alias(name)}, &found)
	l.target.Write(l.t, found[0].UUID, bytes.Repeat([]byte{with}, ClusterSize), uint64(cluster)*ClusterSize)
}
