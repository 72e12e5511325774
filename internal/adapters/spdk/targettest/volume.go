package targettest

import (
	"fmt"
	"net"
	"testing"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"
	"github.com/stretchr/testify/require"
)

// Write puts bytes into a writable lvol. Offset and length are whole blocks.
func (target *Target) Write(t *testing.T, uuid string, p []byte, offset uint64) {
	t.Helper()
	target.attached(t, uuid, func(n *namespace) error { return n.write(p, offset) })
}

// Read fills p from the view of an lvol.
func (target *Target) Read(t *testing.T, uuid string, p []byte, offset uint64) {
	t.Helper()
	target.attached(t, uuid, func(n *namespace) error { return n.read(p, offset) })
}

// attached exports an lvol for as long as do takes.
func (target *Target) attached(t *testing.T, uuid string, do func(*namespace) error) {
	t.Helper()
	if address, nqn, nsid, exported := target.exporter(t, uuid); exported {
		// Claimed: a second subsystem cannot have it.
		target.Call(t, "nvmf_subsystem_add_host", addHostRequest{NQN: nqn, Host: hostNQN}, nil)
		defer target.Call(t, "nvmf_subsystem_remove_host", addHostRequest{NQN: nqn, Host: hostNQN}, nil)
		connected(t, address, nqn, nsid, do)
		return
	}
	target.mu.Lock()
	target.next++
	nqn := fmt.Sprintf("nqn.2026-01.com.example.test:%d", target.next)
	target.mu.Unlock()
	// It fails where there is one already.
	_ = target.Try("nvmf_create_transport", spdktypes.NvmfCreateTransportRequest{Trtype: spdktypes.NvmeTransportTypeTCP}, nil)
	target.Call(t, "nvmf_create_subsystem", spdktypes.NvmfCreateSubsystemRequest{Nqn: nqn, AllowAnyHost: true}, nil)
	defer target.Call(t, "nvmf_delete_subsystem", spdktypes.NvmfDeleteSubsystemRequest{Nqn: nqn}, nil)
	target.Call(t, "nvmf_subsystem_add_ns", spdktypes.NvmfSubsystemAddNsRequest{
		Nqn: nqn, Namespace: spdktypes.NvmfSubsystemNamespace{Nsid: 1, BdevName: uuid},
	}, nil)
	connected(t, target.listen(t, nqn), nqn, 1, do)
}

func connected(t *testing.T, address, nqn string, nsid uint32, do func(*namespace) error) {
	t.Helper()
	n, err := connect(address, nqn, nsid)
	require.NoError(t, err)
	defer n.close()
	require.NoError(t, do(n))
}

// addHostRequest is of nvmf_subsystem_add_host and _remove_host.
type addHostRequest struct {
	NQN  string `json:"nqn"`
	Host string `json:"host"`
}

// exporter finds the subsystem that an lvol is exported by.
func (target *Target) exporter(t *testing.T, uuid string) (address, nqn string, nsid uint32, exported bool) {
	t.Helper()
	var all []spdktypes.NvmfSubsystem
	target.Call(t, "nvmf_get_subsystems", nil, &all)
	for _, sub := range all {
		for _, ns := range sub.Namespaces {
			if ns.BdevName == uuid && len(sub.ListenAddresses) > 0 {
				at := sub.ListenAddresses[0]
				return net.JoinHostPort(at.Traddr, at.Trsvcid), sub.Nqn, ns.Nsid, true
			}
		}
	}
	return "", "", 0, false
}

// listen takes a port that is free now.
func (target *Target) listen(t *testing.T, nqn string) (address string) {
	t.Helper()
	for attempt := 0; ; attempt++ {
		probe, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		address = probe.Addr().String()
		require.NoError(t, probe.Close())
		host, port, err := net.SplitHostPort(address)
		require.NoError(t, err)
		err = target.Try("nvmf_subsystem_add_listener", spdktypes.NvmfSubsystemAddListenerRequest{
			Nqn: nqn,
			ListenAddress: spdktypes.NvmfSubsystemListenAddress{
				Trtype: spdktypes.NvmeTransportTypeTCP, Adrfam: spdktypes.NvmeAddressFamilyIPv4, Traddr: host, Trsvcid: port,
			},
		}, nil)
		if err == nil {
			return address
		}
		require.Less(t, attempt, 10, "no port: %v", err)
	}
}
