package rpc

import (
	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"
	helpertypes "github.com/longhorn/go-spdk-helper/pkg/types"
)

// CreateTransport has the target speak NVMe/TCP. ports.ErrExists: it does already.
func CreateTransport() *Call {
	return change("nvmf_create_transport", spdktypes.NvmfCreateTransportRequest{Trtype: spdktypes.NvmeTransportTypeTCP})
}

// GetSubsystems lists the subsystem of that NQN; "": all.
func GetSubsystems(nqn string) *CallOf[[]spdktypes.NvmfSubsystem] {
	if nqn == "" {
		return get[[]spdktypes.NvmfSubsystem]("nvmf_get_subsystems", nil)
	}
	return get[[]spdktypes.NvmfSubsystem]("nvmf_get_subsystems", spdktypes.NvmfGetSubsystemsRequest{Nqn: nqn})
}

// CreateSubsystem makes a subsystem that no host may connect to yet.
func CreateSubsystem(subsystem spdktypes.NvmfCreateSubsystemRequest) *Call {
	return change("nvmf_create_subsystem", subsystem)
}

// DeleteSubsystem deletes a subsystem.
func DeleteSubsystem(nqn string) *Call {
	return change("nvmf_delete_subsystem", spdktypes.NvmfDeleteSubsystemRequest{Nqn: nqn})
}

// addHostRequest is of nvmf_subsystem_add_host; go-spdk-helper has no type for it.
type addHostRequest struct {
	NQN  string `json:"nqn"`
	Host string `json:"host"`
}

// AddHost lets the host of that NQN connect to a subsystem.
func AddHost(nqn, hostNQN string) *Call {
	return change("nvmf_subsystem_add_host", addHostRequest{NQN: nqn, Host: hostNQN})
}

// AddListener has a subsystem listen on an address.
func AddListener(nqn string, at spdktypes.NvmfSubsystemListenAddress) *Call {
	return change("nvmf_subsystem_add_listener", spdktypes.NvmfSubsystemAddListenerRequest{Nqn: nqn, ListenAddress: at})
}

// AddNamespace exports a bdev.
func AddNamespace(nqn string, namespace spdktypes.NvmfSubsystemNamespace) *Call {
	return change("nvmf_subsystem_add_ns", spdktypes.NvmfSubsystemAddNsRequest{Nqn: nqn, Namespace: namespace})
}

// RemoveNamespace ends the export of a bdev.
func RemoveNamespace(nqn string, nsid uint32) *Call {
	return change("nvmf_subsystem_remove_ns", spdktypes.NvmfSubsystemRemoveNsRequest{Nqn: nqn, Nsid: nsid})
}

// GetControllers lists the attached controller of that name; "": all.
func GetControllers(name string) *CallOf[[]spdktypes.BdevNvmeControllerInfo] {
	if name == "" {
		return get[[]spdktypes.BdevNvmeControllerInfo]("bdev_nvme_get_controllers", nil)
	}
	return get[[]spdktypes.BdevNvmeControllerInfo]("bdev_nvme_get_controllers", spdktypes.BdevNvmeGetControllersRequest{Name: name})
}

// Attachment is a subsystem to attach, and for how long, in seconds, it may be
// unreachable.
type Attachment struct {
	Name           string // of the controller
	To             spdktypes.NvmeTransportID
	HostNQN        string // which the target connects with
	ReconnectDelay int32
	FastIOFail     int32 // until then I/O waits
	ControllerLoss int32 // after that the controller is gone
}

// attachRequest is go-spdk-helper's, with the NQN that the target connects with.
type attachRequest struct {
	spdktypes.BdevNvmeAttachControllerRequest

	HostNQN string `json:"hostnqn"`
}

// AttachController connects to a subsystem. ports.ErrExists: it is connected.
func AttachController(a Attachment) *Call {
	return change("bdev_nvme_attach_controller", attachRequest{
		BdevNvmeAttachControllerRequest: spdktypes.BdevNvmeAttachControllerRequest{
			Name:                 a.Name,
			NvmeTransportID:      a.To,
			CtrlrLossTimeoutSec:  a.ControllerLoss,
			ReconnectDelaySec:    a.ReconnectDelay,
			FastIOFailTimeoutSec: a.FastIOFail,
			Multipath:            helpertypes.DefaultMultipath,
		},
		HostNQN: a.HostNQN,
	})
}

// DetachController disconnects from a subsystem.
func DetachController(name string) *Call {
	return change("bdev_nvme_detach_controller", spdktypes.BdevNvmeDetachControllerRequest{Name: name})
}
