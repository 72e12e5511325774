package domain

import (
	"cmp"
	"slices"
	"strings"
)

// SnapshotTree is the tree of snapshots of a complete replica, with the position
// of its head. It may be empty.
type SnapshotTree struct {
	replica   *Replica
	order     []int    // positions in the store: parents before children, depth first; siblings by creation, then name
	names     []string // of each in order
	parents   []int    // of each in order, positions in order, too; noParent: the ancestor
	head      int      // position in order of the head's parent; noParent: no snapshot
	positions []int    // the inverse: position in order, by position in the store

	system *Snapshot // the last one in order, not in the store yet; nil: none
}

// NewSnapshotTree builds the tree of a source replica. Refuses a replica that has
// no head, more than one root, or an lvol that is smaller than its parent.
func NewSnapshotTree(r Replica) (SnapshotTree, error) {
	if r.Head == nil {
		return SnapshotTree{}, r.refuseHeadless()
	}
	n := len(r.Snapshots)
	t := SnapshotTree{
		replica: &r, order: make([]int, 0, n), names: make([]string, 0, n), parents: make([]int, 0, n), head: noParent,
		positions: make([]int, len(r.Store.Lvols)),
	}
	ancestor, err := r.findAncestor()
	if err != nil {
		return SnapshotTree{}, err
	}
	t.fill(ancestor)
	if err := t.findHeadParent(); err != nil {
		return SnapshotTree{}, err
	}
	return t, nil
}

// refuseHeadless explains how a source without a head, perhaps the last replica of
// a volume, gets one: a revert to one of its snapshots creates it.
func (r Replica) refuseHeadless() error {
	hasClone := make(map[string]bool)
	for i := range r.Snapshots {
		hasClone[r.Snapshots[i].Lvol.Parent] = true
	}
	var newest []string
	for i := range r.Snapshots {
		if s := &r.Snapshots[i]; !hasClone[s.Lvol.UUID] {
			newest = append(newest, s.Name)
		}
	}
	if len(newest) == 0 {
		return refuse("replica %s on lvstore %s has no head, and no snapshot to create one from", r.Name, r.Store.Name)
	}
	return refuse("replica %s on lvstore %s has no head, so it is incomplete: rebuild it from another one or, if there is none, revert it to its newest snapshot (%s) with the size of the volume, which creates a head", r.Name, r.Store.Name, someNames(newest))
}

// findAncestor is the position in the store of the only snapshot whose parent is no
// snapshot; noPosition: there is no snapshot.
func (r *Replica) findAncestor() (int, error) {
	ancestor := noPosition
	for at := range r.members {
		if r.members[at].role != roleSnapshot {
			continue
		}
		if err := r.refuseExternal(at); err != nil {
			return 0, err
		}
		if parent := r.index.parents[at]; parent != noParent && !r.isBase(parent) {
			if err := r.refuseParent(parent, &r.Store.Lvols[at]); err != nil {
				return 0, err
			}
			continue
		}
		if ancestor != noPosition {
			return 0, refuse("replica %s on lvstore %s has two ancestors, snapshots %s and %s: one of them lost its parent", r.Name, r.Store.Name, r.members[ancestor].snapshot, r.members[at].snapshot)
		}
		ancestor = at
	}
	return ancestor, nil
}

// fill visits the tree from the ancestor on, depth first and without recursion:
// trees may be a hundred thousand snapshots deep.
func (t *SnapshotTree) fill(ancestor int) {
	type step struct{ at, parent int }
	family := t.replica.families(ancestor)
	for pending := []step{{ancestor, noParent}}; len(pending) > 0; {
		now := pending[len(pending)-1]
		pending = pending[:len(pending)-1]
		if now.at == noPosition {
			continue
		}
		here := len(t.order)
		t.positions[now.at] = here
		t.order = append(t.order, now.at)
		t.names = append(t.names, t.replica.members[now.at].snapshot)
		t.parents = append(t.parents, now.parent)
		pending = append(pending, step{family[now.at].younger, now.parent}, step{family[now.at].eldest, here})
	}
}

// family links a snapshot to its eldest child and its next younger sibling, as
// positions in the store; noPosition: none.
type family struct{ eldest, younger int }

// families are indexed by position in the store.
func (r *Replica) families(ancestor int) []family {
	of := make([]family, len(r.members))
	for at := range of {
		of[at] = family{noPosition, noPosition}
	}
	for at := range r.members {
		if r.members[at].role == roleSnapshot && at != ancestor {
			parent := &of[r.index.parents[at]]
			of[at].younger, parent.eldest = parent.eldest, at
		}
	}
	var children []int
	for at := range of {
		children = children[:0]
		for child := of[at].eldest; child != noPosition; child = of[child].younger {
			children = append(children, child)
		}
		if len(children) < 2 {
			continue
		}
		slices.SortFunc(children, r.compareAge)
		eldest := noPosition
		for _, child := range slices.Backward(children) {
			of[child].younger, eldest = eldest, child
		}
		of[at].eldest = eldest
	}
	return of
}

// compareAge compares snapshots by creation, then name.
func (r *Replica) compareAge(a, b int) int {
	created := r.Store.Lvols[a].Attributes.CreatedAt.Compare(r.Store.Lvols[b].Attributes.CreatedAt)
	return cmp.Or(created, strings.Compare(r.members[a].snapshot, r.members[b].snapshot))
}

func (t *SnapshotTree) findHeadParent() error {
	r := t.replica
	if err := r.refuseExternal(r.head); err != nil {
		return err
	}
	at := r.index.parents[r.head]
	if at == noParent || r.isBase(at) {
		if len(t.order) > 0 {
			return refuse("replica %s on lvstore %s has two ancestors, the head and snapshot %s: one of them lost its parent", r.Name, r.Store.Name, t.names[0])
		}
		return nil
	}
	if err := r.refuseParent(at, r.Head); err != nil {
		return err
	}
	t.head = t.positions[at]
	return nil
}

// refuseExternal refuses an lvol that has a part of its bytes outside of the
// lvstore, or is degraded: copies of the tree's clusters would be incomplete.
func (r *Replica) refuseExternal(at int) error {
	l := &r.Store.Lvols[at]
	switch parent := l.externalParent(); {
	case parent.IsUnknown():
		return refuse("lvol %s on lvstore %s is degraded: the external snapshot that it reads through to is missing, so a part of its bytes is unavailable; restore it, or use another replica", l.Name, r.Store.Name)
	case !parent.IsNone():
		return refuse("lvol %s on lvstore %s reads through to %s, so a part of its bytes is outside of the lvstore; use another replica, or copy them into the lvol (bdev_lvol_decouple_parent)", l.Name, r.Store.Name, parent.words())
	}
	return nil
}

// refuseParent refuses the lvol at position parentAt of the store as the parent of
// child if no healthy tree has such a parent.
func (r *Replica) refuseParent(parentAt int, child *Lvol) error {
	parent := &r.Store.Lvols[parentAt]
	if r.members[parentAt].role != roleSnapshot {
		if at, base := r.withoutEntryPoint(); at == parentAt {
			return refuse("the parent of lvol %s on lvstore %s is %s, which is no snapshot of replica %s: if the volume is a linked clone of %s, repair the replica first, since it has no entry point", child.Name, r.Store.Name, parent.Name, r.Name, base)
		}
		return refuse("the parent of lvol %s on lvstore %s is %s, which is no snapshot of replica %s", child.Name, r.Store.Name, parent.Name, r.Name)
	}
	if child.Size < parent.Size {
		return refuse("lvol %s on lvstore %s has %d bytes, fewer than its parent %s with %d", child.Name, r.Store.Name, child.Size, parent.Name, parent.Size)
	}
	return nil
}

// ParentsFirst returns the replica's snapshots, parents before children, or by name
// if they are no tree.
func (r Replica) ParentsFirst() []Snapshot {
	if tree, err := NewSnapshotTree(r); err == nil {
		return tree.Snapshots()
	}
	return r.Snapshots
}

// Snapshots are all snapshots, parents before children.
func (t SnapshotTree) Snapshots() []Snapshot {
	all := make([]Snapshot, len(t.order))
	for i := range all {
		all[i] = t.snapshot(i)
	}
	return all
}

func (t *SnapshotTree) snapshot(i int) Snapshot { return Snapshot{t.names[i], *t.lvol(i)} }

// lvol is the i-th snapshot's; it must not be changed.
func (t *SnapshotTree) lvol(i int) *Lvol {
	if t.order[i] == noPosition {
		return &t.system.Lvol
	}
	return &t.replica.Store.Lvols[t.order[i]]
}

// Has reports whether the tree has a snapshot of that name.
func (t SnapshotTree) Has(name string) bool {
	_, ok := t.position(name)
	return ok
}

// Ancestor is the oldest snapshot; ok is false for a tree without snapshots.
func (t SnapshotTree) Ancestor() (ancestor Snapshot, ok bool) {
	if len(t.order) == 0 {
		return Snapshot{}, false
	}
	return t.snapshot(0), true
}

// ParentOf is the snapshot's parent in the tree; the ancestor has none.
func (t SnapshotTree) ParentOf(s Snapshot) (parent Snapshot, isAncestor bool) {
	at, _ := t.position(s.Name)
	parentAt := t.parents[at]
	if parentAt == noParent {
		return Snapshot{}, true
	}
	return t.snapshot(parentAt), false
}

// position is the position in the tree of the snapshot of that name.
func (t *SnapshotTree) position(name string) (at int, ok bool) {
	if t.system != nil && t.system.Name == name {
		return len(t.order) - 1, true
	}
	place, ok := t.replica.positionNamed(name)
	if !ok {
		return 0, false
	}
	return t.positions[place], true
}

// HeadParent is the parent of the head; ok is false if there is no snapshot.
func (t SnapshotTree) HeadParent() (parent Snapshot, ok bool) {
	if t.head < 0 {
		return Snapshot{}, false
	}
	return t.snapshot(t.head), true
}

// withSystemSnapshot is the tree after the system snapshot s of the head was
// taken.
func (t SnapshotTree) withSystemSnapshot(s Snapshot) SnapshotTree {
	grown := t
	grown.order = append(slices.Clone(t.order), noPosition)
	grown.names = append(slices.Clone(t.names), s.Name)
	grown.parents = append(slices.Clone(t.parents), t.head)
	grown.head = len(t.order)
	grown.system = &s
	return grown
}
