package histories

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/rootgraft/rebuild/internal/domain"
)

// origin is the base of a linked clone: a snapshot of another volume.
type origin struct {
	volume   *volume
	snapshot string
}

// misplaced is an entry point with a wrong parent.
type misplaced struct {
	uuid   string
	parent string // its name; "": none
}

// maxClones is how many linked clones there are besides the other volumes.
const maxClones = 3

const entryPointInfix = "-clone-ep-"

// at is the source volume's replica on a target, in any state; nil: none.
func (o *origin) at(s *target) *replica {
	i := slices.IndexFunc(o.volume.replicas, func(r *replica) bool { return r.at == s })
	if i < 0 {
		return nil
	}
	return o.volume.replicas[i]
}

// entryPointOn is the name of the entry point on a target, "" without a replica there.
func (o *origin) entryPointOn(s *target) string {
	if r := o.at(s); r != nil {
		return domain.EntryPointLvolName(r.name, o.snapshot)
	}
	return ""
}

// isOn reports whether a target has the snapshot.
func (o *origin) isOn(s *target) bool {
	r := o.at(s)
	if r == nil {
		return false
	}
	_, ok := s.find(domain.SnapshotLvolName(r.name, o.snapshot))
	return ok
}

// isSound reports whether linked clones of it can be rebuilt on a target without a doubt.
func (o *origin) isSound(s *target) bool {
	r := o.at(s)
	_, misplaced := s.misplaced[o.entryPointOn(s)]
	return r != nil && !misplaced && r.snapshots[o.snapshot] && r.readsRight()
}

// isEqual reports whether the snapshot and everything below must be the same on two targets.
func (o *origin) isEqual(a, b *target) bool {
	if !o.isSound(a) || !o.isSound(b) {
		return false
	}
	one, other := o.at(a), o.at(b)
	if one.odd || other.odd || !maps.Equal(one.snapshots, other.snapshots) {
		return false
	}
	return o.volume.origin == nil || o.volume.origin.isEqual(a, b)
}

// carries reports whether a snapshot of the replica has an entry point, its own or a misplaced
// one, or a linked clone without one.
func (r *replica) carries() bool {
	return r.mustBeRepairedLater() || slices.ContainsFunc(r.at.list().Lvols, func(l domain.Lvol) bool { return strings.HasPrefix(l.Name, r.name+entryPointInfix) })
}

// hasDirectClone reports whether an lvol of another volume is a clone of a snapshot of the
// replica, without an entry point.
func (r *replica) hasDirectClone() bool {
	lvols := r.at.list().Lvols
	return slices.ContainsFunc(lvols, func(l domain.Lvol) bool {
		return !r.isOf(l.Name) && !strings.Contains(l.Name, entryPointInfix) && slices.ContainsFunc(lvols, func(up domain.Lvol) bool { return up.UUID == l.Parent && r.isOf(up.Name) })
	})
}

// mustBeRepairedLater reports whether linked clones read through the replica that have to be
// repaired first.
func (r *replica) mustBeRepairedLater() bool {
	for _, m := range r.at.misplaced {
		if strings.HasPrefix(m.parent, r.prefix()) {
			return true
		}
	}
	return r.hasDirectClone()
}

// rightRoot is the name of the lvol that must be the parent of the ancestor.
func (r *replica) rightRoot() string {
	switch {
	case r.of.image != nil:
		return r.at.imageName(r.of.image)
	case r.of.origin != nil:
		return r.of.origin.entryPointOn(r.at)
	default:
		return ""
	}
}

// readsRight reports whether a serving replica reads the volume's bytes. A linked clone also
// needs those of the volumes below it.
func (r *replica) readsRight() bool {
	return r.state == complete && (r.of.origin == nil || r.of.origin.readsRight(r.at))
}

// readsRight looks at parents only: a replica without a head may still serve linked clones.
func (o *origin) readsRight(s *target) bool {
	r := o.at(s)
	switch {
	case r == nil, r.mangled:
		return false
	case r.state == complete:
		return r.readsRight()
	}
	l, ok := s.find(domain.SnapshotLvolName(r.name, o.snapshot))
	if !ok || s.rootOf(r, l) != r.rightRoot() {
		return false
	}
	if _, misplaced := s.misplaced[r.rightRoot()]; misplaced {
		return false
	}
	return o.volume.origin == nil || o.volume.origin.readsRight(s)
}

// rootOf is the name of the parent of the replica's lvol that the given one descends from; "":
// none.
func (s *target) rootOf(r *replica, l domain.Lvol) string {
	byUUID := make(map[string]domain.Lvol)
	for _, other := range s.list().Lvols {
		byUUID[other.UUID] = other
	}
	for l.Parent != "" {
		if l = byUUID[l.Parent]; !strings.HasPrefix(l.Name, r.prefix()) {
			return l.Name
		}
	}
	return ""
}

// misreads reports whether a serving replica reads wrong bytes.
func (v *volume) misreads() bool {
	return slices.ContainsFunc(v.serving(), func(r *replica) bool { return !r.readsRight() })
}

// descendsFrom reports whether the volume is a linked clone of the other one, or of one that is.
func (v *volume) descendsFrom(other *volume) bool {
	for ; v.origin != nil; v = v.origin.volume {
		if v.origin.volume == other {
			return true
		}
	}
	return false
}

func areRelated(a, b *volume) bool { return a.descendsFrom(b) || b.descendsFrom(a) }

// cloneVolume makes a linked clone of a snapshot.
func (w *world) cloneVolume(r *rand.Rand) {
	clones := 0
	var origins []*origin
	for _, v := range w.volumes {
		if v.origin != nil {
			clones++
		}
		for _, name := range v.names() {
			if o := (&origin{v, name}); len(o.soundTargets()) > 1 {
				origins = append(origins, o)
			}
		}
	}
	if clones == maxClones || len(origins) == 0 {
		w.logf("there are enough, or no snapshot is on two targets")
		return
	}
	w.created++
	v := &volume{name: fmt.Sprintf("vol-%d", w.created), origin: pick(r, origins), snapshots: make(map[string]view)}
	v.head = v.origin.volume.snapshots[v.origin.snapshot]
	v.head = v.head.resized(min(max(len(v.head), maxClusters*perCluster), len(v.head)+r.IntN(3)*perCluster))
	for n, s := range some(r, v.origin.soundTargets(), 2+r.IntN(2)) {
		rep := &replica{of: v, name: fmt.Sprintf("%s-r-%08d", v.name, n+1), at: s, snapshots: make(map[string]bool)}
		if _, err := w.engine.engine.CreateReplica(ctx(), w.engine.at(rep), v.size(), v.base()); err != nil {
			fail("create %s: %v", rep, err)
		}
		v.replicas = append(v.replicas, rep)
	}
	w.volumes = append(w.volumes, v)
	w.counters.add("linked clone")
	w.logf("%s, %d clusters, %s, %v", v.name, len(v.head)/perCluster, v.base(), v.replicas)
}

func (o *origin) soundTargets() (found []*target) {
	for _, r := range o.volume.in(complete) {
		if o.isSound(r.at) {
			found = append(found, r.at)
		}
	}
	return found
}

// loseEntryPoint is the damage of longhorn/longhorn#10909 in linked clones: the ancestor has
// lost the entry point, or that has lost its snapshot.
func (w *world) loseEntryPoint(r *rand.Rand) {
	v, ok := w.pickVolume(r, func(v *volume) bool { return v.origin != nil && len(v.in(complete)) > 0 })
	if !ok {
		return
	}
	rep := pick(r, v.in(complete))
	s := rep.at
	entryPoint, ok := s.find(rep.rightRoot())
	if !ok {
		fail("%s has no entry point", rep)
	}
	snapshot, _ := s.find(domain.SnapshotLvolName(v.origin.at(s).name, v.origin.snapshot))
	switch r.IntN(4) {
	case 0:
		w.graftAncestor(rep, entryPoint, "", "")
	case 1: // deleting the snapshot would merge it into the volume
		w.graftAncestor(rep, entryPoint, snapshot.UUID, snapshot.Name)
	case 2:
		w.misplace(s, entryPoint, domain.Lvol{})
	case 3:
		var others []domain.Lvol
		for _, l := range s.list().Lvols {
			isWrong := l.ReadOnly && l.Size == entryPoint.Size && l.UUID != snapshot.UUID && !strings.Contains(l.Name, entryPointInfix)
			if isWrong && !s.readsThrough(l, entryPoint) && !isInFlight(l.Name) {
				others = append(others, l)
			}
		}
		if len(others) > 0 {
			w.misplace(s, entryPoint, pick(r, others))
		}
	}
}

func (w *world) graftAncestor(rep *replica, from domain.Lvol, to, name string) {
	for _, l := range rep.at.list().Lvols {
		if l.Parent == from.UUID && rep.isOf(l.Name) && !rep.fills(l.Name) {
			if err := rep.at.host.Graft(ctx(), l.UUID, to); err != nil {
				fail("move %s: %v", rep, err)
			}
			rep.state, rep.root = hurt, name
			w.logf("%s: %s was grafted onto %q", rep, l.Name, name)
			return
		}
	}
	fail("no lvol of %s has the parent %s", rep, from.Name)
}

// misplace grafts an entry point, which hurts all its linked clones.
func (w *world) misplace(s *target, entryPoint, onto domain.Lvol) {
	if err := s.host.Graft(ctx(), entryPoint.UUID, onto.UUID); err != nil {
		fail("move %s: %v", entryPoint.Name, err)
	}
	w.logf("%s: %s was grafted onto %q", s.name, entryPoint.Name, onto.Name)
	w.isMisplaced(s, entryPoint, onto.Name)
}

func (w *world) isMisplaced(s *target, entryPoint domain.Lvol, parent string) {
	s.misplaced[entryPoint.Name] = misplaced{entryPoint.UUID, parent}
	for _, clone := range w.clonesOf(s, entryPoint.Name) {
		if clone.state == complete {
			clone.state, clone.root = hurt, entryPoint.Name
			w.logf("%s is hurt", clone)
		}
	}
}

// readsThrough reports whether an lvol is a descendant of another one.
func (s *target) readsThrough(l, other domain.Lvol) bool {
	lvols := s.list().Lvols
	for l.Parent != "" && l.Parent != other.UUID {
		l = lvols[slices.IndexFunc(lvols, func(up domain.Lvol) bool { return up.UUID == l.Parent })]
	}
	return l.Parent != ""
}

// wrongEntryPoints are the misplaced entry points of a replica that have clones.
func (w *world) wrongEntryPoints(r *replica) map[string]bool {
	found := make(map[string]bool)
	for name, m := range r.at.misplaced {
		if strings.HasPrefix(name, r.name+entryPointInfix) && slices.ContainsFunc(r.at.list().Lvols, func(l domain.Lvol) bool { return l.Parent == m.uuid }) {
			found[name] = true
		}
	}
	return found
}

// clonesOf are the replicas on a target that an entry point is the base of.
func (w *world) clonesOf(s *target, entryPoint string) (found []*replica) {
	for _, v := range w.volumes {
		for _, r := range v.replicas {
			if r.at == s && v.origin != nil && r.rightRoot() == entryPoint {
				found = append(found, r)
			}
		}
	}
	return found
}

// entryPointIsCured: the repair of one linked clone cures all that are hurt by the entry point.
func (w *world) entryPointIsCured(s *target, entryPoint string) {
	delete(s.misplaced, entryPoint)
	for _, clone := range w.clonesOf(s, entryPoint) {
		if clone.state == hurt && clone.root == entryPoint {
			clone.state = complete
		}
	}
}

func (w *world) removeEntryPoints(r *rand.Rand) {
	s := pick(r, w.targets)
	w.logf("%s", s.name)
	s.removeUnusedEntryPoints()
}

// removeUnusedEntryPoints does what Longhorn's engine does whenever it looks.
func (s *target) removeUnusedEntryPoints() {
	store, err := s.host.List(ctx())
	if err != nil {
		return
	}
	for _, l := range store.Lvols {
		used := slices.ContainsFunc(store.Lvols, func(other domain.Lvol) bool { return other.Parent == l.UUID })
		if strings.Contains(l.Name, entryPointInfix) && !used {
			_ = s.host.Delete(ctx(), l.UUID) // unless it gets a clone just now
		}
	}
}

// mustKeep is the reason why a snapshot must not be deleted from a replica; "": none.
func (w *world) mustKeep(rep *replica, snapshot string) string {
	name := domain.EntryPointLvolName(rep.name, snapshot)
	lvols := rep.at.list().Lvols
	if l, has := rep.at.find(name); has {
		_, misplaced := rep.at.misplaced[name]
		if !misplaced || slices.ContainsFunc(lvols, func(clone domain.Lvol) bool { return clone.Parent == l.UUID }) {
			return "it has an entry point"
		}
	}
	for _, clone := range w.clonesOf(rep.at, name) {
		if clone.state != lost && rep.at.list().Records {
			return "its linked clone " + clone.name + " has lost it"
		}
	}
	return ""
}

// planClone adds what the base of a linked clone means for its rebuild, and the entry points of
// others for that of their replica.
func (w *world) planClone(a *rebuildRun) {
	o, to := a.destination.of.origin, a.destination
	if to.carries() && !a.canReplace() {
		a.mayRefuse = "its snapshots have entry points"
	}
	if o == nil {
		return
	}
	equal := true
	for _, source := range a.sources() {
		equal = equal && o.isEqual(source.at, to.at)
	}
	switch {
	case !o.isOn(to.at):
		a.mustRefuse = "its base is not there"
	case a.source.state == hurt:
		a.mayRefuse = "a hurt linked clone may have to be repaired first"
	case !equal:
		a.mayRefuse = "its base may differ"
	}
}

// canReplace reports whether any snapshot of the destination can be replaced under the entry
// points on it.
func (a *rebuildRun) canReplace() bool {
	to := a.destination
	for _, r := range append(a.sources(), to) {
		if !r.at.list().Proves {
			return false
		}
	}
	for name, m := range to.at.misplaced {
		if strings.HasPrefix(name, to.name+entryPointInfix) || strings.HasPrefix(m.parent, to.prefix()) {
			return false
		}
	}
	can := to.at.list().RenamesSnapshots && !to.hasDirectClone()
	to.at.entryPoints(func(_ domain.Lvol, _, right string) {
		snapshot, ours := strings.CutPrefix(right, to.prefix())
		can = can && (!ours || !slices.ContainsFunc(a.sources(), func(source *replica) bool { return !source.snapshots[snapshot] }))
	})
	return can
}

// expectConflicts: a rebuild of a replica and one of its linked clone exclude each other.
func expectConflicts(all []*rebuildRun) {
	for i, a := range all {
		for _, b := range all[:i] {
			if areRelated(a.destination.of, b.destination.of) {
				for _, run := range []*rebuildRun{a, b} {
					if run.related = true; run.destination.of.origin != nil {
						run.mustRefuse = "" // the other one may give it its base
					}
				}
				a.mayRefuse, b.mayRefuse = "a related volume is rebuilt, too", "a related volume is rebuilt, too"
			}
		}
	}
}

// entryPoints calls do with every entry point on a target, its parent and the right one by name.
func (s *target) entryPoints(do func(l domain.Lvol, parent, right string)) {
	lvols := s.list().Lvols
	for _, l := range lvols {
		replica, snapshot, ok := strings.Cut(l.Name, entryPointInfix)
		if !ok {
			continue
		}
		parent := ""
		if i := slices.IndexFunc(lvols, func(up domain.Lvol) bool { return up.UUID == l.Parent }); i >= 0 {
			parent = lvols[i].Name
		}
		do(l, parent, domain.SnapshotLvolName(replica, snapshot))
	}
}

// adoptEntryPoints updates the model by entry points that were made again, and by those whose
// snapshot is being replaced: a rebuild that was interrupted leaves them on the old one, which
// has an in-flight name.
func (w *world) adoptEntryPoints(s *target) {
	for name, m := range s.misplaced {
		if l, there := s.find(name); !there || l.UUID != m.uuid {
			delete(s.misplaced, name)
		}
	}
	s.entryPoints(func(l domain.Lvol, parent, right string) {
		rep, isOld := w.filledBy(s, parent)
		m, misplaced := s.misplaced[l.Name]
		_, wasOld := w.filledBy(s, m.parent)
		switch {
		case isOld && rep.state == lost && strings.HasPrefix(right, rep.prefix()):
			w.isMisplaced(s, l, parent)
		case misplaced && wasOld && parent == right:
			w.entryPointIsCured(s, l.Name)
		}
	})
}

// checkEntryPoints checks that they are empty and read their snapshots.
func (w *world) checkEntryPoints(s *target) {
	w.adoptEntryPoints(s)
	s.entryPoints(func(l domain.Lvol, parent, right string) {
		if m, misplaced := s.misplaced[l.Name]; misplaced {
			right = m.parent
		}
		if parent != right || !l.ReadOnly || l.Own.Count > 0 {
			fail("%s: entry point %s is on %q instead of %q: %+v", s.name, l.Name, parent, right, l)
		}
	})
}
