package spdk

import (
	"fmt"
	"slices"

	"github.com/rootgraft/rebuild/internal/ports"
)

// What a name may be long, in bytes: SPDK_LVOL_NAME_MAX without its final
// zero, 64 in SPDK and 256 on the Longhorn branch. No call tells it.
const (
	upstreamNameLimit = 63
	longhornNameLimit = 255
)

// capabilities are what a target can do, by its list of methods. Versions say
// less: branches carry methods back.
type capabilities struct {
	proves    bool // maps and checksums
	records   bool // xattrs, also given to bdev_lvol_snapshot
	detaches  bool // a parent without copying
	nameLimit int
}

func newCapabilities(methods []string) capabilities {
	has := func(wanted ...string) bool {
		for _, method := range wanted {
			if !slices.Contains(methods, method) {
				return false
			}
		}
		return true
	}
	c := capabilities{
		proves:    has("bdev_lvol_get_fragmap", "bdev_lvol_register_snapshot_checksum", "bdev_lvol_get_snapshot_checksum"),
		records:   has("bdev_lvol_get_xattr", "bdev_lvol_set_xattr"),
		detaches:  has("bdev_lvol_detach_parent"),
		nameLimit: upstreamNameLimit,
	}
	if c.records { // the Longhorn branch: it brought longer names with these
		c.nameLimit = longhornNameLimit
	}
	return c
}

// checkName refuses what the target would refuse with a bare "Invalid
// argument".
func (h *Host) checkName(name string) error {
	if len(name) > h.can.nameLimit {
		return fmt.Errorf("name %s has %d bytes, the target takes %d: %w", name, len(name), h.can.nameLimit, ports.ErrInvalid)
	}
	return nil
}
