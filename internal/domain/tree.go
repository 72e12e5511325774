package domain

import (
	"fmt"
	"sort"
)

// SnapshotTree is the tree of snapshots of a whole replica, and where its
// head hangs. A tree without a snapshot is one, too.
type SnapshotTree struct {
	snapshots []Snapshot // depth first, parents before children; siblings by creation, then name
	parent    []int      // by position in snapshots; -1: the ancestor
	position  map[string]int
	head      int // position of the head's parent; -1: there is no snapshot
}

// NewSnapshotTree builds the tree of a replica that others are rebuilt from.
// It has a head, one root, and lvols that do not shrink towards the head, or
// it is refused.
func NewSnapshotTree(r Replica) (SnapshotTree, error) {
	if r.Head == nil {
		return SnapshotTree{}, refuse("replica %s on lvstore %s has no head, so it is not whole", r.Name, r.Store.Name)
	}
	t := SnapshotTree{head: -1, position: make(map[string]int, len(r.Snapshots))}
	children := make(map[string][]Snapshot)
	var roots []Snapshot
	for _, s := range r.Snapshots {
		parent, ok := r.index.lvol(s.Lvol.Parent)
		if !ok || r.isImage(parent) {
			roots = append(roots, s)
			continue
		}
		if err := r.refuseStep(parent, s.Lvol); err != nil {
			return SnapshotTree{}, err
		}
		children[parent.UUID] = append(children[parent.UUID], s)
	}
	if len(roots) > 1 {
		return SnapshotTree{}, refuse("replica %s on lvstore %s has two ancestors, snapshots %s and %s: one hangs loose", r.Name, r.Store.Name, roots[0].Name, roots[1].Name)
	}
	for _, siblings := range children {
		sort.Slice(siblings, func(i, j int) bool { return older(siblings[i], siblings[j]) })
	}
	t.fill(roots, children)
	if err := t.placeHead(r); err != nil {
		return SnapshotTree{}, err
	}
	return t, nil
}

// fill walks down from the roots, depth first and without recursion: trees
// may be a hundred thousand snapshots deep.
func (t *SnapshotTree) fill(roots []Snapshot, children map[string][]Snapshot) {
	type visit struct {
		snapshot Snapshot
		parent   int
	}
	var pending []visit
	push := func(siblings []Snapshot, parent int) {
		for i := len(siblings) - 1; i >= 0; i-- {
			pending = append(pending, visit{siblings[i], parent})
		}
	}
	push(roots, -1)
	for len(pending) > 0 {
		next := pending[len(pending)-1]
		pending = pending[:len(pending)-1]
		at := len(t.snapshots)
		t.position[next.snapshot.Name] = at
		t.snapshots = append(t.snapshots, next.snapshot)
		t.parent = append(t.parent, next.parent)
		push(children[next.snapshot.Lvol.UUID], at)
	}
}

func (t *SnapshotTree) placeHead(r Replica) error {
	parent, ok := r.index.lvol(r.Head.Parent)
	if !ok || r.isImage(parent) {
		if len(t.snapshots) > 0 {
			return refuse("replica %s on lvstore %s has two ancestors, the head and snapshot %s: one hangs loose", r.Name, r.Store.Name, t.snapshots[0].Name)
		}
		return nil
	}
	if err := r.refuseStep(parent, *r.Head); err != nil {
		return err
	}
	reading, _ := readingFor(parent, r.Name)
	t.head = t.position[reading.snapshot]
	return nil
}

// refuseStep refuses a child that no healthy tree has under that parent.
func (r Replica) refuseStep(parent, child Lvol) error {
	if parentRole, ours := r.role[parent.UUID]; !ours || parentRole != roleSnapshot {
		return refuse("lvol %s on lvstore %s hangs on %s, which is no snapshot of replica %s", child.Name, r.Store.Name, parent.Name, r.Name)
	}
	if child.Size < parent.Size {
		return refuse("lvol %s on lvstore %s has %d bytes, fewer than its parent %s with %d", child.Name, r.Store.Name, child.Size, parent.Name, parent.Size)
	}
	return nil
}

func (r Replica) isImage(l Lvol) bool {
	_, ok := ImageOfLvolName(l.Name, r.Store.UUID)
	return ok
}

func older(a, b Snapshot) bool {
	if !a.Lvol.Attributes.CreatedAt.Equal(b.Lvol.Attributes.CreatedAt) {
		return a.Lvol.Attributes.CreatedAt.Before(b.Lvol.Attributes.CreatedAt)
	}
	return a.Name < b.Name
}

// Snapshots are all snapshots, parents before children.
func (t SnapshotTree) Snapshots() []Snapshot { return t.snapshots }

// Has reports whether the tree has a snapshot of that name.
func (t SnapshotTree) Has(name string) bool {
	_, ok := t.position[name]
	return ok
}

// Ancestor is the oldest snapshot; ok is false for a tree without snapshots.
func (t SnapshotTree) Ancestor() (ancestor Snapshot, ok bool) {
	if len(t.snapshots) == 0 {
		return Snapshot{}, false
	}
	return t.snapshots[0], true
}

// ParentOf is the snapshot's parent in the tree; the ancestor has none.
func (t SnapshotTree) ParentOf(s Snapshot) (parent Snapshot, isAncestor bool) {
	p := t.parent[t.position[s.Name]]
	if p < 0 {
		return Snapshot{}, true
	}
	return t.snapshots[p], false
}

// HeadParent is the snapshot that the head hangs on.
func (t SnapshotTree) HeadParent() (parent Snapshot, ok bool) {
	if t.head < 0 {
		return Snapshot{}, false
	}
	return t.snapshots[t.head], true
}

// withSystemSnapshot is the tree as it will be once the head's own clusters
// have become a snapshot.
func (t SnapshotTree) withSystemSnapshot(s Snapshot) SnapshotTree {
	grown := SnapshotTree{position: make(map[string]int, len(t.position)+1)}
	grown.snapshots = append(append(grown.snapshots, t.snapshots...), s)
	grown.parent = append(append(grown.parent, t.parent...), t.head)
	for name, at := range t.position {
		grown.position[name] = at
	}
	grown.head = len(t.snapshots)
	grown.position[s.Name] = grown.head
	return grown
}

// String draws the tree on one line a snapshot, for messages of tests.
func (t SnapshotTree) String() string {
	text := ""
	for i, s := range t.snapshots {
		parent := "-"
		if t.parent[i] >= 0 {
			parent = t.snapshots[t.parent[i]].Name
		}
		text += fmt.Sprintf("%s <- %s\n", parent, s.Name)
	}
	return text
}
