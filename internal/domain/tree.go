package domain

import (
	"fmt"
	"slices"
	"strings"
)

// SnapshotTree is the tree of snapshots of a whole replica, and where its
// head hangs. A tree without a snapshot is one, too.
type SnapshotTree struct {
	snapshots []Snapshot // depth first, parents before children; siblings by creation, then name
	parent    []int      // by position in snapshots; -1: the ancestor
	origin    []int      // by position in snapshots: position in Replica.Snapshots; -1: the system snapshot
	head      int        // position of the head's parent; -1: there is no snapshot

	byName []Snapshot // as in the replica
	placed []int      // their positions in snapshots
	system string     // the system snapshot's name, which is the last; "": there is none
}

// NewSnapshotTree builds the tree of a replica that others are rebuilt from.
// It has a head, one root, and lvols that do not shrink towards the head, or
// it is refused.
func NewSnapshotTree(r Replica) (SnapshotTree, error) {
	if r.Head == nil {
		return SnapshotTree{}, refuse("replica %s on lvstore %s has no head, so it is not whole", r.Name, r.Store.Name)
	}
	n := len(r.Snapshots)
	t := SnapshotTree{
		head: -1, snapshots: make([]Snapshot, 0, n), parent: make([]int, 0, n), origin: make([]int, 0, n),
		byName: r.Snapshots, placed: make([]int, n),
	}
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
	const none = -1
	eldest := make([]int, len(snapshots)+1) // of each parent's children; of the root at the end
	next := make([]int, len(snapshots))     // the next younger sibling
	for i := range eldest {
		eldest[i] = none
	}
	for i := range snapshots {
		under := parents[i]
		if under < 0 {
			under = len(snapshots)
		}
		next[i], eldest[under] = eldest[under], i
	}
	sortSiblings(snapshots, eldest, next)
	pending := []int{eldest[len(snapshots)]}
	for len(pending) > 0 {
		i := pending[len(pending)-1]
		pending = pending[:len(pending)-1]
		if i == none {
			continue
		}
		t.placed[i] = len(t.snapshots)
		t.snapshots = append(t.snapshots, snapshots[i])
		t.origin = append(t.origin, i)
		if parents[i] < 0 {
			t.parent = append(t.parent, none)
		} else {
			t.parent = append(t.parent, t.placed[parents[i]])
		}
		pending = append(pending, next[i], eldest[i])
	}
}

// sortSiblings relinks the children of each parent, the eldest first.
func sortSiblings(snapshots []Snapshot, eldest, next []int) {
	var siblings []int
	for under, first := range eldest {
		if first < 0 || next[first] < 0 {
			continue // at most one
		}
		siblings = siblings[:0]
		for i := first; i >= 0; i = next[i] {
			siblings = append(siblings, i)
		}
		slices.SortFunc(siblings, func(a, b int) int {
			if older(&snapshots[a], &snapshots[b]) {
				return -1
			}
			return 1
		})
		eldest[under] = siblings[0]
		for n, i := range siblings {
			next[i] = -1
			if n+1 < len(siblings) {
				next[i] = siblings[n+1]
			}
		}
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
	t.head = t.placed[r.is[at].at]
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
	_, ok := t.place(name)
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
	at, _ := t.place(s.Name)
	return t.parentAt(at)
}

// place is the position in the tree of the snapshot of that name.
func (t SnapshotTree) place(name string) (at int, ok bool) {
	if t.system != "" && t.system == name {
		return len(t.snapshots) - 1, true
	}
	i, ok := slices.BinarySearchFunc(t.byName, name, func(s Snapshot, name string) int { return strings.Compare(s.Name, name) })
	if !ok {
		return 0, false
	}
	return t.placed[i], true
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
	grown := t
	grown.snapshots = append(slices.Clone(t.snapshots), s)
	grown.parent = append(slices.Clone(t.parent), t.head)
	grown.origin = append(slices.Clone(t.origin), -1)
	grown.head = len(t.snapshots)
	grown.system = s.Name
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
