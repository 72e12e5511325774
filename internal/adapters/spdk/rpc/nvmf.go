package rpc

import (
	"errors"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"
	helpertypes "github.com/longhorn/go-spdk-helper/pkg/types"
)

// acceptEvery is how often, in microseconds, a target looks for new connections. By default it
// does every 10 ms, and a volume that is cut waits for several connections one after the other.
const acceptEvery = 1000

// CreateTransport has the target speak NVMe/TCP. ports.ErrExists: it does already.
func CreateTransport() *Call {
	return change("nvmf_create_transport", struct {
		spdktypes.NvmfCreateTransportRequest

		AcceptorPollRate int `json:"acceptor_poll_rate"`
	}{spdktypes.NvmfCreateTransportRequest{Trtype: spdktypes.NvmeTransportTypeTCP}, acceptEvery})
}

// GetSubsystems lists the subsystem of that NQN; "": all.
func GetSubsystems(nqn string) *CallOf[[]spdktypes.NvmfSubsystem] {
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

// SetANAState sets the state of all namespaces of a subsystem that was created with ANA
// reporting, for one of its listeners.
func SetANAState(nqn string, at spdktypes.NvmfSubsystemListenAddress, state spdktypes.NvmfSubsystemListenerAnaState) *Call {
	return change("nvmf_subsystem_listener_set_ana_state", spdktypes.NvmfSubsystemListenerSetANAStateRequest{Nqn: nqn, ListenAddress: at, AnaState: state})
}

// ReportsNoANA reports whether SetANAState was refused because the subsystem was created
// without ANA reporting, or has no such listener.
func ReportsNoANA(err error) bool {
	var refusal *Refusal
	return errors.As(err, &refusal) && refusal.Message == "error setting ANA state: -22"
}

// AddNamespace exports a bdev.
func AddNamespace(nqn string, namespace spdktypes.NvmfSubsystemNamespace) *Call {
	return change("nvmf_subsystem_add_ns", spdktypes.NvmfSubsystemAddNsRequest{Nqn: nqn, Namespace: namespace})
}

// RemoveNamespace ends the export of a bdev.
func RemoveNamespace(nqn string, nsid uint32) *Call {
	return change("nvmf_subsystem_remove_ns", spdktypes.NvmfSubsystemRemoveNsRequest{Nqn: nqn, Nsid: nsid})
}

// Controller is a subsystem that a target is attached to.
type Controller struct {
	Name  string           `json:"name"`
	Paths []ControllerPath `json:"ctrlrs"`
}

// ControllerPath is a connection of a controller, and in failover mode the one path of several that
// is used.
type ControllerPath struct {
	State string                    `json:"state"` // "enabled": it is connected
	To    spdktypes.NvmeTransportID `json:"trid"`
}

// GetControllers lists the attached controller of that name; "": all.
func GetControllers(name string) *CallOf[[]Controller] {
	return get[[]Controller]("bdev_nvme_get_controllers", spdktypes.BdevNvmeGetControllersRequest{Name: name})
}

// Attachment is a subsystem to attach, and for how long, in seconds, it may be
// unreachable.
type Attachment struct {
	Name           string // of the controller
	To             spdktypes.NvmeTransportID
	HostNQN        string // which the target connects with
	Failover       bool   // adds a path that is used when the others fail, where the controller exists
	ReconnectDelay int32
	FastIOFail     int32 // until then I/O waits
	ControllerLoss int32 // after that the controller is gone
}

// attachRequest is go-spdk-helper's, with the NQN that the target connects with.
type attachRequest struct {
	spdktypes.BdevNvmeAttachControllerRequest

	HostNQN string `json:"hostnqn"`
}

// failover is the multipath mode of one path at a time.
const failover = "failover"

// AttachController connects to a subsystem. ports.ErrExists: it is connected.
func AttachController(a Attachment) *Call {
	multipath := helpertypes.DefaultMultipath
	if a.Failover {
		multipath = failover
	}
	return change("bdev_nvme_attach_controller", attachRequest{
		BdevNvmeAttachControllerRequest: spdktypes.BdevNvmeAttachControllerRequest{
			Name:                 a.Name,
			NvmeTransportID:      a.To,
			CtrlrLossTimeoutSec:  a.ControllerLoss,
			ReconnectDelaySec:    a.ReconnectDelay,
			FastIOFailTimeoutSec: a.FastIOFail,
			Multipath:            multipath,
		},
		HostNQN: a.HostNQN,
	})
}

// DetachController disconnects from a subsystem.
func DetachController(name string) *Call {
	return change("bdev_nvme_detach_controller", spdktypes.BdevNvmeDetachControllerRequest{Name: name})
}
