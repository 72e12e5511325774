package e2e

import (
	"bytes"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/domain"
)

// outdatedNine makes vol-9 on both hosts, outdated on the destination's, and linked clones of
// both of its snapshots: vol-5 of daily, vol-1 of weekly.
func outdatedNine(t *testing.T, from, to *targettest.Target) (source, destination *place) {
	t.Helper()
	source, destination = newPlaces(t, from, to)
	source.growTwo(t, vol9From, source.image, [2]string{"weekly", "daily"}, 30)
	destination.growTwo(t, vol9To, destination.image, [2]string{"weekly", "daily"}, 60)
	source.growTwo(t, vol5From, source.makeEntryPoint(t, vol9From, "daily"), [2]string{"gold", "silver"}, 40)
	destination.growTwo(t, vol5To, destination.makeEntryPoint(t, vol9To, "daily"), [2]string{"gold", "silver"}, 40)
	source.growOn(t, vol1From, source.makeEntryPoint(t, vol9From, "weekly"))
	destination.growOn(t, vol1To, destination.makeEntryPoint(t, vol9To, "weekly"))
	return source, destination
}

// clonesRead looks at the heads of the linked clones: each shows the old bytes or the right
// ones.
func clonesRead(t *testing.T, source, destination *place) (look func()) {
	t.Helper()
	type clone struct {
		head       domain.Lvol
		old, right []byte
	}
	var clones []clone
	for from, to := range map[string]string{vol5From: vol5To, vol1From: vol1To} {
		head := *destination.replica(t, to).Head
		clones = append(clones, clone{head, destination.view(t, head), source.view(t, *source.replica(t, from).Head)})
	}
	return func() {
		t.Helper()
		for _, c := range clones {
			is := destination.view(t, c.head)
			require.True(t, bytes.Equal(c.old, is) || bytes.Equal(c.right, is), "%s reads neither the old bytes nor the right ones", c.head.Name)
		}
	}
}

func requireReplaced(t *testing.T, source, destination *place) {
	t.Helper()
	requireRebuilt(t, source, vol9From, destination, vol9To)
	destination.requireOnEntryPoint(t, vol5To, vol9To, "daily")
	destination.requireOnEntryPoint(t, vol1To, vol9To, "weekly")
	requireEqual(t, source, vol5From, destination, vol5To)
	requireEqual(t, source, vol1From, destination, vol1To)
	for _, replica := range []string{vol9To, vol5To, vol1To} {
		destination.requireHealthy(t, replica)
	}
	for _, l := range destination.store(t).Lvols {
		require.NotContains(t, l.Name, "rebuilding")
	}
}

// Snapshots are replaced under linked clones that read through them all the time. Where
// a target cannot rename snapshots, or nothing is proven, that is refused.
func TestReplaceSnapshotsUnderLinkedClones(t *testing.T) {
	onEach(t, between|mixed, func(t *testing.T, from, to *targettest.Target) {
		source, destination := outdatedNine(t, from, to)
		if !proves(t, source, destination) {
			requireRefused(t, source, vol9From, destination, vol9To, vol9To+"-clone-ep-", "linked clones of it: vol-", "since they cannot be given the copy")
			return
		}
		look := clonesRead(t, source, destination)
		to.LimitWrites(t, destination.lvstore, 8)
		p := program.startRebuild(t, source.address(vol9From), destination.address(vol9To))
		for !p.hasEnded() {
			look()
		}
		r, status := p.result(t)
		require.Zero(t, status, "%+v", r)
		to.LimitWrites(t, destination.lvstore, 0)
		look()
		requireReplaced(t, source, destination)
		to.Restart(t)
		requireReplaced(t, source, destination)
		source.requireAsItWas(t, vol9From)
		require.Zero(t, program.mustRebuild(t, source.address(vol9From), destination.address(vol9To)).CopiedBytes, "nothing has changed")
	})
}

// The engine is killed at several moments of a replacement, and then the target, too. The
// linked clones read the old bytes or the right ones, also while gc runs.
func TestReplacementUnderLinkedClonesIsKilled(t *testing.T) {
	onEach(t, between, func(t *testing.T, from, to *targettest.Target) {
		source, destination := outdatedNine(t, from, to)
		if !proves(t, source, destination) {
			t.Skip("without proofs it is refused: TestReplaceSnapshotsUnderLinkedClones")
		}
		look := clonesRead(t, source, destination)
		a, b := source.address(vol9From), destination.address(vol9To)
		inFlight := func(that func(l domain.Lvol) bool) func() bool {
			return func() bool {
				for _, l := range destination.replica(t, vol9To).InFlight {
					if that(l) {
						return true
					}
				}
				return false
			}
		}
		to.LimitWrites(t, destination.lvstore, 2)
		for _, killAt := range []struct {
			what string
			isSo func() bool
		}{
			{"a snapshot was set aside", inFlight(func(l domain.Lvol) bool { return l.ReadOnly && l.Own.Count > 0 })},
			{"a copy was in flight", inFlight(func(l domain.Lvol) bool { return !l.ReadOnly })},
			{"a snapshot was finished", func() bool { return len(destination.sealed(t, vol9To)) > 0 }},
		} {
			p := program.startRebuild(t, a, b, "--parallel", "1")
			await(t, p, killAt.what, killAt.isSo)
			p.signal(t, syscall.SIGKILL)
			require.Equal(t, -1, p.status())
			look()
			program.do(t, "gc", destination.hostAddress(), "--yes")
			look()
			to.Restart(t)
			to.LimitWrites(t, destination.lvstore, 2)
			look()
		}
		to.LimitWrites(t, destination.lvstore, 0)
		program.mustRebuild(t, a, b)
		look()
		requireReplaced(t, source, destination)
	})
}

// An earlier run has renamed a snapshot, and has ended before the new name was on the disk.
// The next one builds the copy under the old name. Then the target is killed.
func TestUnwrittenNameOfSnapshotSetAside(t *testing.T) {
	onEach(t, between, func(t *testing.T, from, to *targettest.Target) {
		source, destination := outdatedNine(t, from, to)
		if !proves(t, source, destination) {
			t.Skip("without proofs it is refused: TestReplaceSnapshotsUnderLinkedClones")
		}
		look := clonesRead(t, source, destination)
		r := destination.replica(t, vol9To)
		require.NoError(t, destination.host.Delete(t.Context(), r.Head.UUID))
		for i, snapshot := range []string{"daily", "weekly"} {
			s, _ := r.Snapshot(snapshot)
			aside := domain.InFlightLvolName(vol9To, strings.Repeat("0", 7)+string(rune('1'+i)))
			to.Call(t, "bdev_lvol_rename", map[string]string{"old_name": s.Lvol.UUID, "new_name": aside}, nil)
		}
		look()
		to.LimitWrites(t, destination.lvstore, 2)
		p := program.startRebuild(t, source.address(vol9From), destination.address(vol9To), "--parallel", "1")
		await(t, p, "a snapshot was finished", func() bool { return len(destination.sealed(t, vol9To)) > 0 })
		p.signal(t, syscall.SIGKILL)
		require.Equal(t, -1, p.status())
		sealed := destination.sealed(t, vol9To)
		to.Restart(t)
		to.LimitWrites(t, destination.lvstore, 0)
		require.Equal(t, sealed, destination.sealed(t, vol9To), "the finished snapshots are listed")
		look()
		program.mustRebuild(t, source.address(vol9From), destination.address(vol9To))
		requireReplaced(t, source, destination)
	})
}
