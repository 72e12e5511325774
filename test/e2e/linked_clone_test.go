package e2e

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Replicas on the source's and on the destination's host. vol-5 is a linked clone of
// snapshot daily of vol-9, which is on an image, and vol-1 is one of snapshot gold of vol-5.
const (
	vol9From, vol9To = "vol-9-r-0000000a", "vol-9-r-0000000b"
	vol5From, vol5To = "vol-5-r-0000000a", "vol-5-r-0000000b"
	vol1From, vol1To = "vol-1-r-0000000a", "vol-1-r-0000000b"
)

// newPlaces makes two places with one image.
func newPlaces(t *testing.T, from, to *targettest.Target) (source, destination *place) {
	t.Helper()
	source, destination = newPlace(t, from, storeClusters), newPlace(t, to, storeClusters)
	image := noises(7, imageClusters)
	source.importImage(t, image)
	destination.importImage(t, image)
	return source, destination
}

// growTwo makes a replica of two snapshots, and a head without data.
func (p *place) growTwo(t *testing.T, replica, base string, names [2]string, seed uint64) {
	t.Helper()
	first := p.snapshot(t, replica, names[0], base, volumeClusters, createdAt(0), map[int]uint64{1: seed, 5: seed + 1})
	second := p.snapshot(t, replica, names[1], first, volumeClusters, createdAt(1), map[int]uint64{2: seed + 2, 5: seed + 3})
	p.head(t, replica, second, volumeClusters)
}

// makeEntryPoint makes an entry point with the calls of Longhorn's engine.
func (p *place) makeEntryPoint(t *testing.T, replica, snapshot string) (uuid string) {
	t.Helper()
	name := domain.EntryPointLvolName(replica, snapshot)
	s, ok := p.replica(t, replica).Snapshot(snapshot)
	require.True(t, ok)
	l, err := p.host.Clone(t.Context(), s.Lvol.UUID, name+"-tmp-head", s.Lvol.Size, "")
	require.NoError(t, err)
	uuid, err = p.host.Seal(t.Context(), l, name, ports.SealRecord{})
	require.NoError(t, err)
	return uuid
}

// requireOnEntryPoint checks that the clone's ancestor is on the entry point of that
// snapshot, which is empty and a clone of it.
func (p *place) requireOnEntryPoint(t *testing.T, clone, replica, snapshot string) {
	t.Helper()
	s, ok := p.replica(t, replica).Snapshot(snapshot)
	require.True(t, ok)
	at, err := p.host.Look(t.Context(), p.ancestor(t, clone).Parent)
	require.NoError(t, err)
	require.Equal(t, domain.Lvol{
		UUID: at.UUID, Name: domain.EntryPointLvolName(replica, snapshot), Parent: s.Lvol.UUID, Size: s.Lvol.Size, ReadOnly: true,
	}, plain(at))
}

// plain is an lvol without its proof.
func plain(l domain.Lvol) domain.Lvol {
	l.Own.Map, l.Own.Checksum = "", ""
	return l
}

// requireHealthy audits a replica with the program.
func (p *place) requireHealthy(t *testing.T, replica string) {
	t.Helper()
	status, audit, said := program.command(t, "audit", p.address(replica))
	require.Zero(t, status, "%s: %v %s", replica, audit, said)
}

// requireRefused checks that a rebuild is refused, and that nothing was changed.
func requireRefused(t *testing.T, source *place, from string, destination *place, to string, says ...string) {
	t.Helper()
	sourceBefore, before := source.store(t), destination.store(t)
	r, status := program.rebuild(t, source.address(from), destination.address(to))
	require.Equal(t, 1, status)
	require.Equal(t, "refused", r.Outcome)
	for _, text := range says {
		require.Contains(t, r.Error, text)
	}
	require.Equal(t, sourceBefore, source.store(t))
	require.Equal(t, before, destination.store(t))
}

// The volumes of a chain of linked clones are rebuilt one after the other, without any
// flag. Each has to wait for the one below it.
func TestRebuildChainOfLinkedClones(t *testing.T) {
	onEach(t, between|mixed, func(t *testing.T, from, to *targettest.Target) {
		source, destination := newPlaces(t, from, to)
		source.growTwo(t, vol9From, source.image, [2]string{"weekly", "daily"}, 30)
		source.growTwo(t, vol5From, source.makeEntryPoint(t, vol9From, "daily"), [2]string{"gold", "silver"}, 40)
		source.growOn(t, vol1From, source.makeEntryPoint(t, vol5From, "gold"))
		for _, replica := range []string{vol9From, vol5From, vol1From} {
			source.requireHealthy(t, replica)
		}

		requireRefused(t, source, vol5From, destination, vol5To, "no replica of volume vol-9", destination.lvstore, "first")
		program.mustRebuild(t, source.address(vol9From), destination.address(vol9To))
		requireRefused(t, source, vol1From, destination, vol1To, "no replica of volume vol-5", "first")
		made := program.mustRebuild(t, source.address(vol5From), destination.address(vol5To))
		require.Equal(t, "create-entry-point", made.Plan[0].Action)
		program.mustRebuild(t, source.address(vol1From), destination.address(vol1To))

		look := func() {
			destination.requireOnEntryPoint(t, vol5To, vol9To, "daily")
			destination.requireOnEntryPoint(t, vol1To, vol5To, "gold")
			requireRebuilt(t, source, vol9From, destination, vol9To)
			requireEqual(t, source, vol5From, destination, vol5To)
			requireEqual(t, source, vol1From, destination, vol1To)
			for i, replica := range []string{vol9From, vol5From, vol1From} {
				source.requireAsItWas(t, replica)
				source.requireHealthy(t, replica)
				destination.requireHealthy(t, []string{vol9To, vol5To, vol1To}[i])
			}
		}
		look()
		to.Restart(t)
		look()
		if r := program.mustRebuild(t, source.address(vol1From), destination.address(vol1To)); proves(t, source, destination) {
			require.Zero(t, r.CopiedBytes, "nothing has changed")
		}
		look()
	})
}

// The destination's replica of the source volume lacks the snapshot of the clone.
func TestLinkedCloneWaitsForSnapshot(t *testing.T) {
	onEach(t, between|mixed, func(t *testing.T, from, to *targettest.Target) {
		source, destination := newPlaces(t, from, to)
		source.growTwo(t, vol9From, source.image, [2]string{"weekly", "hourly"}, 30)
		program.mustRebuild(t, source.address(vol9From), destination.address(vol9To))
		source.target.Write(t, source.replica(t, vol9From).Head.UUID, noise(50), 0)
		program.do(t, "snapshot", "create", source.address(vol9From), "daily")
		source.growOn(t, vol1From, source.makeEntryPoint(t, vol9From, "daily"))

		requireRefused(t, source, vol1From, destination, vol1To, vol9To, "has no snapshot daily", "rebuild that replica first")
		program.mustRebuild(t, source.address(vol9From), destination.address(vol9To))
		program.mustRebuild(t, source.address(vol1From), destination.address(vol1To))
		destination.requireOnEntryPoint(t, vol1To, vol9To, "daily")
		requireEqual(t, source, vol1From, destination, vol1To)
	})
}

// Leftovers of a linked clone: its ancestor has lost the entry point, or is on the snapshot
// itself, or much else is wrong, too. What is proven is grafted, and not copied.
func TestRebuildDamagedLinkedClone(t *testing.T) {
	onEach(t, between|mixed, func(t *testing.T, from, to *targettest.Target) {
		source, destination := newPlaces(t, from, to)
		source.growTwo(t, vol9From, source.image, [2]string{"weekly", "daily"}, 30)
		source.growOn(t, vol1From, source.makeEntryPoint(t, vol9From, "daily"))
		program.mustRebuild(t, source.address(vol9From), destination.address(vol9To))
		a, b := source.address(vol1From), destination.address(vol1To)
		program.mustRebuild(t, a, b)
		daily, ok := destination.replica(t, vol9To).Snapshot("daily")
		require.True(t, ok)

		for what, damaged := range map[string]func(){
			"the ancestor has no parent": func() {
				require.NoError(t, destination.host.Graft(t.Context(), destination.ancestor(t, vol1To).UUID, ""))
			},
			"the ancestor is on the snapshot": func() {
				require.NoError(t, destination.host.Graft(t.Context(), destination.ancestor(t, vol1To).UUID, daily.Lvol.UUID))
			},
			"much is wrong": func() { damage(t, destination, vol1To) },
		} {
			damaged()
			status, _, _ := program.command(t, "audit", b, "--base", "clone:"+vol9From+"@daily") // upstream has no records
			require.Equal(t, 1, status, "%s", what)
			r := program.mustRebuild(t, a, b)
			destination.requireOnEntryPoint(t, vol1To, vol9To, "daily")
			requireEqual(t, source, vol1From, destination, vol1To)
			destination.requireHealthy(t, vol1To)
			if proves(t, source, destination) {
				actions := r.actions()
				require.Equal(t, "graft", actions["snap11"], "%s", what)
				require.Equal(t, "keep", actions["snap12"], "%s", what)
				require.Equal(t, what == "much is wrong", r.CopiedBytes > 0, "%s", what)
			}
		}
		source.requireAsItWas(t, vol1From)
		source.requireAsItWas(t, vol9From)
		requireRebuilt(t, source, vol9From, destination, vol9To)
	})
}

// The engine is killed while it builds a linked clone, and run again.
func TestRebuildOfLinkedCloneIsKilled(t *testing.T) {
	onEach(t, between|mixed, func(t *testing.T, from, to *targettest.Target) {
		source, destination := newPlaces(t, from, to)
		source.growTwo(t, vol9From, source.image, [2]string{"weekly", "daily"}, 30)
		source.growOn(t, vol1From, source.makeEntryPoint(t, vol9From, "daily"))
		program.mustRebuild(t, source.address(vol9From), destination.address(vol9To))
		a, b := source.address(vol1From), destination.address(vol1To)
		to.LimitWrites(t, destination.lvstore, 2)
		for _, killAt := range []struct {
			what string
			isSo func() bool
		}{
			{"an lvol was in flight", func() bool { return len(destination.replica(t, vol1To).InFlight) > 0 }},
			{"a snapshot was finished", func() bool { return len(destination.sealed(t, vol1To)) > 0 }},
		} {
			p := program.startRebuild(t, a, b, "--parallel", "1")
			await(t, p, killAt.what, killAt.isSo)
			p.signal(t, syscall.SIGKILL)
			require.Equal(t, -1, p.status())
		}
		to.LimitWrites(t, destination.lvstore, 0)
		program.mustRebuild(t, a, b)
		destination.requireOnEntryPoint(t, vol1To, vol9To, "daily")
		requireEqual(t, source, vol1From, destination, vol1To)
		destination.requireHealthy(t, vol1To)
		source.requireAsItWas(t, vol1From)
		requireRebuilt(t, source, vol9From, destination, vol9To)
	})
}

// Commands make a linked clone, on one host. The snapshot below it is not deleted, damage is
// repaired without a copy, and gc removes the entry point when it has no clones any more.
func TestLinkedCloneCommands(t *testing.T) {
	onEach(t, within, func(t *testing.T, target, _ *targettest.Target) {
		p := newPlace(t, target, storeClusters)
		p.importImage(t, noises(7, imageClusters))
		p.growTwo(t, vol9From, p.image, [2]string{"weekly", "daily"}, 30)
		at, base := p.address(vol1From), "clone:"+vol9From+"@daily"
		program.do(t, "replica", "create", at, "--size", "16MiB", "--base", base)
		p.target.Write(t, p.replica(t, vol1From).Head.UUID, noise(50), 9*clusterSize)
		program.do(t, "snapshot", "create", at, "s1")
		p.requireOnEntryPoint(t, vol1From, vol9From, "daily")
		p.requireHealthy(t, vol1From)
		p.requireHealthy(t, vol9From)
		right := p.view(t, p.ancestor(t, vol1From))
		daily, _ := p.replica(t, vol9From).Snapshot("daily")
		require.Equal(t, p.view(t, daily.Lvol), right[:volumeClusters*clusterSize])

		for _, refused := range [][]string{
			{"snapshot", "delete", p.address(vol9From), "daily", "--confirm", "daily"},
			{"replica", "delete", p.address(vol9From), "--confirm", vol9From},
		} {
			before := p.store(t)
			status, object, said := program.command(t, refused...)
			require.Equal(t, 1, status, "%v %s", object, said)
			require.Equal(t, before, p.store(t), "%v", refused)
		}

		entryPoint := p.ancestor(t, vol1From).Parent
		loosen := func(uuid string) { require.NoError(t, p.host.Graft(t.Context(), uuid, "")) }
		for _, damage := range []struct {
			what string
			do   func()
		}{
			{"the ancestor has no parent", func() { loosen(p.ancestor(t, vol1From).UUID) }},
			{"the ancestor is on the snapshot", func() {
				require.NoError(t, p.host.Graft(t.Context(), p.ancestor(t, vol1From).UUID, daily.Lvol.UUID))
			}},
			{"the entry point has no parent", func() { loosen(entryPoint) }},
			{"the entry point is gone", func() {
				loosen(p.ancestor(t, vol1From).UUID)
				require.NoError(t, p.host.Delete(t.Context(), entryPoint))
			}},
		} {
			damage.do()
			status, _, _ := program.command(t, "audit", at, "--base", base)
			require.Equal(t, 1, status, damage.what)
			repaired := program.do(t, "repair", at, "--base", base)
			require.Zero(t, repaired["copiedBytes"], damage.what)
			p.requireOnEntryPoint(t, vol1From, vol9From, "daily")
			p.requireHealthy(t, vol1From)
			require.Equal(t, right, p.view(t, p.ancestor(t, vol1From)), damage.what)
		}

		host := p.hostAddress()
		program.do(t, "gc", host, "--yes")
		p.requireOnEntryPoint(t, vol1From, vol9From, "daily")
		program.do(t, "replica", "delete", at, "--confirm", vol1From)
		program.do(t, "gc", host, "--yes")
		_, there, err := p.store(t).EntryPoint(domain.CloneBase("vol-9", "daily"))
		require.NoError(t, err)
		require.False(t, there)
		p.requireHealthy(t, vol9From)
	})
}

// Two linked clones of one snapshot are rebuilt at once. Both need the entry point, which is
// missing.
func TestLinkedClonesAreRebuiltAtOnce(t *testing.T) {
	onEach(t, between|mixed, func(t *testing.T, from, to *targettest.Target) {
		source, destination := newPlaces(t, from, to)
		source.growTwo(t, vol9From, source.image, [2]string{"weekly", "daily"}, 30)
		entryPoint := source.makeEntryPoint(t, vol9From, "daily")
		source.growTwo(t, vol5From, entryPoint, [2]string{"gold", "silver"}, 40)
		source.growTwo(t, vol1From, entryPoint, [2]string{"red", "blue"}, 50)
		program.mustRebuild(t, source.address(vol9From), destination.address(vol9To))

		first := program.startRebuild(t, source.address(vol5From), destination.address(vol5To))
		second := program.startRebuild(t, source.address(vol1From), destination.address(vol1To))
		for _, p := range []*process{first, second} {
			r, status := p.result(t)
			require.Zero(t, status, "%+v", r)
			require.Empty(t, unexpected(p.stderr.String()))
		}
		for clone, at := range map[string]string{vol5From: vol5To, vol1From: vol1To} {
			destination.requireOnEntryPoint(t, at, vol9To, "daily")
			requireEqual(t, source, clone, destination, at)
			destination.requireHealthy(t, at)
		}
		requireRebuilt(t, source, vol9From, destination, vol9To)
	})
}

// A linked clone cannot be rebuilt while its source volume is.
func TestLinkedCloneWaitsForRebuildOfItsSource(t *testing.T) {
	onEach(t, between, func(t *testing.T, from, to *targettest.Target) {
		source, destination := newPlaces(t, from, to)
		source.growTwo(t, vol9From, source.image, [2]string{"weekly", "daily"}, 30)
		source.growTwo(t, vol1From, source.makeEntryPoint(t, vol9From, "daily"), [2]string{"red", "blue"}, 50)
		to.LimitWrites(t, destination.lvstore, 1)
		p := program.startRebuild(t, source.address(vol9From), destination.address(vol9To))
		await(t, p, "a copy was under way", func() bool { return len(destination.replica(t, vol9To).InFlight) > 0 })
		p.signal(t, syscall.SIGSTOP)
		r, status := program.startRebuild(t, source.address(vol1From), destination.address(vol1To)).result(t)
		require.Equal(t, 1, status)
		require.Equal(t, "refused", r.Outcome)
		require.Contains(t, r.Error, "vol-9")
		p.signal(t, syscall.SIGCONT)
		to.LimitWrites(t, destination.lvstore, 0)
		require.Zero(t, p.status(), "%s", &p.stderr)
		program.mustRebuild(t, source.address(vol1From), destination.address(vol1To))
		destination.requireOnEntryPoint(t, vol1To, vol9To, "daily")
		requireEqual(t, source, vol1From, destination, vol1To)
	})
}
