package storetest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/memhost"
	"github.com/rootgraft/rebuild/storetest"
)

func TestMemoryHosts(t *testing.T) {
	storetest.Run(t, storetest.Harness{
		Parallel: true,
		NewHosts: func(_ *testing.T, n int) []storetest.Instance {
			fabric := memhost.NewFabric()
			instances := make([]storetest.Instance, n)
			for i := range instances {
				h := fabric.NewHost(memhost.Config{Name: "disk", ClusterSize: 4096, BlockSize: 512, TotalClusters: 64})
				instances[i] = storetest.Instance{
					Host:    h,
					Write:   mustWork(h.WriteAt),
					Read:    mustWork(h.ReadAt),
					Restart: func(*testing.T) { h.Restart() },
				}
			}
			return instances
		},
	})
}

func mustWork(call func(uuid string, p []byte, offset uint64) error) func(*testing.T, string, []byte, uint64) {
	return func(t *testing.T, uuid string, p []byte, offset uint64) {
		t.Helper()
		require.NoError(t, call(uuid, p, offset))
	}
}
