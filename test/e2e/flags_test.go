package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
)

// Four copies with SPDK's minimum of 1 MiB per second each would exceed the limit of 2. A
// busy machine makes the rebuild slower, never faster.
func TestBandwidthLimitsAllCopiesTogether(t *testing.T) {
	onEach(t, between, func(t *testing.T, from, to *targettest.Target) {
		source, destination := newChain(t, from, to)
		to.LimitWrites(t, destination.lvstore, 0)
		began := time.Now()
		done, status := program.startRebuild(t, source.address(chainFrom), destination.address(chainTo), "--bandwidth", "2MiB", "--parallel", "4").result(t)
		require.Zero(t, status, done.Error)
		least := time.Duration(done.CopiedBytes/(2<<20)) * time.Second
		require.GreaterOrEqual(t, time.Since(began), least*9/10)
		require.EqualValues(t, chainLength*chainClusters*clusterSize, done.CopiedBytes)
	})
}

// With --no-checksums, a plan on targets that have no checksums yet changes nothing and
// proves nothing; a plan without that flag makes the targets store them.
func TestPlanUsesExistingChecksums(t *testing.T) {
	onEach(t, between, func(t *testing.T, from, to *targettest.Target) {
		source, destination := newChain(t, from, to)
		to.LimitWrites(t, destination.lvstore, 0)
		done, status := program.startRebuild(t, source.address(chainFrom), destination.address(chainTo), "--no-checksums").result(t)
		require.Zero(t, status, done.Error)
		kept := func(flags ...string) (n int) {
			status, object, said := program.command(t, append([]string{"plan", "--source", source.address(chainFrom), "--destination", destination.address(chainTo)}, flags...)...)
			require.Zero(t, status, said)
			for _, one := range object["plan"].([]any) {
				if entry := one.(map[string]any); entry["action"] == "keep" && entry["snapshot"] != "" {
					n++
				}
			}
			return n
		}
		before, after := listings(t, from), listings(t, to)
		require.Zero(t, kept("--no-checksums"))
		require.Equal(t, before, listings(t, from))
		require.Equal(t, after, listings(t, to))
		proven := kept()
		require.Equal(t, proven, kept("--no-checksums"))
		if source.store(t).Proves && destination.store(t).Proves {
			require.Equal(t, chainLength, proven)
		}
	})
}
