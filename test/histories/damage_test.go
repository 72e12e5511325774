package histories

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// loseReplica damages a replica, so that it has to be rebuilt. Its leftovers range from
// nothing to almost everything.
func (w *world) loseReplica(r *rand.Rand) {
	v, ok := w.pickVolume(r, func(v *volume) bool {
		return len(v.serving()) > 1 && (len(v.in(complete)) > 1 || len(v.in(hurt)) > 0)
	})
	if !ok {
		return
	}
	rep := pick(r, v.serving())
	if len(v.in(complete)) == 1 && rep.state == complete {
		rep = v.in(hurt)[0] // a complete one must remain
	}
	d := &damage{world: w, Rand: r, replica: rep}
	switch {
	case rep.carries():
		if rep.state != complete {
			w.logf("%s is hurt, and its snapshots have entry points", rep)
			return
		}
		d.delete(rep.name)
		for range r.IntN(2) {
			pick(r, []func(){d.detachSnapshot, d.graftElsewhere, d.addInFlight, d.addExtra})()
		}
	case r.IntN(4) == 0:
		d.deleteAll()
		d.moveToOtherTarget()
	default:
		if r.IntN(3) > 0 {
			d.delete(rep.name)
		}
		for range r.IntN(4) {
			pick(r, []func(){d.deleteLeaf, d.deleteLeaf, d.mergeSnapshot, d.detachSnapshot, d.graftElsewhere, d.forgeBytes, d.forgeBytes, d.moveBytes, d.moveBytes, d.moveBytes, d.addInFlight, d.addLonghornInFlight, d.addExtra})()
		}
	}
	w.drop(rep)
	v.dropUnusedSnapshots()
	w.logf("%s: %s", rep, strings.Join(d.done, ", "))
}

// damage damages a replica with the verbs of the store, as a crash, another engine or an
// administrator may have done.
type damage struct {
	*rand.Rand
	world   *world
	replica *replica
	done    []string
}

func (d *damage) note(format string, args ...any) {
	d.done = append(d.done, fmt.Sprintf(format, args...))
}

func (d *damage) host() interface {
	ports.Store
	ports.Snapshotter
} {
	return d.replica.at.host
}

// lvolsWhere returns the wanted lvols of the replica.
func (d *damage) lvolsWhere(wanted func(l domain.Lvol) bool) []domain.Lvol {
	var found []domain.Lvol
	for _, l := range d.replica.at.list().Lvols {
		if d.replica.isOf(l.Name) && wanted(l) {
			found = append(found, l)
		}
	}
	return found
}

func (d *damage) snapshots() []domain.Lvol {
	return d.lvolsWhere(func(l domain.Lvol) bool { return strings.HasPrefix(l.Name, d.replica.prefix()) })
}

// leaves are the snapshots without clones.
func (d *damage) leaves() []domain.Lvol {
	hasClone := make(map[string]bool)
	for _, l := range d.replica.at.list().Lvols {
		hasClone[l.Parent] = true
	}
	return slices.DeleteFunc(d.snapshots(), func(l domain.Lvol) bool { return hasClone[l.UUID] })
}

func (d *damage) must(err error) {
	if err != nil {
		fail("damage %s: %v", d.replica, err)
	}
}

func (d *damage) delete(name string) bool {
	l, ok := d.replica.at.find(name)
	if !ok {
		return false
	}
	d.must(d.host().Delete(ctx(), l.UUID))
	d.note("%s was deleted", name)
	return true
}

// deleteAll deletes all lvols of the replica, leaf first.
func (d *damage) deleteAll() {
	for {
		left := d.lvolsWhere(func(domain.Lvol) bool { return true })
		if len(left) == 0 {
			d.note("all was deleted")
			return
		}
		for _, l := range left {
			_ = d.host().Delete(ctx(), l.UUID) // unless it has clones still
		}
	}
}

// moveToOtherTarget lets the replica be rebuilt on a target without another replica of
// the volume, if there is one. That target may lack the image or, for a while, the base of a
// linked clone.
func (d *damage) moveToOtherTarget() {
	v := d.replica.of
	free := slices.DeleteFunc(slices.Clone(d.world.targets), func(s *target) bool {
		return v.origin != nil && !v.origin.isSound(s) || slices.ContainsFunc(v.replicas, func(r *replica) bool { return r.at == s })
	})
	if len(free) > 0 {
		d.replica.at = pick(d.Rand, free)
		d.note("it moves to %s", d.replica.at.name)
	}
}

func (d *damage) deleteLeaf() {
	if leaves := d.leaves(); len(leaves) > 0 {
		d.delete(pick(d.Rand, leaves).Name)
	}
}

// mergeSnapshot deletes a snapshot as a target does without a check: its clusters move
// into its clone, whose data differs from then on.
func (d *damage) mergeSnapshot() {
	for _, l := range some(d.Rand, d.snapshots(), 3) {
		if d.replica.at.host.DeleteMerging(l.UUID) == nil {
			d.note("%s has merged into its clone", l.Name)
			return
		}
	}
}

func (d *damage) detachSnapshot() {
	if all := d.snapshots(); len(all) > 0 {
		l := pick(d.Rand, all)
		d.must(d.host().Graft(ctx(), l.UUID, ""))
		d.replica.mangled = true
		d.note("%s was detached", l.Name)
	}
}

// graftElsewhere grafts a snapshot onto another one that does not descend from it.
func (d *damage) graftElsewhere() {
	all := d.snapshots()
	if len(all) < 2 {
		return
	}
	two := some(d.Rand, all, 2)
	parents := make(map[string]string)
	for _, l := range d.replica.at.list().Lvols {
		parents[l.UUID] = l.Parent
	}
	for ancestor := two[1].UUID; ancestor != ""; ancestor = parents[ancestor] {
		if ancestor == two[0].UUID {
			return
		}
	}
	d.must(d.host().Graft(ctx(), two[0].UUID, two[1].UUID))
	d.replica.mangled = true
	d.note("%s was grafted onto %s", two[0].Name, two[1].Name)
}

// forgeBytes changes the bytes of a leaf, and nothing else.
func (d *damage) forgeBytes() {
	d.replaceLeaf("has other bytes", func(own []uint64, _ view, clusters int) (positions []uint64, content view) {
		return own, d.world.fresh(len(own) * perCluster)
	})
}

// moveBytes moves the bytes of a leaf to other positions, which SPDK's checksum does not
// show.
func (d *damage) moveBytes() {
	d.replaceLeaf("has its bytes elsewhere", func(own []uint64, content view, clusters int) ([]uint64, view) {
		positions := make([]uint64, len(own))
		for i, at := range own {
			positions[i] = (at + 1) % uint64(clusters)
		}
		return positions, content
	})
}

func (d *damage) replaceLeaf(what string, content func(own []uint64, of view, clusters int) (positions []uint64, content view)) {
	leaves := d.leaves()
	if len(leaves) == 0 {
		return
	}
	l := pick(d.Rand, leaves)
	own, err := d.replica.at.host.OwnClusters(l.UUID)
	d.must(err)
	all := read(d.replica.at.host, l)
	var of view
	for _, at := range own {
		of = append(of, all[at*perCluster:(at+1)*perCluster]...)
	}
	positions, written := content(own, of, all.clusters())
	d.must(d.host().Delete(ctx(), l.UUID))
	uuid, err := d.host().Create(ctx(), d.replica.name+"-rebuilding-00000000", l.Size)
	d.must(err)
	for i, at := range positions {
		d.world.write(d.replica.at, uuid, int(at)*perCluster, written[i*perCluster:(i+1)*perCluster])
	}
	if l.Parent != "" {
		d.must(d.host().Graft(ctx(), uuid, l.Parent))
	}
	_, err = d.host().Seal(ctx(), uuid, l.Name, ports.SealRecord{Attributes: l.Attributes})
	d.must(err)
	d.world.counters.add("damage: " + what)
	d.note("%s %s", l.Name, what)
}

// parent is a snapshot of the replica, or none.
func (d *damage) parent() string {
	if all := d.snapshots(); len(all) > 0 && d.IntN(3) > 0 {
		return pick(d.Rand, all).UUID
	}
	return ""
}

func (d *damage) writable(name string) {
	if _, taken := d.replica.at.find(name); taken {
		return
	}
	uuid, err := d.host().Create(ctx(), name, maxClusters*clusterSize)
	d.must(err)
	if parent := d.parent(); parent != "" {
		d.must(d.host().Graft(ctx(), uuid, parent))
	}
	d.world.write(d.replica.at, uuid, d.IntN(perCluster), d.world.fresh(2))
	d.note("%s is in flight", name)
}

func (d *damage) addInFlight() {
	d.writable(fmt.Sprintf("%s-rebuilding-%08x", d.replica.name, d.Uint32()))
}

func (d *damage) addLonghornInFlight() { d.writable(d.replica.name + "-rebuilding") }

// addExtra is a snapshot that the volume never had.
func (d *damage) addExtra() {
	name := fmt.Sprintf("%sextra%d", d.replica.prefix(), d.IntN(3))
	if _, taken := d.replica.at.find(name); taken {
		return
	}
	uuid, err := d.host().Create(ctx(), d.replica.name+"-rebuilding-00000000", d.replica.of.size())
	d.must(err)
	d.world.write(d.replica.at, uuid, 0, d.world.fresh(1))
	if parent := d.parent(); parent != "" {
		d.must(d.host().Graft(ctx(), uuid, parent))
	}
	_, err = d.host().Seal(ctx(), uuid, name, ports.SealRecord{Attributes: domain.Attributes{UserCreated: true}})
	d.must(err)
	d.note("%s is extra", name)
}

// loseLink is the damage of longhorn/longhorn#10909: the ancestor has lost its image.
func (w *world) loseLink(r *rand.Rand) {
	v, ok := w.pickVolume(r, func(v *volume) bool { return v.image != nil && len(v.in(complete)) > 0 })
	if !ok {
		return
	}
	rep := pick(r, v.in(complete))
	image, _ := rep.at.find(rep.at.imageName(v.image))
	for _, l := range rep.at.list().Lvols {
		if l.Parent == image.UUID && rep.isOf(l.Name) && !rep.fills(l.Name) {
			if err := rep.at.host.Graft(ctx(), l.UUID, ""); err != nil {
				fail("lose the link of %s: %v", rep, err)
			}
			rep.state, rep.root = hurt, ""
			w.logf("%s: %s was detached", rep, l.Name)
			return
		}
	}
	fail("no lvol of %s has the parent %s", rep, v.base())
}
