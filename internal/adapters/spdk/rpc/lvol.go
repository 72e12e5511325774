package rpc

import (
	"time"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"
)

// CreateLvol makes a thin lvol of so many MiB in the lvstore of that UUID. Its
// result is the lvol's UUID.
func CreateLvol(lvstore, name string, mib uint64) *CallOf[string] {
	return changing[string]("bdev_lvol_create", spdktypes.BdevLvolCreateRequest{
		UUID: lvstore, LvolName: name, SizeInMib: mib, ThinProvision: true,
	})
}

// CloneLvol clones a snapshot. Its result is the clone's UUID.
func CloneLvol(snapshot, name string) *CallOf[string] {
	return changing[string]("bdev_lvol_clone", spdktypes.BdevLvolCloneRequest{SnapshotName: snapshot, CloneName: name})
}

// SnapshotLvol makes a snapshot of a writable lvol, with these xattrs, of which
// upstream SPDK takes none. Its result is the snapshot's UUID.
func SnapshotLvol(lvol, name string, xattrs map[string]string) *CallOf[string] {
	return changing[string]("bdev_lvol_snapshot", spdktypes.BdevLvolSnapshotRequest{LvolName: lvol, SnapshotName: name, Xattrs: xattrs})
}

// SetParent grafts an lvol onto a snapshot.
func SetParent(lvol, parent string) *Call {
	return change("bdev_lvol_set_parent", spdktypes.BdevLvolSetParentRequest{LvolName: lvol, ParentName: parent})
}

// DetachParent makes the grandparent of an lvol its parent. Upstream SPDK lacks it.
func DetachParent(lvol string) *Call {
	return change(methodDetachParent, spdktypes.BdevLvolDetachParentRequest{Name: lvol})
}

// ResizeLvol gives an lvol another size, in MiB.
func ResizeLvol(lvol string, mib uint64) *Call {
	return change("bdev_lvol_resize", spdktypes.BdevLvolResizeRequest{Name: lvol, SizeInMib: mib})
}

// RenameLvol renames an lvol.
func RenameLvol(lvol, name string) *Call {
	return change("bdev_lvol_rename", spdktypes.BdevLvolRenameRequest{OldName: lvol, NewName: name})
}

// DeleteLvol deletes an lvol. A snapshot with one clone is merged into it.
func DeleteLvol(lvol string) *Call {
	return change("bdev_lvol_delete", spdktypes.BdevLvolDeleteRequest{Name: lvol})
}

// GetXattr reads an xattr. ENOENT (RefusedAs): the lvol has no such key. Upstream
// SPDK lacks it.
func GetXattr(lvol, key string) *CallOf[string] {
	return get[string](methodGetXattr, spdktypes.BdevLvolGetXattrRequest{Name: lvol, XattrName: key})
}

// SetXattr writes an xattr. Upstream SPDK lacks it.
func SetXattr(lvol, key, value string) *Call {
	return change(methodSetXattr, spdktypes.BdevLvolSetXattrRequest{Name: lvol, XattrName: key, XattrValue: value})
}

// GetFragmap reads which clusters of a range an lvol owns: bytes from an offset
// on, 0 for the whole lvol (vbdev_lvol_get_fragmap). Upstream SPDK lacks it.
func GetFragmap(lvol string, offset, size uint64) *CallOf[spdktypes.BdevLvolFragmap] {
	return get[spdktypes.BdevLvolFragmap](methodGetFragmap, spdktypes.BdevLvolGetFragmapRequest{Name: lvol, Offset: offset, Size: size})
}

// GetChecksum reads a snapshot's checksum, where it has one. Upstream SPDK lacks it.
func GetChecksum(snapshot string) *CallOf[spdktypes.BdevLvolSnapshotChecksum] {
	return get[spdktypes.BdevLvolSnapshotChecksum](methodGetChecksum, spdktypes.BdevLvolGetSnapshotChecksumRequest{Name: snapshot})
}

// RegisterChecksum computes a snapshot's checksum, which reads it; patience is how
// long that may take. Upstream SPDK lacks it.
func RegisterChecksum(snapshot string, patience time.Duration) *Call {
	return &Call{
		method: methodRegisterChecksum, params: spdktypes.BdevLvolRegisterSnapshotChecksumRequest{Name: snapshot}, patience: patience,
	}
}

// StartShallowCopy copies a snapshot's own clusters to a bdev. SPDK cannot stop it.
func StartShallowCopy(snapshot, bdev string) *CallOf[spdktypes.ShallowCopy] {
	return changing[spdktypes.ShallowCopy]("bdev_lvol_start_shallow_copy", spdktypes.BdevLvolShallowCopyRequest{SrcLvolName: snapshot, DstBdevName: bdev})
}

// checkCopyRequest asks for a copy's status; go-spdk-helper has no type for it.
type checkCopyRequest struct {
	OperationID uint32 `json:"operation_id"`
}

// CheckShallowCopy reads how far a copy is. The status of one that has ended is
// handed out once.
func CheckShallowCopy(operation uint32) *CallOf[spdktypes.ShallowCopyStatus] {
	return get[spdktypes.ShallowCopyStatus]("bdev_lvol_check_shallow_copy", checkCopyRequest{operation})
}
