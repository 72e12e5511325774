package domain

import (
	"fmt"
	"slices"
)

// SnapshotTree is the tree of snapshots of a whole replica, and where its
// head hangs. A tree without a snapshot is one, too.
type SnapshotTree struct {
	snapshots []Snapshot // depth first, parents before children; siblings by creation, then name
	parent    []int      // by position in snapshots; -1: the ancestor
	origin    []int      // by position in snapshots: position in Replica.Snapshots; -1: the system snapshot
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
	n := len(r.Snapshots)
	t := SnapshotTree{head: -1, snapshots: make([]Snapshot, 0, n), parent: make([]int, 0, n), origin: make([]int, 0, n), position: make(map[string]int, n)}
	parents := make([]int, n) // positions in r.Snapshots; -1: the ancestor
	root := -1
	for i := range r.Snapshots {
		s := &r.Snapshots[i]
		parents[i] = -1
		if parent, at := r.index.parentOf(r.places[i]); parent != nil && !r.isImage(parent) {
			if err := r.refuseStep(at, &s.Lvol); err != nil {
				return SnapshotTree{}, err
			}
			parents[i] = r.is[at].at
			continue
		}
		if root >= 0 {
			return SnapshotTree{}, refuse("replica %s on lvstore %s has two ancestors, snapshots %s and %s: one hangs loose", r.Name, r.Store.Name, r.Snapshots[root].Name, s.Name)
		}
		root = i
	}
	t.fill(r.Snapshots, parents)
	if err := t.placeHead(r); err != nil {
		return SnapshotTree{}, err
	}
	return t, nil
}

// fill walks down from the root, depth first and without recursion: trees may
// be a hundred thousand snapshots deep.
func (t *SnapshotTree) fill(snapshots []Snapshot, parents []int) {
	// Siblings are linked, the youngest first, so that the walk, which takes the
	// last one pushed, visits the oldest first.
	order := make([]int, len(snapshots))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		if older(&snapshots[a], &snapshots[b]) {
			return -1
		}
		return 1
	})
	const none = -1
	eldest := make([]int, len(snapshots)+1) // of each parent's children; of the root at the end
	next := make([]int, len(snapshots))     // the next younger sibling
	for i := range eldest {
		eldest[i] = none
	}
	under := func(i int) int {
		if parents[i] < 0 {
			return len(snapshots)
		}
		return parents[i]
	}
	for at := len(order) - 1; at >= 0; at-- {
		i := order[at]
		next[i], eldest[under(i)] = eldest[under(i)], i
	}
	placed := make([]int, len(snapshots)) // positions in the tree
	pending := []int{eldest[len(snapshots)]}
	for len(pending) > 0 {
		i := pending[len(pending)-1]
		pending = pending[:len(pending)-1]
		if i == none {
			continue
		}
		placed[i] = len(t.snapshots)
		t.position[snapshots[i].Name] = placed[i]
		t.snapshots = append(t.snapshots, snapshots[i])
		t.origin = append(t.origin, i)
		if parents[i] < 0 {
			t.parent = append(t.parent, none)
		} else {
			t.parent = append(t.parent, placed[parents[i]])
		}
		pending = append(pending, next[i], eldest[i])
	}
}

func (t *SnapshotTree) placeHead(r Replica) error {
	parent, at := r.index.parentOf(r.head)
	if parent == nil || r.isImage(parent) {
		if len(t.snapshots) > 0 {
			return refuse("replica %s on lvstore %s has two ancestors, the head and snapshot %s: one hangs loose", r.Name, r.Store.Name, t.snapshots[0].Name)
		}
		return nil
	}
	if err := r.refuseStep(at, r.Head); err != nil {
		return err
	}
	t.head = t.position[r.is[at].snapshot]
	return nil
}

// refuseStep refuses a child that no healthy tree has under the lvol at that
// position of the store.
func (r Replica) refuseStep(under int, child *Lvol) error {
	parent := &r.Store.Lvols[under]
	if r.is[under].role != roleSnapshot {
		return refuse("lvol %s on lvstore %s hangs on %s, which is no snapshot of replica %s", child.Name, r.Store.Name, parent.Name, r.Name)
	}
	if child.Size < parent.Size {
		return refuse("lvol %s on lvstore %s has %d bytes, fewer than its parent %s with %d", child.Name, r.Store.Name, child.Size, parent.Name, parent.Size)
	}
	return nil
}

func older(a, b *Snapshot) bool {
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
	return t.parentAt(t.position[s.Name])
}

func (t SnapshotTree) parentAt(at int) (parent Snapshot, isAncestor bool) {
	p := t.parent[at]
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
	grown.origin = append(append(grown.origin, t.origin...), -1)
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
