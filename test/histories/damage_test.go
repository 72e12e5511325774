package histories

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// loseReplica damages one, so that it has to be rebuilt. What is left may be
// nothing, or look almost right.
func (w *world) loseReplica(r *rand.Rand) {
	v, ok := w.pickVolume(r, func(v *volume) bool {
		return len(v.serving()) > 1 && (len(v.in(whole)) > 1 || len(v.in(hurt)) > 0)
	})
	if !ok {
		return
	}
	rep := pick(r, v.serving())
	if len(v.in(whole)) == 1 && rep.state == whole {
		rep = v.in(hurt)[0] // one whole one stays
	}
	d := &damage{world: w, Rand: r, replica: rep}
	if r.IntN(4) == 0 {
		d.all()
		d.move()
	} else {
		if r.IntN(3) > 0 {
			d.delete(rep.name)
		}
		for range r.IntN(4) {
			pick(r, []func(){d.leaf, d.leaf, d.merged, d.loose, d.elsewhere, d.forged, d.forged, d.moved, d.moved, d.moved, d.inFlight, d.longhorns, d.extra})()
		}
	}
	w.drop(rep)
	v.forget()
	w.say("%s: %s", rep, strings.Join(d.done, ", "))
}

// damage is done by the verbs of the store, as a crash, another engine or a hand
// may have done it.
type damage struct {
	*rand.Rand
	world   *world
	replica *replica
	done    []string
}

func (d *damage) did(format string, args ...any) {
	d.done = append(d.done, fmt.Sprintf(format, args...))
}

func (d *damage) host() interface {
	ports.Store
	ports.Snapshotter
} {
	return d.replica.at.host
}

// its are the lvols of the replica for which that holds.
func (d *damage) its(wanted func(l domain.Lvol) bool) []domain.Lvol {
	var found []domain.Lvol
	for _, l := range d.replica.at.list().Lvols {
		if d.replica.isOf(l.Name) && wanted(l) {
			found = append(found, l)
		}
	}
	return found
}

func (d *damage) snapshots() []domain.Lvol {
	return d.its(func(l domain.Lvol) bool { return strings.HasPrefix(l.Name, d.replica.prefix()) })
}

// leaves are snapshots that nothing hangs on.
func (d *damage) leaves() []domain.Lvol {
	below := make(map[string]bool)
	for _, l := range d.replica.at.list().Lvols {
		below[l.Parent] = true
	}
	return slices.DeleteFunc(d.snapshots(), func(l domain.Lvol) bool { return below[l.UUID] })
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
	d.did("%s is gone", name)
	return true
}

// all deletes everything, leaf first.
func (d *damage) all() {
	for {
		left := d.its(func(domain.Lvol) bool { return true })
		if len(left) == 0 {
			d.did("all is gone")
			return
		}
		for _, l := range left {
			_ = d.host().Delete(ctx(), l.UUID) // unless it has clones still
		}
	}
}

// move has it rebuilt on another host, if there is one that has none of the
// volume's. It may not have the image.
func (d *damage) move() {
	v := d.replica.of
	free := slices.DeleteFunc(slices.Clone(d.world.sites), func(s *site) bool {
		return slices.ContainsFunc(v.replicas, func(r *replica) bool { return r.at == s })
	})
	if len(free) > 0 {
		d.replica.at = pick(d.Rand, free)
		d.did("it moves to %s", d.replica.at.name)
	}
}

func (d *damage) leaf() {
	if leaves := d.leaves(); len(leaves) > 0 {
		d.delete(pick(d.Rand, leaves).Name)
	}
}

// merged deletes a snapshot as a target does when nobody looks: its clusters move
// into what hangs on it, which is another one from then on.
func (d *damage) merged() {
	for _, l := range some(d.Rand, d.snapshots(), 3) {
		if d.replica.at.host.DeleteMerging(l.UUID) == nil {
			d.did("%s has merged into what hung on it", l.Name)
			return
		}
	}
}

func (d *damage) loose() {
	if all := d.snapshots(); len(all) > 0 {
		l := pick(d.Rand, all)
		d.must(d.host().Graft(ctx(), l.UUID, ""))
		d.did("%s hangs loose", l.Name)
	}
}

// elsewhere grafts a snapshot onto another one that does not hang on it.
func (d *damage) elsewhere() {
	all := d.snapshots()
	if len(all) < 2 {
		return
	}
	two := some(d.Rand, all, 2)
	parents := make(map[string]string)
	for _, l := range d.replica.at.list().Lvols {
		parents[l.UUID] = l.Parent
	}
	for up := two[1].UUID; up != ""; up = parents[up] {
		if up == two[0].UUID {
			return
		}
	}
	d.must(d.host().Graft(ctx(), two[0].UUID, two[1].UUID))
	d.did("%s hangs on %s", two[0].Name, two[1].Name)
}

// forged puts other bytes into a leaf, everything else about it is as it was.
func (d *damage) forged() {
	d.another("has other bytes", func(own []uint64, _ view, clusters int) (positions []uint64, content view) {
		return own, d.world.fresh(len(own) * perCluster)
	})
}

// moved puts the same bytes elsewhere: SPDK's checksum does not tell.
func (d *damage) moved() {
	d.another("has its bytes elsewhere", func(own []uint64, content view, clusters int) ([]uint64, view) {
		positions := make([]uint64, len(own))
		for i, at := range own {
			positions[i] = (at + 1) % uint64(clusters)
		}
		return positions, content
	})
}

func (d *damage) another(what string, content func(own []uint64, of view, clusters int) (positions []uint64, content view)) {
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
	d.world.tally.step("damage: " + what)
	d.did("%s %s", l.Name, what)
}

// parent is a snapshot of the replica, or nothing.
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
	uuid, err := d.host().Create(ctx(), name, mostClusters*clusterSize)
	d.must(err)
	if parent := d.parent(); parent != "" {
		d.must(d.host().Graft(ctx(), uuid, parent))
	}
	d.world.write(d.replica.at, uuid, d.IntN(perCluster), d.world.fresh(2))
	d.did("%s is in flight", name)
}

func (d *damage) inFlight() {
	d.writable(fmt.Sprintf("%s-rebuilding-%08x", d.replica.name, d.Uint32()))
}

func (d *damage) longhorns() { d.writable(d.replica.name + "-rebuilding") }

// extra is a snapshot that the volume never had.
func (d *damage) extra() {
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
	d.did("%s is extra", name)
}

// loseLink is the damage of longhorn/longhorn#10909: the ancestor has no image any
// more.
func (w *world) loseLink(r *rand.Rand) {
	v, ok := w.pickVolume(r, func(v *volume) bool { return v.image != nil && len(v.in(whole)) > 0 })
	if !ok {
		return
	}
	rep := pick(r, v.in(whole))
	image, _ := rep.at.find(rep.at.imageName(v.image))
	for _, l := range rep.at.list().Lvols {
		if l.Parent == image.UUID && rep.isOf(l.Name) && !rep.fills(l.Name) {
			if err := rep.at.host.Graft(ctx(), l.UUID, ""); err != nil {
				fail("lose the link of %s: %v", rep, err)
			}
			rep.state = hurt
			w.say("%s: %s hangs loose", rep, l.Name)
			return
		}
	}
	fail("nothing of %s hangs on %s", rep, v.imageSaid())
}
