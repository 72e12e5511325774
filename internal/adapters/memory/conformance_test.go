package memory_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports/porttest"
)

// Small clusters keep the suite fast; 64 of them let it fill a store.
func TestConformance(t *testing.T) {
	for _, flavour := range []memory.Flavour{memory.Fork, memory.Upstream} {
		t.Run(flavour.String(), func(t *testing.T) {
			porttest.Run(t, porttest.Harness{
				Parallel: true,
				NewHosts: func(t *testing.T, n int) []porttest.Instance {
					fabric := memory.NewFabric()
					instances := make([]porttest.Instance, n)
					for i := range instances {
						instances[i] = instance(fabric.NewHost(memory.Config{
							Name:          "disk",
							ClusterSize:   4096,
							BlockSize:     512,
							TotalClusters: 64,
							Flavour:       flavour,
						}))
					}
					return instances
				},
			})
		})
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
