package memory_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

const kib4 = 4096

var (
	run     = ports.Run{Replica: "vol-1-r-4e5f6a7b", ID: "0badcafe"}
	morning = domain.Attributes{CreatedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), UserCreated: true}
)

// twoHosts can send to each other; clusters are of 4 KiB.
func twoHosts() (from, to *memory.Host) {
	fabric := memory.NewFabric()
	return fabric.NewHost(memory.Config{Name: "disk-1", ClusterSize: kib4}),
		fabric.NewHost(memory.Config{Name: "disk-2", ClusterSize: kib4})
}

func oneHost() *memory.Host {
	h, _ := twoHosts()
	return h
}

func create(t *testing.T, h *memory.Host, name string, clusters uint64) string {
	t.Helper()
	uuid, err := h.Create(t.Context(), name, clusters*kib4)
	require.NoError(t, err)
	return uuid
}

func fill(t *testing.T, h *memory.Host, uuid string, with byte, positions ...uint64) {
	t.Helper()
	for _, i := range positions {
		p := make([]byte, kib4)
		for at := range p {
			p[at] = with
		}
		require.NoError(t, h.WriteAt(uuid, p, i*kib4))
	}
}

func snapshot(t *testing.T, h *memory.Host, name string, clusters uint64, with byte, positions ...uint64) string {
	t.Helper()
	l := create(t, h, name+"-filling", clusters)
	fill(t, h, l, with, positions...)
	sealed, err := h.Seal(t.Context(), l, name, ports.SealRecord{Attributes: morning})
	require.NoError(t, err)
	return sealed
}

func receive(t *testing.T, to *memory.Host, uuid string, from *memory.Host) ports.Address {
	t.Helper()
	peer, err := from.Peer(t.Context())
	require.NoError(t, err)
	address, err := to.Receive(t.Context(), run, uuid, peer)
	require.NoError(t, err)
	return address
}

func names(t *testing.T, h *memory.Host) []string {
	t.Helper()
	store, err := h.List(t.Context())
	require.NoError(t, err)
	found := make([]string, len(store.Lvols))
	for i, l := range store.Lvols {
		found[i] = l.Name
	}
	return found
}

func look(t *testing.T, h *memory.Host, uuid string) domain.Lvol {
	t.Helper()
	l, err := h.Look(t.Context(), uuid)
	require.NoError(t, err)
	return l
}

// slow makes calls of that method take a second.
func slow(method string) func(memory.Call) memory.Fault {
	return func(c memory.Call) memory.Fault {
		if c.Method == method {
			return memory.Fault{Delay: time.Second}
		}
		return memory.Fault{}
	}
}

func sealed(t *testing.T, h *memory.Host, uuid, name string) string {
	t.Helper()
	made, err := h.Seal(t.Context(), uuid, name, ports.SealRecord{})
	require.NoError(t, err)
	return made
}
