package targettest

import (
	"fmt"
	"net"
	"testing"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"
	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmetcp"
)

// subsystem is one through which a test reads and writes lvols, several at once.
// It stays open, since opening one takes a target a tenth of a second, and has a
// namespace that is never removed, since removing the last one stalls the
// target.
type subsystem struct {
	nqn     string
	nsid    uint32 // of the last namespace
	session *nvmetcp.Session
}

// maxNamespaces is how often it can be used; then another one is opened.
const maxNamespaces = 1024

// access exports an lvol for as long as do takes. One that somebody exports already is
// claimed, so that no second subsystem can have it: it is used through that one.
func (p *process) access(t *testing.T, target *Target, uuid string, do func(volume) error) {
	t.Helper()
	session, nqn, nsid := p.nextNamespace(t, target)
	err := target.Try("nvmf_subsystem_add_ns", spdktypes.NvmfSubsystemAddNsRequest{
		Nqn: nqn, Namespace: spdktypes.NvmfSubsystemNamespace{Nsid: nsid, BdevName: uuid},
	}, nil)
	if err == nil {
		defer target.withdraw(t, nqn, nsid, uuid)
		useNamespace(t, session, nsid, do)
		return
	}
	address, nqn, nsid, exported := target.exporter(t, uuid)
	require.True(t, exported, "it is claimed, and nobody exports it: %v", err)
	target.Call(t, "nvmf_subsystem_add_host", addHostRequest{NQN: nqn, Host: hostNQN}, nil)
	defer target.Call(t, "nvmf_subsystem_remove_host", addHostRequest{NQN: nqn, Host: hostNQN}, nil)
	s := connect(t, address, nqn)
	defer func() { require.NoError(t, s.Close()) }()
	useNamespace(t, s, nsid, do)
}

// withdraw removes a namespace, unless it went with its bdev: a RAID goes with its last base.
func (target *Target) withdraw(t *testing.T, nqn string, nsid uint32, uuid string) {
	t.Helper()
	err := target.Try("nvmf_subsystem_remove_ns", spdktypes.NvmfSubsystemRemoveNsRequest{Nqn: nqn, Nsid: nsid}, nil)
	if err != nil {
		require.Error(t, target.Try("bdev_get_bdevs", map[string]any{"name": uuid}, nil), "%v", err)
	}
}

// nextNamespace returns a namespace ID that is not used yet, and its subsystem.
func (p *process) nextNamespace(t *testing.T, target *Target) (*nvmetcp.Session, string, uint32) {
	t.Helper()
	p.subsystemsMu.Lock()
	defer p.subsystemsMu.Unlock()
	if n := len(p.subsystems); n == 0 || p.subsystems[n-1].nsid == maxNamespaces {
		p.subsystems = append(p.subsystems, target.newSubsystem(t))
	}
	s := p.subsystems[len(p.subsystems)-1]
	s.nsid++
	return s.session, s.nqn, s.nsid
}

// hostNQN is who connects.
const hostNQN = "nqn.2026-01.com.example.test:host"

func connect(t *testing.T, address, nqn string) *nvmetcp.Session {
	t.Helper()
	s, err := nvmetcp.Dial(t.Context(), nvmetcp.Config{Address: address, NQN: nqn, HostNQN: hostNQN})
	require.NoError(t, err)
	return s
}

func useNamespace(t *testing.T, s *nvmetcp.Session, nsid uint32, do func(volume) error) {
	t.Helper()
	n, err := s.Namespace(t.Context(), nsid)
	require.NoError(t, err)
	require.NoError(t, do(namespace{t, n}))
}

// namespace is a volume for the time of a test.
type namespace struct {
	t *testing.T
	*nvmetcp.Namespace
}

func (n namespace) read(p []byte, offset uint64) error  { return n.Read(n.t.Context(), p, offset) }
func (n namespace) write(p []byte, offset uint64) error { return n.Write(n.t.Context(), p, offset) }
func (n namespace) deallocate(offset, length uint64) error {
	return n.Deallocate(n.t.Context(), offset, length)
}

func (target *Target) newSubsystem(t *testing.T) *subsystem {
	t.Helper()
	target.mu.Lock()
	target.next++
	name := fmt.Sprintf("test-%d", target.next)
	target.mu.Unlock()
	s := &subsystem{nqn: "nqn.2026-01.com.example.test:" + name, nsid: 1}
	target.createTransport()
	target.Call(t, "nvmf_create_subsystem", spdktypes.NvmfCreateSubsystemRequest{Nqn: s.nqn, AllowAnyHost: true, MaxNamespaces: maxNamespaces}, nil)
	target.Call(t, "bdev_null_create", map[string]any{"name": name, "num_blocks": 1, "block_size": blockSize}, nil)
	target.Call(t, "nvmf_subsystem_add_ns", spdktypes.NvmfSubsystemAddNsRequest{
		Nqn: s.nqn, Namespace: spdktypes.NvmfSubsystemNamespace{Nsid: s.nsid, BdevName: name},
	}, nil)
	s.session = connect(t, target.listen(t, s.nqn), s.nqn)
	return s
}

func (p *process) closeSubsystems() {
	p.subsystemsMu.Lock()
	defer p.subsystemsMu.Unlock()
	for _, s := range p.subsystems {
		_ = s.session.Close() // the target may have gone first
	}
	p.subsystems = nil
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

// createTransport fails where there is one already. It is as those of the engine.
func (target *Target) createTransport() {
	_ = target.Try("nvmf_create_transport", map[string]any{"trtype": "TCP", "acceptor_poll_rate": 1000}, nil)
}
