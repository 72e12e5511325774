package spdk

import (
	"bytes"
	"context"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"
	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmetcp"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmetcp/wire"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmf"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/ports"
)

func whatIsOpen(t *testing.T, p *pair) {
	h := openNew(t, p.to, 8)
	l := create(t, h, "vol-1-rebuilding-00000001", 2)
	run := newRun()
	opened, err := h.Open(t.Context(), run, l)
	require.NoError(t, err)
	b := opened.(*nvmf.Bytes)
	var found []spdktypes.NvmfSubsystem
	p.to.Call(t, "nvmf_get_subsystems", nil, &found)
	found = slices.DeleteFunc(found, func(sub spdktypes.NvmfSubsystem) bool { return sub.SerialNumber != run.ID })
	require.Len(t, found, 1)
	nqn, at := found[0].Nqn, found[0].ListenAddresses[0]
	require.False(t, found[0].AllowAnyHost)
	require.Len(t, found[0].Hosts, 1)

	// A peer of the same run has another subsystem.
	from := openNew(t, p.from, 8)
	other := create(t, h, "vol-1-rebuilding-00000002", 2)
	require.NotContains(t, string(receive(t, h, run, other, from)), nqn)

	config := nvmetcp.Config{
		Address: net.JoinHostPort(at.Traddr, at.Trsvcid), NQN: nqn, HostNQN: "nqn.2014-08.org.nvmexpress:uuid:" + from.store.UUID,
	}
	_, err = nvmetcp.Dial(t.Context(), config)
	var refusal *wire.StatusError
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, wire.StatusHostNotAllowed, refusal.Status)

	// Another process' run of the same replica, after this one has crashed.
	later := open(t, p.to.Socket, h.store.Name)
	require.NoError(t, later.Release(t.Context(), newRun()))
	require.Empty(t, subsystemOf(t, p.to, nqn))
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

// A namespace that is another lvol's is never read: not one that bears another NGUID,
// and not one of another length.
func TestOpenRefusesNamespaceOfAnotherLvol(t *testing.T) {
	for name, c := range map[string]struct {
		clusters uint64 // of the other lvol
		nguid    string // "": the right one
	}{"of another NGUID": {2, strings.Repeat("0badcafe", 4)}, "of another length": {3, ""}} {
		t.Run(name, func(t *testing.T) {
			target := targettest.Simulate(t, simtarget.NewFabric(), simtarget.Fork)
			swap := &swapper{nguid: c.nguid}
			h, err := Open(t.Context(), Config{Socket: target.Socket, Lvstore: target.NewStore(t, 16), Dial: swap.dial})
			require.NoError(t, err)
			defer func() { require.NoError(t, h.Close()) }()
			right, other := create(t, h, "vol-1-rebuilding-00000001", 2), create(t, h, "vol-1-rebuilding-00000002", c.clusters)
			swap.right, swap.wrong = right, other
			_, err = h.Open(t.Context(), newRun(), right)
			require.ErrorIs(t, err, ports.ErrUnavailable)
			require.ErrorContains(t, err, "another lvol's")
			swap.right, swap.nguid = "", ""
			b, err := h.Open(t.Context(), newRun(), right)
			require.NoError(t, err)
			require.NoError(t, b.Close())
		})
	}
}

// swapper has an export export another lvol, under another NGUID if one is given.
type swapper struct{ right, wrong, nguid string }

func (s *swapper) dial(ctx context.Context, socket string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	return swapped{conn, s}, err
}

type swapped struct {
	net.Conn
	*swapper
}

var nguidOfCall = regexp.MustCompile(`"nguid":"[0-9a-f]{32}"`)

func (c swapped) Write(p []byte) (int, error) {
	if c.right == "" || !bytes.Contains(p, []byte("nvmf_subsystem_add_ns")) {
		return c.Conn.Write(p)
	}
	other := bytes.ReplaceAll(p, []byte(c.right), []byte(c.wrong))
	if c.nguid != "" {
		other = nguidOfCall.ReplaceAll(other, []byte(`"nguid":"`+c.nguid+`"`))
	}
	return c.Conn.Write(other)
}
