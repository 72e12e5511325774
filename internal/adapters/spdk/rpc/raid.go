package rpc

import spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"

// RAID is a RAID bdev as bdev_raid_get_bdevs lists it. go-spdk-helper's lacks the UUID, a
// key that the fork repeats within the object, and the process.
type RAID struct {
	Name       string       `json:"name"`
	UUID       string       `json:"uuid"`
	State      string       `json:"state"` // "online", "configuring" or "offline"
	Level      string       `json:"raid_level"`
	Superblock bool         `json:"superblock"`
	Bases      []RAIDBase   `json:"base_bdevs_list"`
	Process    *RAIDProcess `json:"process"` // nil: none goes on
}

// RAIDBase is a slot of a RAID.
type RAIDBase struct {
	Name       string `json:"name"` // as it was given; "" (null): the slot is empty
	UUID       string `json:"uuid"` // of the base bdev; of zeros: the slot is empty
	Configured bool   `json:"is_configured"`
}

// Serves reports whether the slot has a base bdev that the RAID reads and writes. One that
// failed an I/O or was removed has a name no more, or is not configured.
func (b *RAIDBase) Serves() bool { return b.Configured && b.Name != "" }

// RAIDProcess is SPDK's own rebuild of a base bdev.
type RAIDProcess struct {
	Type   string `json:"type"` // "rebuild"
	Target string `json:"target"`
}

// Base finds the slot of the base bdev of that UUID; nil: none.
func (r *RAID) Base(uuid string) *RAIDBase {
	for i := range r.Bases {
		if r.Bases[i].UUID == uuid {
			return &r.Bases[i]
		}
	}
	return nil
}

// GetRAIDs lists all RAID bdevs.
func GetRAIDs() *CallOf[[]RAID] {
	return get[[]RAID]("bdev_raid_get_bdevs", spdktypes.BdevRaidGetBdevsRequest{Category: spdktypes.BdevRaidCategoryAll})
}

// createRAIDRequest is of bdev_raid_create; go-spdk-helper's has no superblock.
type createRAIDRequest struct {
	Name       string   `json:"name"`
	Level      string   `json:"raid_level"`
	Bases      []string `json:"base_bdevs"`
	UUID       string   `json:"uuid,omitempty"`
	Superblock bool     `json:"superblock"`
}

// CreateRAID1 makes a RAID1 over bdevs, without a superblock, so that their data stays as
// it is. uuid is the new bdev's; "": the target draws one. Upstream SPDK refuses a single
// base bdev.
func CreateRAID1(name, uuid string, bases ...string) *Call {
	return change("bdev_raid_create", createRAIDRequest{Name: name, Level: "raid1", Bases: bases, UUID: uuid})
}

// DeleteRAID deletes a RAID bdev. Its base bdevs stay as they are.
func DeleteRAID(name string) *Call {
	return change("bdev_raid_delete", spdktypes.BdevRaidDeleteRequest{Name: name})
}

// GrowRAID adds a base bdev to a RAID1 in a new slot, as a full member at once: nothing is
// copied. Upstream SPDK lacks it.
func GrowRAID(name, base string) *Call {
	return change(methodGrowRAID, spdktypes.BdevRaidGrowBaseBdevRequest{RaidName: name, BaseName: base})
}

// RemoveRAIDBase takes a base bdev out of its RAID; the slot stays empty. A RAID that
// loses its last one is deleted.
func RemoveRAIDBase(base string) *Call {
	return change("bdev_raid_remove_base_bdev", spdktypes.BdevRaidRemoveBaseBdevRequest{Name: base})
}

// nullRequest is of bdev_null_create; go-spdk-helper has no type for it.
type nullRequest struct {
	Name      string `json:"name"`
	Blocks    uint64 `json:"num_blocks"`
	BlockSize uint64 `json:"block_size"`
}

// CreateNull makes a bdev of zeros that forgets everything written to it: upstream SPDK
// makes a RAID1 of a single base bdev only with such a second one, which is then removed.
func CreateNull(name string, blocks, blockSize uint64) *Call {
	return change("bdev_null_create", nullRequest{name, blocks, blockSize})
}

// deleteNullRequest is of bdev_null_delete; go-spdk-helper has no type for it.
type deleteNullRequest struct {
	Name string `json:"name"`
}

// DeleteNull deletes such a bdev, also in a RAID.
func DeleteNull(name string) *Call { return change("bdev_null_delete", deleteNullRequest{name}) }
