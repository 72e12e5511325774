package domain

// Names can be ambiguous: "vol-1-snap-x-snap-y" is the snapshot "x-snap-y" of
// replica vol-1, or "y" of replica vol-1-snap-x. Lineage decides: an lvol belongs to
// the same replica as the lvols with unambiguous names in its tree. The name of an
// lvol decides only if there are none, and only if it is not ambiguous on that store.

// lineages finds the lvols of a replica on a store.
type lineages struct {
	index    *index
	replica  string
	expected map[string]bool // names of the snapshots that the replica should have; nil: not known

	root   []int                   // by position in the store: the root of the lvol's tree
	owners map[int]map[string]bool // by root: the replicas whose lvols of one reading are in the tree

	// The other replicas on the store, by the number of lvols whose names may be
	// theirs: certain counts those that cannot be this replica's, ambiguous those that
	// can, but are not expected.
	certain, ambiguous map[string]int
	withHead           map[string]bool // replicas with a head: they own no lvols without relatives
}

// owns decides whether an lvol with an ambiguous name belongs to the replica.
func (x *lineages) owns(l Lvol) (bool, error) {
	all := readings(l)
	x.compute()
	var byLineage []string
	owners := x.owners[x.root[x.index.byUUID[l.UUID]]]
	for _, r := range all {
		if owners[r.replica] {
			byLineage = append(byLineage, r.replica)
		}
	}
	if len(byLineage) == 1 {
		return byLineage[0] == x.replica, nil
	}
	if other, doubt := x.ambiguousWith(l); doubt {
		return false, refuse("lvol %s on lvstore %s may belong to replica %s or to replica %s, and its lineage does not decide: rename or delete it by hand", l.Name, x.index.store.Name, x.replica, other)
	}
	return true, nil
}

// owner is the reading of the replica that the lvol at that position belongs to; the zero
// reading if it belongs to none.
func (x *index) owner(at int) (reading, error) {
	all := readings(x.store.Lvols[at])
	if len(all) == 1 {
		return all[0], nil
	}
	for _, r := range all { // rare
		of := &lineages{index: x, replica: r.replica}
		if ours, err := of.owns(x.store.Lvols[at]); err != nil || ours {
			return r, err
		}
	}
	return reading{}, nil
}

// ambiguousWith finds another replica of the store that an lvol without relatives may
// belong to.
func (x *lineages) ambiguousWith(l Lvol) (other string, doubt bool) {
	all := readings(l)
	if len(all) == 1 {
		return "", false
	}
	x.compute()
	for _, r := range all {
		if r.replica == x.replica {
			continue
		}
		if x.expects(l) {
			doubt = x.certain[r.replica] > 0 && !x.withHead[r.replica]
		} else { // it is counted as ambiguous itself
			doubt = x.certain[r.replica] > 0 || x.ambiguous[r.replica] > 1
		}
		if doubt {
			return r.replica, true
		}
	}
	return "", false
}

// expects reports whether the lvol has a name that the replica should have.
func (x *lineages) expects(l Lvol) bool {
	ours, ok := readingFor(l, x.replica)
	return ok && (ours.role == roleInFlight || x.expected[ours.snapshot])
}

func (x *lineages) compute() {
	if x.root != nil {
		return
	}
	store := x.index.store
	x.root = make([]int, len(store.Lvols))
	x.owners = make(map[int]map[string]bool)
	x.certain, x.ambiguous, x.withHead = make(map[string]int), make(map[string]int), make(map[string]bool)
	for i := range x.root {
		x.root[i] = noParent
	}
	for i, l := range store.Lvols {
		x.count(l)
		var walked []int
		root := i
		for x.root[root] == noParent {
			walked = append(walked, root)
			parent := x.index.parents[root]
			if parent == noParent {
				x.root[root] = root
				break
			}
			if _, isBase := x.index.baseAt(parent); isBase {
				x.root[root] = root
				break
			}
			root = parent
		}
		for _, w := range walked {
			x.root[w] = x.root[root]
		}
		if all := readings(l); len(all) == 1 {
			if x.owners[x.root[i]] == nil {
				x.owners[x.root[i]] = make(map[string]bool)
			}
			x.owners[x.root[i]][all[0].replica] = true
		}
	}
}

func (x *lineages) count(l Lvol) {
	_, maybeOurs := readingFor(l, x.replica)
	for _, r := range readings(l) {
		if r.role == roleHead {
			x.withHead[r.replica] = true
		}
		switch {
		case r.replica == x.replica:
		case !maybeOurs:
			x.certain[r.replica]++
		case !x.expects(l):
			x.ambiguous[r.replica]++
		}
	}
}
