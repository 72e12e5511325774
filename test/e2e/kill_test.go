package e2e

import (
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/domain"
)

// The destination's target is killed in the middle of a copy, after some snapshots are
// finished. The rebuild ends with an error; the next one keeps the finished snapshots.
func TestField_KilledDestination(t *testing.T) {
	onEach(t, between, func(t *testing.T, from, to *targettest.Target) {
		source, destination := newChain(t, from, to)
		a, b := source.address(chainFrom), destination.address(chainTo)

		p := program.startRebuild(t, a, b)
		await(t, p, "a copy was under way", func() bool {
			_, filling := destination.filling(t, chainTo)
			return filling
		})
		to.Kill(t)
		requireFailed(t, p, "the destination died in the middle of a copy")
		to.Restart(t)
		to.LimitWrites(t, destination.lvstore, chainMiBSecond)

		p = program.startRebuild(t, a, b, "--parallel", "1")
		await(t, p, "two snapshots were finished", func() bool { return len(destination.sealed(t, chainTo)) >= 2 })
		to.Kill(t)
		requireFailed(t, p, "the destination died between two snapshots")
		to.Restart(t)
		finished := destination.sealed(t, chainTo)
		require.GreaterOrEqual(t, len(finished), 2)
		require.Less(t, len(finished), chainLength)
		requireKept(t, source, destination, finished)
	})
}

// Another program takes almost all of the store while a rebuild fills it.
func TestRebuildEndsBeforeUsingReserve(t *testing.T) {
	onEach(t, within|between, func(t *testing.T, from, to *targettest.Target) {
		source, destination := newChain(t, from, to)
		p := program.startRebuild(t, source.address(chainFrom), destination.address(chainTo), "--parallel", "1")
		await(t, p, "a copy was under way", func() bool {
			_, filling := destination.filling(t, chainTo)
			return filling
		})
		const left = 2 * chainClusters
		store := destination.store(t)
		to.Call(t, "bdev_lvol_create", map[string]any{
			"lvs_name": destination.lvstore, "lvol_name": "thick", "size_in_mib": (store.FreeClusters - left) * clusterSize >> 20,
			"thin_provision": false, "clear_method": "none",
		}, nil)
		require.Contains(t, requireFailed(t, p, "somebody took the room"), "too little space left")
		store = destination.store(t)
		reserve, err := domain.Reserve(store, 1)
		require.NoError(t, err)
		require.GreaterOrEqual(t, store.FreeClusters, reserve)
		require.Empty(t, destination.replica(t, chainTo).InFlight)
		requireNothingOpen(t, to)
		finished := destination.sealed(t, chainTo)
		if !proves(t, source, destination) {
			require.Empty(t, finished, "what the next run could not prove")
		}
		to.Call(t, "bdev_lvol_delete", map[string]any{"name": destination.lvstore + "/thick"}, nil)
		to.LimitWrites(t, destination.lvstore, 0)
		requireKept(t, source, destination, finished)
	})
}

// The source's target is killed in the middle of a copy.
func TestField_KilledSource(t *testing.T) {
	onEach(t, between, func(t *testing.T, from, to *targettest.Target) {
		source, destination := newChain(t, from, to)
		p := program.startRebuild(t, source.address(chainFrom), destination.address(chainTo), "--parallel", "1")
		await(t, p, "the second copy was under way", func() bool {
			_, filling := destination.filling(t, chainTo)
			return filling && len(destination.sealed(t, chainTo)) > 0
		})
		from.Kill(t)
		requireFailed(t, p, "the source died in the middle of a copy")
		require.Empty(t, destination.replica(t, chainTo).InFlight, "the destination is alive, and tidied")
		requireNothingOpen(t, to)
		finished := destination.sealed(t, chainTo)
		to.LimitWrites(t, destination.lvstore, 0)
		from.Restart(t)
		requireKept(t, source, destination, finished)
	})
}

// The engine is killed, and its target continues the copy. The next run starts meanwhile:
// no cluster of the old copy gets into its lvols.
func TestField_LateCopy(t *testing.T) {
	onEach(t, within|between|mixed, func(t *testing.T, from, to *targettest.Target) {
		source, destination := newChain(t, from, to)
		a, b := source.address(chainFrom), destination.address(chainTo)
		p := program.startRebuild(t, a, b)
		var late domain.Lvol
		await(t, p, "a copy was under way", func() (filling bool) {
			late, filling = destination.filling(t, chainTo)
			return filling
		})
		p.signal(t, syscall.SIGKILL)
		require.Equal(t, -1, p.status())
		p = program.startRebuild(t, a, b)
		if from != to {
			await(t, p, "it removed what the old copy wrote into", func() bool {
				for _, l := range destination.replica(t, chainTo).InFlight {
					if l.UUID == late.UUID {
						return false
					}
				}
				return true
			})
		} // else the old copy cannot be stopped, and it waits
		to.LimitWrites(t, destination.lvstore, 0)
		r, status := p.result(t)
		require.Zero(t, status, "%+v", r)
		require.Empty(t, unexpected(p.stderr.String()))
		requireRebuilt(t, source, chainFrom, destination, chainTo)
		requireNoCopy(t, source)
	})
}

// Ctrl-C ends the copy, also on the targets, and lvols in flight are removed.
func TestInterruptedCopyLeavesNothing(t *testing.T) {
	onEach(t, within|between|mixed, func(t *testing.T, from, to *targettest.Target) {
		source, destination := newChain(t, from, to)
		p := program.startRebuild(t, source.address(chainFrom), destination.address(chainTo), "--parallel", "2")
		await(t, p, "a copy was under way", func() bool {
			_, filling := destination.filling(t, chainTo)
			return filling
		})
		p.signal(t, syscall.SIGINT)
		if from == to {
			to.LimitWrites(t, destination.lvstore, 0) // SPDK cannot stop such a copy: it is waited for
		}
		requireFailed(t, p, "it was interrupted")
		require.Empty(t, destination.replica(t, chainTo).InFlight)
		requireNothingOpen(t, from)
		requireNothingOpen(t, to)
		requireNoCopy(t, source)
		to.LimitWrites(t, destination.lvstore, 0)
		requireKept(t, source, destination, destination.sealed(t, chainTo))
	})
}

// Two engines on one replica are the caller's mistake. On one machine the second one is
// refused. If they do not see each other's claims, one of them fails, nothing wrong is
// sealed, and another run completes the replica.
func TestTwoEnginesOnOneReplica(t *testing.T) {
	onEach(t, within|between, func(t *testing.T, from, to *targettest.Target) {
		source, destination := newChain(t, from, to)
		a, b := source.address(chainFrom), destination.address(chainTo)
		first := program.startRebuild(t, a, b)
		await(t, first, "a copy was under way", func() bool {
			_, filling := destination.filling(t, chainTo)
			return filling
		})
		r, status := program.rebuild(t, a, b)
		require.Equal(t, 1, status)
		require.Equal(t, "refused", r.Outcome)
		require.Contains(t, r.Error, "is in use by the rebuild of replica")
		require.False(t, first.hasEnded(), "the first one goes on")

		require.NoError(t, os.Remove(to.Socket+".claims")) // as of two containers that share no directory
		second := program.startRebuild(t, a, b)
		requireEnds(t, first, "the first")
		requireEnds(t, second, "the second")
		r1, _ := first.result(t)
		r2, _ := second.result(t)
		t.Logf("first: %s %s\nsecond: %s %s", r1.Outcome, r1.Error, r2.Outcome, r2.Error)
		require.Contains(t, []string{r1.Outcome, r2.Outcome}, "failed")
		requireSealedRight(t, source, destination)
		to.LimitWrites(t, destination.lvstore, 0)
		program.mustRebuild(t, a, b)
		requireRebuilt(t, source, chainFrom, destination, chainTo)
		source.requireAsItWas(t, chainFrom)
	})
}
