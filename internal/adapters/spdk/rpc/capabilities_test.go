package rpc

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCapabilitiesFromMethods(t *testing.T) {
	require.Equal(t, Capabilities{NameLimit: 63}, NewCapabilities([]string{"bdev_lvol_create"}))
	require.Equal(t, Capabilities{Proves: true, Records: true, Detaches: true, Grows: true, Exchanges: true, NameLimit: 255, RenamesSnapshots: true}, NewCapabilities([]string{
		"bdev_lvol_get_fragmap", "bdev_lvol_register_snapshot_checksum", "bdev_lvol_get_snapshot_checksum",
		"bdev_lvol_get_xattr", "bdev_lvol_set_xattr", "bdev_lvol_detach_parent", "bdev_raid_grow_base_bdev",
		"bdev_lvol_set_parent_bdev", "bdev_wait_for_examine",
	}))
}
