package domain

import (
	"sort"
	"strings"
)

// Replica is what belongs to one replica on its store: for a healthy one a
// head and the tree of snapshots under it; for a broken or half rebuilt one
// whatever is left, a forest.
type Replica struct {
	Name  string
	Store Store

	Head      *Lvol      // nil: the replica has none, so it is not whole
	Snapshots []Snapshot // by name
	InFlight  []Lvol     // in-flight lvols and an adapter's helpers, by name

	index *index
	role  map[string]role // of the replica's lvols by UUID
}

// Snapshot is a snapshot of a replica. Name is the snapshot's own, without
// the replica's.
type Snapshot struct {
	Name string
	Lvol Lvol
}

// NewReplica picks from a store what belongs to the replica. Lineage decides;
// the name decides only for what is loose, and what may then belong to
// another replica of that store is refused.
func NewReplica(store Store, name string) (Replica, error) {
	x, err := newIndex(store)
	if err != nil {
		return Replica{}, refuse("%v", err)
	}
	r := Replica{Name: name, Store: store, index: x, role: make(map[string]role)}
	lineage := &lineages{index: x}
	for _, l := range store.Lvols {
		if _, isImage := ImageOfLvolName(l.Name, store.UUID); isImage || IsImageInFlight(l.Name) {
			continue
		}
		reading, mayBe := readingFor(l, name)
		if !mayBe {
			continue
		}
		ours, err := lineage.owns(name, l)
		if err != nil {
			return Replica{}, err
		}
		if !ours {
			continue
		}
		r.role[l.UUID] = reading.role
		switch reading.role {
		case roleHead:
			head := l
			r.Head = &head
		case roleSnapshot:
			r.Snapshots = append(r.Snapshots, Snapshot{reading.snapshot, l})
		case roleInFlight:
			r.InFlight = append(r.InFlight, l)
		}
	}
	sort.Slice(r.Snapshots, func(i, j int) bool { return r.Snapshots[i].Name < r.Snapshots[j].Name })
	sort.Slice(r.InFlight, func(i, j int) bool { return r.InFlight[i].Name < r.InFlight[j].Name })
	return r, nil
}

// Exists reports whether the store holds anything of the replica.
func (r Replica) Exists() bool { return len(r.role) > 0 }

// ParentOf is what an lvol of the store hangs on, in the replica's words.
func (r Replica) ParentOf(l Lvol) Parent {
	parent, ok := r.index.lvol(l.Parent)
	if !ok {
		return NoParent()
	}
	if image, ok := ImageOfLvolName(parent.Name, r.Store.UUID); ok {
		return ImageNamed(image).Parent()
	}
	if ownRole, ours := r.role[parent.UUID]; ours && ownRole == roleSnapshot {
		reading, _ := readingFor(parent, r.Name)
		return Parent{parentSnapshot, reading.snapshot}
	}
	return parent.AsForeignParent()
}

// Snapshot finds a snapshot by its name.
func (r Replica) Snapshot(name string) (Snapshot, bool) {
	i := sort.Search(len(r.Snapshots), func(i int) bool { return r.Snapshots[i].Name >= name })
	if i < len(r.Snapshots) && r.Snapshots[i].Name == name {
		return r.Snapshots[i], true
	}
	return Snapshot{}, false
}

// Hurt reports whether the replica lost its image: its ancestor, or the head
// of one without snapshots, hangs on nothing although the volume has an image.
func (r Replica) Hurt(image Image) bool {
	_, has := image.Name()
	return has && len(r.lineageImages()) == 0
}

// lineageImages are the images that lvols of the replica hang on, each once.
// More than one is a contradiction.
func (r Replica) lineageImages() []string {
	var names []string
	seen := make(map[string]bool)
	look := func(l Lvol) {
		if name, ok := r.ParentOf(l).Image(); ok && !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	for _, s := range r.Snapshots {
		look(s.Lvol)
	}
	if r.Head != nil {
		look(*r.Head)
	}
	sort.Strings(names)
	return names
}

// lineages tells whose an lvol is.
type lineages struct {
	index *index
	group []int          // by position in the store: the root of the lvol's tree
	heads map[string]int // replica name: position of its head
	named map[string]int // replica name: how many lvols can be read as its
}

// owns decides whether an lvol whose name can be read as the replica's is the
// replica's. Almost always the name has one reading and that is that.
func (x *lineages) owns(replica string, l Lvol) (bool, error) {
	all := readings(l)
	if len(all) == 1 {
		return true, nil
	}
	x.compute()
	var byLineage []string
	for _, r := range all {
		head, ok := x.heads[r.replica]
		if ok && x.group[head] == x.group[x.index.byUUID[l.UUID]] {
			byLineage = append(byLineage, r.replica)
		}
	}
	if len(byLineage) == 1 {
		return byLineage[0] == replica, nil
	}
	for _, r := range all {
		// One reading of the replica's name is this lvol's own.
		if r.replica != replica && x.named[r.replica] > 1 {
			return false, refuse("lvol %s on lvstore %s may belong to replica %s or to replica %s, and hangs on neither's head: rename or delete it by hand", l.Name, x.index.store.Name, replica, r.replica)
		}
	}
	return true, nil
}

func (x *lineages) compute() {
	if x.group != nil {
		return
	}
	store := x.index.store
	x.group = make([]int, len(store.Lvols))
	x.heads = make(map[string]int)
	x.named = make(map[string]int)
	isImage := func(l Lvol) bool {
		return strings.HasPrefix(l.Name, imagePrefix) && strings.HasSuffix(l.Name, imageInfix+store.UUID)
	}
	for i := range x.group {
		x.group[i] = -1
	}
	for i, l := range store.Lvols {
		for _, r := range readings(l) {
			x.named[r.replica]++
			if r.role == roleHead {
				x.heads[r.replica] = i
			}
		}
		var walked []int
		root := i
		for x.group[root] < 0 {
			walked = append(walked, root)
			parent, ok := x.index.byUUID[store.Lvols[root].Parent]
			if !ok || isImage(store.Lvols[parent]) {
				x.group[root] = root
				break
			}
			root = parent
		}
		for _, w := range walked {
			x.group[w] = x.group[root]
		}
	}
}
