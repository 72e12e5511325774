package raid_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/raid"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/ports"
)

// TestBegunByTwo has two processes begin to make a RAID of one name. Both have found none before
// one of them notes its heads.
func TestBegunByTwo(t *testing.T) {
	t.Parallel()
	const first, second = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
	for says, heads := range map[string][2]string{
		"being made or removed over other heads": {first, second},
		"another process has begun to make":      {first, first},
	} {
		t.Run(says, func(t *testing.T) {
			t.Parallel()
			home := targettest.Simulate(t, simtarget.NewFabric(), simtarget.Fork)
			var both sync.WaitGroup
			both.Add(2)
			home.Simulated().Inject(func(r simtarget.Request) simtarget.Fault {
				if r.Method == "bdev_raid_create" {
					both.Done()
					both.Wait()
				}
				return simtarget.Fault{}
			})
			begun := make(chan error, 2)
			for _, head := range heads {
				m, err := raid.OpenMirror(t.Context(), raid.MirrorConfig{Socket: home.Socket, RAID: "made", New: true, Logger: zaptest.NewLogger(t)})
				require.NoError(t, err)
				t.Cleanup(func() { require.NoError(t, m.Close()) })
				go func() { begun <- m.Begin(t.Context(), head) }()
			}
			one, other := <-begun, <-begun
			if one == nil {
				one, other = other, one
			}
			require.NoError(t, other)
			require.ErrorIs(t, one, ports.ErrExists)
			require.ErrorContains(t, one, says)
		})
	}
}
