package memory_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/freezer"
	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
	"github.com/rootgraft/rebuild/internal/ports/porttest"
)

// Small clusters keep the suite fast; 64 of them let it fill a store.
func TestConformance(t *testing.T) {
	for _, flavour := range []memory.Flavour{memory.Fork, memory.Upstream} {
		t.Run(flavour.String(), func(t *testing.T) {
			var fabrics sync.Map // by host
			porttest.Run(t, porttest.Harness{
				Parallel: true,
				NewHosts: func(t *testing.T, n int) []porttest.Instance {
					fabric := memory.NewFabric()
					instances := make([]porttest.Instance, n)
					for i := range instances {
						host := fabric.NewHost(memory.Config{
							Name:          "disk",
							ClusterSize:   4096,
							BlockSize:     512,
							TotalClusters: 64,
							Flavour:       flavour,
						})
						fabrics.Store(host, fabric)
						instances[i] = instance(host)
					}
					return instances
				},
				NewMirror: func(t *testing.T, hosts []porttest.Instance, heads []string) porttest.Mirrored {
					t.Helper()
					fabric, _ := fabrics.Load(hosts[0].Host)
					return mirrored(t, fabric.(*memory.Fabric), hosts, heads)
				},
				NewMaker: func(t *testing.T, hosts []porttest.Instance) ports.Mirror {
					t.Helper()
					fabric, _ := fabrics.Load(hosts[0].Host)
					m, err := fabric.(*memory.Fabric).NewMirror(memory.MirrorConfig{Name: "vol-1", New: true})
					require.NoError(t, err)
					return m
				},
			})
		})
	}
}

func mirrored(t *testing.T, fabric *memory.Fabric, hosts []porttest.Instance, heads []string) porttest.Mirrored {
	t.Helper()
	c := memory.MirrorConfig{Name: "vol-1", DropAfter: 50 * time.Millisecond}
	for i, host := range hosts {
		c.Heads = append(c.Heads, memory.Head{Host: host.Host.(*memory.Host), UUID: heads[i]})
	}
	m, err := fabric.NewMirror(c)
	require.NoError(t, err)
	t.Cleanup(m.Kill)
	return porttest.Mirrored{
		Mirror:  memory.CuttingMirror{Mirror: m},
		Freezer: freezer.Func(m.Suspend, m.Resume),
		Clients: m,
	}
}

func instance(h *memory.Host) porttest.Instance {
	return porttest.Instance{
		Host: h,
		Write: func(t *testing.T, uuid string, p []byte, offset uint64) {
			t.Helper()
			require.NoError(t, h.WriteAt(uuid, p, offset))
		},
		Read: func(t *testing.T, uuid string, p []byte, offset uint64) {
			t.Helper()
			require.NoError(t, h.ReadAt(uuid, p, offset))
		},
		CloneExternal: func(t *testing.T, name string, content []byte) string {
			t.Helper()
			uuid, err := h.CloneExternal(name, "nvme0n1", content)
			require.NoError(t, err)
			return uuid
		},
		Restart: func(*testing.T) { h.Restart() },
		Use: func(t *testing.T, uuid string, user domain.User) (domain.User, func()) {
			t.Helper()
			user.Name = "nqn.2026-01.com.example:vol-1-r-4e5f6a7b"
			require.NoError(t, h.Use(uuid, user))
			return user, func() { _ = h.Use(uuid, domain.User{}) } // it may have been deleted
		},
	}
}
