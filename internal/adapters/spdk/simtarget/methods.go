package simtarget

import (
	"maps"
	"slices"
)

// method is what answers one.
type method struct {
	begin func(*Target, *request)
	fork  bool // only that one has it
}

func (m method) known(flavour Flavour) bool { return !m.fork || flavour == Fork }

var methods map[string]method

func init() { // methods lists itself
	both := func(begin func(*Target, *request)) method { return method{begin: begin} }
	fork := func(begin func(*Target, *request)) method { return method{begin: begin, fork: true} }
	methods = map[string]method{
		"rpc_get_methods":  both(getMethods),
		"spdk_get_version": both(getVersion),

		"bdev_get_bdevs":     both(getBdevs),
		"bdev_get_iostat":    both(getIostat),
		"bdev_set_qos_limit": both(setQosLimit),
		"bdev_aio_create":    both(aioCreate),
		"bdev_aio_delete":    both(aioDelete),
		"bdev_null_create":   both(nullCreate),
		"bdev_null_delete":   both(nullDelete),

		"bdev_raid_create":    both(raidCreate),
		"bdev_raid_delete":    both(raidDelete),
		"bdev_raid_get_bdevs": both(raidGetBdevs),

		"bdev_lvol_create_lvstore": both(createLvstore),
		"bdev_lvol_delete_lvstore": both(deleteLvstore),
		"bdev_lvol_rename_lvstore": both(renameLvstore),
		"bdev_lvol_get_lvstores":   both(getLvstores),

		"bdev_lvol_get_lvols":       both(getLvols),
		"bdev_lvol_create":          both(createLvol),
		"bdev_lvol_snapshot":        both(snapshotLvol),
		"bdev_lvol_clone":           both(cloneLvol),
		"bdev_lvol_clone_bdev":      both(cloneBdev),
		"bdev_lvol_rename":          both(renameLvol),
		"bdev_lvol_resize":          both(resizeLvol),
		"bdev_lvol_delete":          both(deleteLvol),
		"bdev_lvol_set_parent":      both(setParent),
		"bdev_lvol_decouple_parent": both(decoupleParent),
		"bdev_lvol_inflate":         both(inflateLvol),
		"bdev_lvol_detach_parent":   fork(detachParent),

		"bdev_lvol_set_xattr":                  fork(setXattr),
		"bdev_lvol_get_xattr":                  fork(getXattr),
		"bdev_lvol_get_fragmap":                fork(getFragmap),
		"bdev_lvol_register_snapshot_checksum": fork(registerChecksum),
		"bdev_lvol_get_snapshot_checksum":      fork(getChecksum),

		"bdev_lvol_start_shallow_copy": both(startShallowCopy),
		"bdev_lvol_check_shallow_copy": both(checkShallowCopy),

		"nvmf_create_transport":          both(createTransport),
		"nvmf_create_subsystem":          both(createSubsystem),
		"nvmf_delete_subsystem":          both(deleteSubsystem),
		"nvmf_get_subsystems":            both(getSubsystems),
		"nvmf_subsystem_add_host":        both(addHost),
		"nvmf_subsystem_remove_host":     both(removeHost),
		"nvmf_subsystem_add_ns":          both(addNamespace),
		"nvmf_subsystem_remove_ns":       both(removeNamespace),
		"nvmf_subsystem_add_listener":    both(addListener),
		"nvmf_subsystem_remove_listener": both(removeListener),

		"bdev_nvme_attach_controller": both(attachController),
		"bdev_nvme_detach_controller": both(detachController),
		"bdev_nvme_get_controllers":   both(getControllers),
	}
}

func getMethods(t *Target, r *request) {
	var p struct {
		Current bool `json:"current" optional:"true"`
		Aliases bool `json:"include_aliases" optional:"true"`
	}
	if r.params != nil && !r.decode(&p) {
		return
	}
	var known []string
	for _, name := range slices.Sorted(maps.Keys(methods)) {
		if methods[name].known(t.config.Flavour) {
			known = append(known, name)
		}
	}
	r.result(known)
}

func getVersion(t *Target, r *request) {
	version := "SPDK v24.09.1 simulated"
	if t.config.Flavour == Upstream {
		version = "SPDK v25.09.1 simulated"
	}
	r.result(map[string]any{"version": version, "fields": map[string]any{}})
}
