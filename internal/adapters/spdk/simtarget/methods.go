package simtarget

import (
	"maps"
	"slices"

	"go.uber.org/zap"
)

// handler begins a method. It returns the result or the error, or errLater.
type handler func(*Target, *request) (any, error)

// method is what answers one.
type method struct {
	begin handler
	fork  bool // only that one has it
}

func (m method) known(flavour Flavour) bool { return !m.fork || flavour == Fork }

// given has a method's parameters decoded before it begins.
func given[P any](begin func(*Target, *request, *P) (any, error)) handler {
	return decoding(codeInternalError, undecodable, false, begin)
}

// ifGiven is given for a method that needs no parameters.
func ifGiven[P any](begin func(*Target, *request, *P) (any, error)) handler {
	return decoding(codeInternalError, undecodable, true, begin)
}

func nvmfGiven[P any](begin func(*Target, *request, *P) (any, error)) handler {
	return decoding(codeInvalidParams, invalidParameters, false, begin)
}

func raidGiven[P any](begin func(*Target, *request, *P) (any, error)) handler {
	return decoding(codeParseError, undecodable, false, begin)
}

// decoding refuses parameters that cannot be decoded, with that code and message, and null
// unless it is allowed.
func decoding[P any](code int, message string, null bool, begin func(*Target, *request, *P) (any, error)) handler {
	return func(t *Target, r *request) (any, error) {
		p := new(P)
		if isNull := r.params == nil; isNull && !null || !isNull && !decode(r.params, p, t.config.Flavour) {
			return nil, refusal(code, "%s", message)
		}
		return begin(t, r, p)
	}
}

// named are the parameters of methods that need no more than a name.
type named struct {
	Name string `json:"name"`
}

var methods map[string]method

func init() { // methods lists itself
	both := func(begin handler) method { return method{begin: begin} }
	fork := func(begin handler) method { return method{begin: begin, fork: true} }
	methods = map[string]method{
		"rpc_get_methods":    both(ifGiven(getMethods)),
		"spdk_get_version":   both(getVersion),
		"spdk_kill_instance": both(given(killInstance)),

		"bdev_get_bdevs":        both(ifGiven(getBdevs)),
		"bdev_get_iostat":       both(ifGiven(getIostat)),
		"bdev_set_qos_limit":    both(given(setQosLimit)),
		"bdev_wait_for_examine": both(waitForExamine),
		"bdev_aio_create":       both(given(aioCreate)),
		"bdev_aio_delete":       both(given(aioDelete)),
		"bdev_null_create":      both(given(nullCreate)),
		"bdev_null_delete":      both(given(nullDelete)),

		"bdev_raid_create":    both(raidGiven(raidCreate)),
		"bdev_raid_delete":    both(raidGiven(raidDelete)),
		"bdev_raid_get_bdevs": both(raidGiven(raidGetBdevs)),

		"bdev_raid_grow_base_bdev":   fork(raidGiven(raidGrow)),
		"bdev_raid_remove_base_bdev": both(raidGiven(raidRemoveBase)),

		"bdev_lvol_create_lvstore": both(given(createLvstore)),
		"bdev_lvol_delete_lvstore": both(given(deleteLvstore)),
		"bdev_lvol_rename_lvstore": both(given(renameLvstore)),
		"bdev_lvol_get_lvstores":   both(ifGiven(getLvstores)),

		"bdev_lvol_get_lvols":       both(ifGiven(getLvols)),
		"bdev_lvol_create":          both(given(createLvol)),
		"bdev_lvol_snapshot":        both(given(snapshotLvol)),
		"bdev_lvol_clone":           both(given(cloneLvol)),
		"bdev_lvol_clone_bdev":      both(given(cloneBdev)),
		"bdev_lvol_rename":          both(given(renameLvol)),
		"bdev_lvol_resize":          both(given(resizeLvol)),
		"bdev_lvol_delete":          both(given(deleteLvol)),
		"bdev_lvol_set_parent":      both(given(setParent)),
		"bdev_lvol_set_parent_bdev": both(given(setParentBdev)),
		"bdev_lvol_decouple_parent": both(given(decoupleParent)),
		"bdev_lvol_inflate":         both(given(inflateLvol)),
		"bdev_lvol_detach_parent":   fork(given(detachParent)),

		"bdev_lvol_set_xattr":                  fork(given(setXattr)),
		"bdev_lvol_get_xattr":                  fork(given(getXattr)),
		"bdev_lvol_get_fragmap":                fork(given(getFragmap)),
		"bdev_lvol_register_snapshot_checksum": fork(given(registerChecksum)),
		"bdev_lvol_get_snapshot_checksum":      fork(given(getChecksum)),

		"bdev_lvol_start_shallow_copy": both(given(startShallowCopy)),
		"bdev_lvol_check_shallow_copy": both(given(checkShallowCopy)),

		"nvmf_create_transport":          both(nvmfGiven(createTransport)),
		"nvmf_create_subsystem":          both(nvmfGiven(createSubsystem)),
		"nvmf_delete_subsystem":          both(nvmfGiven(deleteSubsystem)),
		"nvmf_get_subsystems":            both(decoding(codeInvalidParams, invalidParameters, true, getSubsystems)),
		"nvmf_subsystem_add_host":        both(nvmfGiven(addHost)),
		"nvmf_subsystem_remove_host":     both(nvmfGiven(removeHost)),
		"nvmf_subsystem_add_ns":          both(nvmfGiven(addNamespace)),
		"nvmf_subsystem_remove_ns":       both(nvmfGiven(removeNamespace)),
		"nvmf_subsystem_add_listener":    both(nvmfGiven(addListener)),
		"nvmf_subsystem_remove_listener": both(nvmfGiven(removeListener)),

		"nvmf_subsystem_listener_set_ana_state": both(nvmfGiven(setANAState)),

		"bdev_nvme_attach_controller": both(given(attachController)),
		"bdev_nvme_detach_controller": both(given(detachController)),
		"bdev_nvme_get_controllers":   both(ifGiven(getControllers)),
	}
}

type getMethodsParams struct {
	Current bool `json:"current" optional:"true"`
	Aliases bool `json:"include_aliases" optional:"true"`
}

func getMethods(t *Target, r *request, p *getMethodsParams) (any, error) {
	var known []string
	for _, name := range slices.Sorted(maps.Keys(methods)) {
		if methods[name].known(t.config.Flavour) {
			known = append(known, name)
		}
	}
	return known, nil
}

func getVersion(t *Target, r *request) (any, error) {
	version := "SPDK v24.09.1 simulated"
	if t.config.Flavour == Upstream {
		version = "SPDK v25.09.1 simulated"
	}
	return map[string]any{"version": version, "fields": map[string]any{}}, nil
}

type killParams struct {
	Signal string `json:"sig_name"`
}

// killInstance has the target send itself a signal. All of them end it.
func killInstance(t *Target, r *request, p *killParams) (any, error) {
	if !slices.Contains([]string{"SIGINT", "SIGTERM", "SIGQUIT", "SIGHUP", "SIGKILL", "SIGUSR1"}, p.Signal) {
		return nil, refusal(codeInvalidParams, invalidParameters)
	}
	r.conclude(true, nil)
	t.log.Warn("the target has sent itself a signal", zap.String("signal", p.Signal))
	t.die(nil)
	return nil, errLater
}
