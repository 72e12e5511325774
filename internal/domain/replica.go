package domain

import (
	"slices"
	"sort"
	"strings"
)

// Replica is a replica on its store. A healthy one has a head and a tree of
// snapshots; a broken or half rebuilt one is a forest of the lvols that are left.
type Replica struct {
	Name  string
	Store Listing

	Head      *Lvol      // nil: the replica has none, so it is incomplete
	Snapshots []Snapshot // by name
	InFlight  []Lvol     // in-flight lvols and an adapter's helpers, by name

	// AllowInUse permits changes to lvols that are in use (Lvol.UsedBy), unless they
	// would hang the host.
	AllowInUse bool

	index     *index
	members   []membership // of each lvol of the store, by position
	positions []int        // of Snapshots in the store
	head      int          // position of the head in the store
	exists    bool
	bases     []Base // that are parents of lvols of the replica, each once

	lineage  *lineages
	expected map[string]bool // of a destination: the names of the source's snapshots
}

// membership is the role of an lvol in a replica. The zero value means that the
// lvol is not the replica's.
type membership struct {
	role     role
	snapshot string // its name without the replica's
}

// Snapshot is a snapshot of a replica. Name is the snapshot's own, without
// the replica's.
type Snapshot struct {
	Name string
	Lvol Lvol
}

// NewReplica finds the lvols of the replica on a store. Lineage decides. The name
// decides only for lvols without relatives; one that may then belong to another
// replica of that store is refused.
func NewReplica(store Listing, name string) (Replica, error) {
	return newReplica(store, name, nil)
}

// NewDestination is NewReplica for the replica that is rebuilt from source. An
// lvol without relatives whose name is that of a copy of one of the source's
// snapshots is taken for that copy.
func NewDestination(store Listing, name string, source Replica) (Replica, error) {
	expected := make(map[string]bool, len(source.Snapshots))
	for i := range source.Snapshots {
		expected[source.Snapshots[i].Name] = true
	}
	return newReplica(store, name, expected)
}

func newReplica(store Listing, name string, expected map[string]bool) (Replica, error) {
	x, err := newIndex(store)
	if err != nil {
		return Replica{}, refuse("%v", err)
	}
	return x.replica(name, expected)
}

// replica is newReplica for a store that is already indexed.
func (x *index) replica(name string, expected map[string]bool) (Replica, error) {
	store := x.store
	r := Replica{Name: name, Store: store, index: x, members: make([]membership, len(store.Lvols)), expected: expected}
	r.lineage = &lineages{index: x, replica: name, expected: expected}
	for i := range store.Lvols {
		if err := r.take(i); err != nil {
			return Replica{}, err
		}
	}
	r.list()
	r.bases = r.findBases()
	return r, nil
}

// list fills Snapshots and InFlight. The names of each kind share a prefix, so the
// order of the store's names is theirs, too.
func (r *Replica) list() {
	r.positions = make([]int, 0, len(r.members))
	for _, lvol := range r.index.byName {
		switch r.members[lvol.at].role {
		case roleSnapshot:
			r.positions = append(r.positions, lvol.at)
		case roleInFlight:
			r.InFlight = append(r.InFlight, r.Store.Lvols[lvol.at])
		case roleHead, roleForeign:
		}
	}
	r.Snapshots = make([]Snapshot, len(r.positions))
	for i, at := range r.positions {
		r.Snapshots[i] = Snapshot{Name: r.members[at].snapshot, Lvol: r.Store.Lvols[at]}
	}
}

// take adds the lvol at that position of the store if it belongs to the replica.
func (r *Replica) take(at int) error {
	l := &r.Store.Lvols[at]
	if !strings.HasPrefix(l.Name, r.Name) || IsImageInFlight(l.Name) || r.isBase(at) {
		return nil
	}
	all := readings(*l)
	reading, mayBe := readingOf(all, r.Name)
	if !mayBe {
		return nil
	}
	if len(all) > 1 { // rare
		if ours, err := r.lineage.owns(*l); err != nil || !ours {
			return err
		}
	}
	r.exists = true
	r.members[at] = membership{role: reading.role, snapshot: reading.snapshot}
	if reading.role == roleHead {
		head := *l
		r.Head, r.head = &head, at
	}
	return nil
}

// owns reports whether the lvol belongs to the replica.
func (r Replica) owns(uuid string) bool {
	at, ok := r.index.byUUID[uuid]
	return ok && r.members[at].role != roleForeign
}

// located is the replica's name with its lvstore.
func (r Replica) located() string { return r.Name + " on lvstore " + r.Store.Name }

// Exists reports whether the store has any lvol of the replica.
func (r Replica) Exists() bool { return r.exists }

// ParentOf is the parent of an lvol of the store, as seen from the replica.
func (r Replica) ParentOf(l Lvol) Parent {
	at, ok := r.index.byUUID[l.Parent]
	if !ok {
		return l.externalParent()
	}
	return r.asParent(at)
}

// parentAt is the parent of the lvol at that position of the store.
func (r *Replica) parentAt(at int) Parent {
	parent := r.index.parents[at]
	if parent == noParent {
		return r.Store.Lvols[at].externalParent()
	}
	return r.asParent(parent)
}

// asParent makes the lvol at that position of the store a parent.
func (r Replica) asParent(at int) Parent {
	if r.members[at].role == roleSnapshot {
		return Parent{parentSnapshot, r.members[at].snapshot}
	}
	if base, ok := r.baseAt(at); ok {
		return base.Parent()
	}
	return r.Store.Lvols[at].AsForeignParent()
}

// Snapshot finds a snapshot by its name.
func (r Replica) Snapshot(name string) (Snapshot, bool) {
	i, ok := r.find(name)
	if !ok {
		return Snapshot{}, false
	}
	return r.Snapshots[i], true
}

// positionNamed is the position in the store of the snapshot of that name.
func (r *Replica) positionNamed(name string) (at int, ok bool) {
	i, ok := r.find(name)
	if !ok {
		return noPosition, false
	}
	return r.positions[i], true
}

// find is the position in Snapshots of the one of that name.
func (r *Replica) find(name string) (at int, ok bool) {
	at = sort.Search(len(r.Snapshots), func(i int) bool { return r.Snapshots[i].Name >= name })
	return at, at < len(r.Snapshots) && r.Snapshots[at].Name == name
}

// Hurt reports whether the replica lost its base: the volume has one, but no lvol of the
// replica has a base as its parent, or only an entry point that does not read the
// snapshot it is named after.
func (r Replica) Hurt(base Base) bool {
	if !base.Any() {
		return false
	}
	for at := range r.members {
		if parent := r.index.parents[at]; r.isView(at) && parent != noParent && r.isBase(parent) {
			_, _, isClone := base.Clone()
			return isClone && r.index.entryPointDefect(parent) != ""
		}
	}
	return true
}

// isView reports whether the lvol at that position is one that readers of the volume can
// see.
func (r *Replica) isView(at int) bool {
	role := r.members[at].role
	return role == roleSnapshot || role == roleHead
}

// findBases lists the bases that are parents of lvols of the replica. More than one is a
// contradiction.
func (r *Replica) findBases() []Base {
	var bases []Base
	for at := range r.members {
		parent := r.index.parents[at]
		if !r.isView(at) || parent == noParent {
			continue
		}
		if base, ok := r.baseAt(parent); ok && !slices.Contains(bases, base) {
			bases = append(bases, base)
		}
	}
	slices.SortFunc(bases, func(a, b Base) int { return strings.Compare(a.Record(), b.Record()) })
	return bases
}

// Views are the lvols that readers of the volume can see: the snapshots and the
// head.
func (r Replica) Views() []Lvol {
	var all []Lvol
	for _, s := range r.Snapshots {
		all = append(all, s.Lvol)
	}
	if r.Head != nil {
		all = append(all, *r.Head)
	}
	return all
}

// deletable marks the replica's snapshots and in-flight lvols, by position in the
// store.
func (r *Replica) deletable() []bool {
	marked := make([]bool, len(r.members))
	for at, is := range r.members {
		marked[at] = is.role == roleSnapshot || is.role == roleInFlight
	}
	return marked
}

// isBase reports whether the lvol at that position of the store can be the base of the
// replica's volume, by its name.
func (r *Replica) isBase(at int) bool {
	_, ok := r.baseAt(at)
	return ok
}

// baseAt is the base that the lvol at that position of the store is, by its name: a
// backing image, or an entry point on a snapshot of another replica.
func (r *Replica) baseAt(at int) (Base, bool) {
	if r.members[at].role != roleForeign {
		return Base{}, false
	}
	base, ok := r.index.baseAt(at)
	if volume, _, isClone := base.Clone(); isClone && volume == volumeOf(r.Name) {
		return Base{}, false
	}
	return base, ok
}

// baseAt is the base that the lvol at that position is, by its name.
func (x *index) baseAt(at int) (Base, bool) {
	name := x.store.Lvols[at].Name
	if image, ok := ImageOfLvolName(name, x.store.UUID); ok {
		return ImageBase(image), true
	}
	if replica, snapshot, ok := entryPointOf(name); ok {
		return EntryPoint{Replica: replica, Snapshot: snapshot}.Base(), true
	}
	return Base{}, false
}
