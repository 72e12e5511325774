package spdk

import (
	"net"
	"strconv"
	"testing"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"
	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmetcp"
	"github.com/rootgraft/rebuild/internal/ports"
)

func whatIsOpen(t *testing.T, p *pair) {
	h := openNew(t, p.to, 8)
	l := create(t, h, "vol-1-rebuilding-00000001", 2)
	run := newRun()
	opened, err := h.Open(t.Context(), run, l)
	require.NoError(t, err)
	b := opened.(*openBytes)
	found, err := h.subsystems(t.Context(), b.subsystem.nqn)
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.False(t, found[0].AllowAnyHost)
	require.Len(t, found[0].Hosts, 1)

	// A peer of the same run has another subsystem.
	from := openNew(t, p.from, 8)
	other := create(t, h, "vol-1-rebuilding-00000002", 2)
	require.NotContains(t, string(receive(t, h, run, other, from)), b.subsystem.nqn)

	config := nvmetcp.Config{
		Address: net.JoinHostPort(h.listen.Address, strconv.Itoa(int(b.subsystem.port))), NQN: b.subsystem.nqn, HostNQN: from.hostNQN(),
	}
	_, err = nvmetcp.Dial(t.Context(), config)
	var refusal *nvmetcp.StatusError
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, nvmetcp.StatusHostNotAllowed, refusal.Status)

	// Another process' run of the same replica, after this one has crashed.
	later := open(t, p.to.Socket, h.storeName)
	require.NoError(t, later.Release(t.Context(), newRun()))
	found, err = h.subsystems(t.Context(), b.subsystem.nqn)
	require.NoError(t, err)
	require.Empty(t, found)
	_, err = b.ReadAt(make([]byte, 1), 0)
	require.ErrorIs(t, err, ports.ErrUnavailable)
	again, err := later.Open(t.Context(), newRun(), l)
	require.NoError(t, err)
	require.NoError(t, again.Close())
	require.NoError(t, b.Close())
}

func whatSomebodyElseExports(t *testing.T, p *pair) {
	h := openNew(t, p.to, 8)
	head := create(t, h, "vol-1", 2)
	const nqn = "nqn.2023-01.io.longhorn.spdk:vol-1"
	_ = p.to.Try("nvmf_create_transport", spdktypes.NvmfCreateTransportRequest{Trtype: spdktypes.NvmeTransportTypeTCP}, nil) // there may be one
	p.to.Call(t, "nvmf_create_subsystem", spdktypes.NvmfCreateSubsystemRequest{Nqn: nqn}, nil)
	p.to.Call(t, "nvmf_subsystem_add_ns", spdktypes.NvmfSubsystemAddNsRequest{
		Nqn: nqn, Namespace: spdktypes.NvmfSubsystemNamespace{BdevName: head},
	}, nil)
	_, err := h.Open(t.Context(), newRun(), head)
	require.ErrorIs(t, err, ports.ErrBusy)
	require.ErrorContains(t, err, "vol-1 is in use")
	p.to.Call(t, "nvmf_delete_subsystem", spdktypes.NvmfDeleteSubsystemRequest{Nqn: nqn}, nil)
	b, err := h.Open(t.Context(), newRun(), head)
	require.NoError(t, err)
	require.NoError(t, b.Close())
}
