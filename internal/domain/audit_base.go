package domain

import (
	"fmt"
	"slices"
)

// This file audits the base of a volume on one host: the backing image, or the entry point
// of a linked clone.

// auditEvidence collects all evidence of the base for an audit. A rebuild ignores an ancestor
// that is a clone of another volume's snapshot itself, since it replaces that parent.
func auditEvidence(requested Base, replicas ...Replica) []evidence {
	all := baseEvidence(requested, replicas...)
	for _, r := range replicas {
		if _, base := r.withoutEntryPoint(); base.Known() {
			all = append(all, evidence{"the lineage of replica " + r.Name, base})
		}
	}
	return all
}

// withoutEntryPoint finds the snapshot of another volume whose clone the ancestor is,
// without an entry point between them. That snapshot identifies the base.
func (r Replica) withoutEntryPoint() (at int, base Base) {
	at = noPosition
	for view := range r.members {
		if !r.isView(view) {
			continue
		}
		parent := r.lineageOf("", view).parent
		switch {
		case parent != noParent && r.members[parent].role == roleSnapshot:
		case parent == noParent || at != noPosition: // lost, or several ancestors
			return noPosition, Base{}
		default:
			at = parent
		}
	}
	if at == noPosition {
		return noPosition, Base{}
	}
	of, err := r.index.owner(at)
	if err != nil || of.role != roleSnapshot || volumeOf(of.replica) == volumeOf(r.Name) {
		return noPosition, Base{}
	}
	return at, CloneBase(volumeOf(of.replica), of.snapshot)
}

// contradiction reports evidence of different bases.
func (a *ReplicaAudit) contradiction(all []evidence, err error) {
	subject, rule := "backing-image", RuleImage
	for _, e := range all {
		if _, _, isClone := e.base.Clone(); isClone {
			subject, rule = "base", RuleBase
		}
	}
	a.found(subject, rule, false, "%v", err)
}

func (a *ReplicaAudit) checkBase() {
	if _, _, isClone := a.Base.Clone(); isClone {
		a.checkEntryPoint()
		return
	}
	name, ok := a.Base.Image()
	if !ok {
		return
	}
	switch here, isHere := a.Replica.Store.BackingImage(name); {
	case !isHere:
		a.found(a.Base.Parent().String(), RuleImage, false, "it is not on lvstore %s", a.Replica.Store.Name)
	case here.defect() != "":
		a.found(a.Base.Parent().String(), RuleImage, false, "it %s on lvstore %s, so it cannot be used", here.defect(), a.Replica.Store.Name)
	}
}

// checkEntryPoint finds the entry point of a linked clone, or the snapshot that it can be
// made on.
func (a *ReplicaAudit) checkEntryPoint() {
	x, subject := a.Replica.index, a.Base.Parent().String()
	found, isHere, err := a.Replica.entryPoint(a.Base)
	if err == nil && !isHere {
		a.checkSourceSnapshot()
		return
	}
	if err != nil {
		a.found(subject, RuleBase, false, "%v", err)
		return
	}
	at := x.byUUID[found.Lvol.UUID]
	defect := x.entryPointDefect(at)
	snapshot, usable := x.parents[at], true
	if defect != "" {
		snapshot, usable = x.entryPointGraft(at)
		a.found(subject, RuleBase, usable, "entry point %s on lvstore %s %s", found.Lvol.Name, x.store.Name, defect)
	}
	if !usable {
		return
	}
	a.clone = &cloneBase{found.Replica, at, snapshot, found.Lvol.Size}
	if defect != "" {
		a.misplaced = append(a.misplaced, misplaced{
			lineageEntry: lineageEntry{subject: found.Lvol.Name, lvol: &x.store.Lvols[at], parent: x.parents[at]},
			right:        x.store.Lvols[snapshot].AsForeignParent(), target: listed(x.store.Lvols[snapshot]), isBase: true,
		})
	}
}

// checkOwnEntryPoints checks the entry points that are named after snapshots of the replica.
// The repair of a linked clone cures them, not that of the replica.
func (a *ReplicaAudit) checkOwnEntryPoints() {
	x := a.Replica.index
	for _, e := range a.Replica.EntryPoints() {
		if e.Defect == "" {
			continue
		}
		if len(e.Clones) == 0 {
			a.Notices = append(a.Notices, fmt.Sprintf("entry point %s %s, but has no linked clones: remove it (gc)", e.Lvol.Name, e.Defect))
			continue
		}
		cure := ""
		if _, curable := x.entryPointGraft(x.byUUID[e.Lvol.UUID]); curable {
			cure = ": repair one of them"
		}
		a.found(e.Lvol.Name, RuleEntryPoint, false, "it %s, so its linked clones read wrong bytes: %s%s", e.Defect, someNames(e.Clones), cure)
	}
}

func (a *ReplicaAudit) checkSourceSnapshot() {
	x, subject := a.Replica.index, a.Base.Parent().String()
	replica, at, err := x.sourceSnapshot(a.Base)
	if err != nil {
		a.found(subject, RuleBase, false, "it has no entry point, and none can be made: %v", err)
		return
	}
	a.clone = &cloneBase{replica, notMade, at, x.store.Lvols[at].Size}
	a.found(subject, RuleBase, true, "entry point %s is not on lvstore %s", a.clone.name(a.Base), x.store.Name)
}

// entryPointGraft finds the snapshot that an entry point with a wrong parent is named
// after; ok is false if a graft onto it does not cure the entry point, or if a rebuild of the
// source volume's replica is to do that, once it has proven the copy.
func (x *index) entryPointGraft(at int) (snapshot int, ok bool) {
	l := &x.store.Lvols[at]
	replica, name, _ := entryPointOf(l.Name)
	snapshot, ok = x.named(SnapshotLvolName(replica, name))
	if !ok || x.readsSetAside(at) {
		return noPosition, false
	}
	right := &x.store.Lvols[snapshot]
	intact := !l.Degraded && l.ReadOnly && l.Own.Count == 0 && l.External == ""
	ok = intact && right.ReadOnly && !right.Degraded && right.Size == l.Size && !x.descends(snapshot, at)
	return snapshot, ok
}

// descends reports whether the lvol at one position reads through the one at another.
func (x *index) descends(at, from int) bool {
	for at = x.parents[at]; at != noParent; at = x.parents[at] {
		if at == from {
			return true
		}
	}
	return false
}

// rightBase is the lvol that has to be the ancestor's parent; ok is false if a graft onto
// it is impossible.
func (a *ReplicaAudit) rightBase(p lineageEntry) (target Ref, ok bool) {
	if name, isImage := a.Base.Image(); isImage {
		here, isHere := a.Replica.Store.BackingImage(name)
		if !isHere {
			return Ref{}, false
		}
		return listed(here.Lvol), here.defect() == "" && a.checkBaseSize(p)
	}
	if !a.Base.Any() {
		return Ref{}, true
	}
	x := a.Replica.index
	if a.clone == nil || x.descends(a.clone.snapshot, x.byUUID[p.lvol.UUID]) {
		return Ref{}, false
	}
	target = Ref{refEntryPoint, a.clone.name(a.Base)}
	if a.clone.entryPoint != notMade {
		target = listed(x.store.Lvols[a.clone.entryPoint])
	}
	return target, a.checkBaseSize(p)
}

// checkBaseSize: a base is never larger than its clones.
func (a *ReplicaAudit) checkBaseSize(p lineageEntry) (fits bool) {
	size := uint64(0)
	name, _ := a.Base.Image()
	if image, isHere := a.Replica.Store.BackingImage(name); isHere {
		size = image.Lvol.Size
	} else if a.clone != nil {
		size = a.clone.size
	}
	if size <= p.lvol.Size {
		return true
	}
	a.found(a.Base.Parent().String(), RuleSize, false, "it has %d bytes, more than the %d of lvol %s, whose parent it must be", size, p.lvol.Size, p.lvol.Name)
	return false
}

// linkedClones lists the names of the replicas that have lvols whose parent is the entry
// point at that position, and of lvols there that belong to no replica.
func (x *index) linkedClones(entryPoint int) (names []string) {
	for at, parent := range x.parents {
		if parent == entryPoint {
			names = append(names, x.cloneName(at))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// allLinkedClones is linkedClones of every entry point, by position in the store.
func (x *index) allLinkedClones() map[int][]string {
	all := make(map[int][]string)
	for at, parent := range x.parents {
		if parent == noParent {
			continue
		}
		if _, _, ok := entryPointOf(x.store.Lvols[parent].Name); ok {
			all[parent] = append(all[parent], x.cloneName(at))
		}
	}
	for at, names := range all {
		slices.Sort(names)
		all[at] = slices.Compact(names)
	}
	return all
}

// cloneName is the replica of the lvol at that position, or the lvol if it has none.
func (x *index) cloneName(at int) string {
	name := x.store.Lvols[at].Name
	if reservedLvolForm(name) == "" {
		return ReplicaOfLvolName(name)
	}
	return name
}

// BaseLvols are the read-only lvols that the replica reads through, but that are not its
// own: its image or, of a linked clone, the entry point and everything below.
func (r Replica) BaseLvols() (all []Lvol) {
	seen := make(map[int]bool)
	for view := range r.members {
		if !r.isView(view) {
			continue
		}
		for at := r.index.parents[view]; at != noParent && r.members[at].role == roleForeign && !seen[at]; at = r.index.parents[at] {
			seen[at] = true
			if l := r.Store.Lvols[at]; l.ReadOnly && !l.Degraded {
				all = append(all, l)
			}
		}
	}
	return all
}
