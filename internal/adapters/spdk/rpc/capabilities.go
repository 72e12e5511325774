package rpc

import "slices"

// The methods that tell what a target can do. Any target has methodGetVersion.
const (
	methodGetVersion       = "spdk_get_version"
	methodGetFragmap       = "bdev_lvol_get_fragmap"
	methodGetChecksum      = "bdev_lvol_get_snapshot_checksum"
	methodRegisterChecksum = "bdev_lvol_register_snapshot_checksum"
	methodGetXattr         = "bdev_lvol_get_xattr"
	methodSetXattr         = "bdev_lvol_set_xattr"
	methodDetachParent     = "bdev_lvol_detach_parent"
	methodGrowRAID         = "bdev_raid_grow_base_bdev"
	methodSetParentBdev    = "bdev_lvol_set_parent_bdev"
	methodWaitForExamine   = "bdev_wait_for_examine"
)

// The longest names, in bytes: SPDK_LVOL_NAME_MAX without its final
// zero, 64 in SPDK and 256 on the Longhorn branch. No call tells it.
const (
	upstreamNameLimit = 63
	longhornNameLimit = 255
)

// Capabilities are read from a target's list of methods. Its version says less, since
// branches backport methods.
type Capabilities struct {
	Proves    bool // maps and checksums
	Records   bool // xattrs, also given to bdev_lvol_snapshot
	Detaches  bool // a parent without copying
	Grows     bool // a RAID by one base bdev
	Exchanges bool // the parent of an lvol for a bdev outside of its lvstore
	NameLimit int  // bytes of a name

	// RenamesSnapshots: other targets refuse that, after they have changed the alias.
	RenamesSnapshots bool
}

// GetMethods lists the target's methods, for NewCapabilities.
func GetMethods() *CallOf[[]string] { return get[[]string]("rpc_get_methods", nil) }

// NewCapabilities reads them from the names of the methods.
func NewCapabilities(methods []string) Capabilities {
	has := func(wanted ...string) bool {
		for _, method := range wanted {
			if !slices.Contains(methods, method) {
				return false
			}
		}
		return true
	}
	c := Capabilities{
		Proves:    has(methodGetFragmap, methodRegisterChecksum, methodGetChecksum),
		Records:   has(methodGetXattr, methodSetXattr),
		Detaches:  has(methodDetachParent),
		Grows:     has(methodGrowRAID),
		Exchanges: has(methodSetParentBdev, methodWaitForExamine),
		NameLimit: upstreamNameLimit,
	}
	if c.Records { // the Longhorn branch, which no method tells of these
		c.NameLimit = longhornNameLimit
		c.RenamesSnapshots = true
	}
	return c
}

// killRequest is of spdk_kill_instance; go-spdk-helper has no type for it.
type killRequest struct {
	Signal string `json:"sig_name"`
}

// Kill sends SIGKILL to the target, which does not always answer before it has ended.
func Kill() *Call { return change("spdk_kill_instance", killRequest{"SIGKILL"}) }
