package domain

import "fmt"

// This file replaces snapshots of the destination that entry points are clones of. Linked
// clones read through them, perhaps at this moment.
//
// Such a snapshot is set aside: it gets an in-flight name, so that its copy can have the
// final one. When the whole copy is verified, each entry point is grafted onto it by one
// call. Its clones read the old bytes, then the right ones, and never zeros. The old
// snapshot is deleted after that.
//
// Until then, nothing changes in the chain that an entry point reads through. So a snapshot
// there that would be kept, but that has a wrong parent or such an ancestor, is copied, too:
// its graft would show the clones bytes that are neither the old ones nor verified.
//
// A run that ends too early leaves snapshots set aside. The next plan finds them by their
// entry points, whose names tell the snapshot.

// findRead marks, by position in the destination's store, the lvols of the replica that
// entry points read through, if these can be given copies as parents.
func (p *planner) findRead() {
	d := p.destination
	p.read = make([]bool, len(d.members))
	for at := range d.members {
		if _, why := p.moveOf(at); why != "" {
			continue
		}
		for at = d.index.parents[at]; at != noParent && !p.read[at] && d.members[at].role != roleForeign; at = d.index.parents[at] {
			p.read[at] = true
		}
	}
}

// cannotReplace says why no snapshot with entry points is replaced, "" if they are.
func (p *planner) cannotReplace() string {
	switch {
	case !p.destination.Store.RenamesSnapshots:
		return "lvstore " + p.destination.Store.Name + " does not rename snapshots"
	case !p.bothProve():
		return "the hosts do not prove the copy"
	}
	return ""
}

// copyMisplaced decides to copy the kept snapshots that an entry point reads through and
// that would have to be grafted. What is read through such a snapshot has then a parent that
// is not kept, and is copied, too.
func (p *planner) copyMisplaced() {
	for i := range p.decisions { // parents come before children
		f := &p.decisions[i]
		if f.kept && p.read[f.counterpart] && !p.hasParent(f.counterpart, p.tree.rightParentAt(i, p.base), p.tree.parents[i]) {
			f.kept, f.clusters = false, p.tree.lvol(i).Own.Count
			f.reason += ", but linked clones read through it, and its right parent is another lvol"
		}
	}
}

// findMoves finds the entry points that have to be grafted onto copies.
func (p *planner) findMoves() {
	d := p.destination
	p.moves = make(map[int]int)
	for at := range d.members {
		if i, why := p.moveOf(at); why == "" && p.toDelete[d.index.parents[at]] {
			p.moves[at] = i
		}
	}
}

// onlyOffline is why a rebuild under a live volume gives copies to no entry points.
const onlyOffline = "only a rebuild offline does that"

// moveOf is the position in the tree of the snapshot whose copy an entry point gets as its
// parent, or the reason why it gets none.
func (p *planner) moveOf(at int) (i int, why string) {
	d := p.destination
	l, parent := &d.Store.Lvols[at], d.index.parents[at]
	replica, snapshot, ok := entryPointOf(l.Name)
	var is membership
	if parent != noParent {
		is = d.members[parent]
	}
	switch {
	case !ok || replica != d.Name || is.role == roleForeign:
		return noPosition, "it is no entry point of replica " + d.Name
	case p.cannotReplace() != "":
		return noPosition, p.cannotReplace()
	case !l.ReadOnly || l.Degraded || l.Own.Count > 0:
		return noPosition, "it is not an empty snapshot"
	case is.role == roleSnapshot && is.snapshot != snapshot:
		return noPosition, "it is named after another snapshot"
	}
	i, ok = p.tree.position(snapshot)
	if !ok {
		return noPosition, "the source has no such snapshot"
	}
	if size := p.tree.lvol(i).Size; size != l.Size {
		return noPosition, fmt.Sprintf("it has %d bytes instead of the source's %d", l.Size, size)
	}
	if p.options.live != nil {
		return noPosition, onlyOffline
	}
	return i, ""
}

// deletedLate reports whether the lvol at that position of the destination's store is
// deleted only after entry points are grafted onto copies.
func (p *planner) deletedLate(at int) bool { return p.toDelete[at] && p.read[at] }

// setAside renames the snapshots whose names copies get. Lvols that are set aside already
// get the name that they have: only then is it sure to outlast a crash of the host.
func (e *emitter) setAside() {
	d := e.destination
	copied := make(map[int]bool)
	for i := range e.decisions {
		if f := &e.decisions[i]; !f.kept && f.counterpart != noPosition {
			copied[f.counterpart] = true
		}
	}
	for _, at := range e.deletions {
		l, inFlight := &d.Store.Lvols[at], d.members[at].role == roleInFlight
		if !e.deletedLate(at) || !copied[at] && !inFlight {
			continue
		}
		o := Operation{Verb: VerbRename, Stage: StageSetAside, Target: listed(*l), OldName: l.Name}
		if inFlight {
			o.Name = l.Name
		} else {
			e.setAsideNow[at] = true
		}
		e.ofDeleted[at] = append(e.ofDeleted[at], e.add(o))
	}
}

// replace grafts entry points onto copies, and deletes the lvols that they have read
// through.
func (e *emitter) replace() {
	d := e.destination
	before := make([][]int, len(d.members)) // the operations that a delete waits for
	wait := func(at, o int) {
		if parent := d.index.parents[at]; parent != noParent {
			before[parent] = append(before[parent], o)
		}
	}
	for _, entryPoint := range d.index.byName { // the listing's order means nothing
		at := entryPoint.at
		i, moved := e.moves[at]
		if !moved {
			continue
		}
		l := &d.Store.Lvols[at]
		o := e.add(Operation{
			Verb: VerbGraft, Stage: StageReplace, Target: listed(*l), Name: l.Name,
			Parent: e.lvolOf(Parent{parentSnapshot, e.tree.names[i]}, i),
		})
		e.ofMove = append(e.ofMove, move{at, i, o})
		wait(at, o)
	}
	for _, at := range e.deletions {
		if !e.deletedLate(at) {
			continue
		}
		l := &d.Store.Lvols[at]
		o := Operation{Verb: VerbDelete, Stage: StageReplace, Target: listed(*l), Name: l.Name, After: before[at]}
		if e.setAsideNow[at] {
			o.Name = ""
		}
		n := e.add(o)
		e.ofDeleted[at] = append(e.ofDeleted[at], n)
		wait(at, n)
	}
}

// move is the graft of an entry point onto a copy.
type move struct {
	entryPoint int // position in the destination's store
	snapshot   int // position in the tree
	operation  int
}

// describeMoves adds a step for each entry point that is grafted onto a copy.
func (e *emitter) describeMoves() {
	for _, m := range e.ofMove {
		l := &e.destination.Store.Lvols[m.entryPoint]
		reason := "its linked clones read the old " + e.tree.names[m.snapshot] + " until then"
		if clones := e.destination.index.linkedClones(m.entryPoint); len(clones) > 0 {
			reason += ": " + someNames(clones)
		}
		e.step(Step{
			Action: ActionMoveEntryPoint, Snapshot: l.Name, Parent: Parent{parentSnapshot, e.tree.names[m.snapshot]},
			Reason: reason, Operations: []int{m.operation},
		})
	}
}
