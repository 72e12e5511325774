package e2e

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
)

// Two healthy replicas are on two lvstores of one target, and a third one is rebuilt on
// another target. Without checksums nothing is shared, and a warning says so.
func TestTwoSourcesShareCopies(t *testing.T) {
	onEach(t, between, func(t *testing.T, from, to *targettest.Target) {
		const first, second, third = "vol-1-r-0a1b2c3d", "vol-1-r-4e5f6a7b", "vol-1-r-8c9d0e1f"
		a, b, destination := newPlace(t, from, storeClusters), newPlace(t, from, storeClusters), newPlace(t, to, storeClusters)
		image := noises(7, 2)
		for _, p := range []*place{a, b, destination} {
			p.importImage(t, image)
		}
		a.growChain(t, first)
		program.mustRebuild(t, a.address(first), b.address(second))

		to.LimitWrites(t, destination.lvstore, 8*chainMiBSecond) // so that copies overlap
		p := program.startRebuild(t, a.address(first), destination.address(third), "--source", b.address(second), "--verify", "views")
		r, status := p.result(t)
		require.Zero(t, status, "%+v", r)
		require.Empty(t, r.Violations)
		requireRebuilt(t, a, first, destination, third)
		require.Len(t, r.Sources, 2)
		require.Equal(t, "primary", r.Sources[0].State)
		served := slices.Concat(r.Sources[0].Snapshots, r.Sources[1].Snapshots)
		require.ElementsMatch(t, []string{"s1", "s2", "s3", "s4"}, served)
		if !a.store(t).Proves {
			require.Empty(t, r.Sources[1].Snapshots)
			require.Contains(t, p.stderr.String(), "reports no checksums")
			return
		}
		require.Empty(t, unexpected(p.stderr.String()))
		for _, s := range r.Sources {
			require.NotEmpty(t, s.Snapshots, "each does its part")
			require.EqualValues(t, len(s.Snapshots)*chainClusters*clusterSize, s.CopiedBytes)
		}
	})
}

// The primary's target is killed in the middle of a copy. The same rebuild completes from
// the other source, and leaves nothing open.
func TestOtherSourceContinues(t *testing.T) {
	onEach(t, between, func(t *testing.T, from, to *targettest.Target) {
		const first, second, third = "vol-1-r-0a1b2c3d", "vol-1-r-4e5f6a7b", "vol-1-r-8c9d0e1f"
		a, b, destination := newPlace(t, from, storeClusters), newPlace(t, to, storeClusters), newPlace(t, to, storeClusters)
		image := noises(7, 2)
		for _, p := range []*place{a, b, destination} {
			p.importImage(t, image)
		}
		a.growChain(t, first)
		program.mustRebuild(t, a.address(first), b.address(second))

		to.LimitWrites(t, destination.lvstore, chainMiBSecond)
		p := program.startRebuild(t, a.address(first), destination.address(third), "--source", b.address(second))
		await(t, p, "a copy was under way", func() bool {
			_, filling := destination.filling(t, third)
			return filling
		})
		from.Kill(t)
		r, status := p.result(t)
		require.Zero(t, status, "%+v", r)
		require.Equal(t, []string{"lost", "primary"}, []string{r.Sources[0].State, r.Sources[1].State})
		require.NotEmpty(t, r.Sources[1].Snapshots)
		requireRebuilt(t, b, second, destination, third)
		requireNothingOpen(t, to)
		from.Restart(t)
	})
}
