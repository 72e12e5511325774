package domain

import "fmt"

// This file places the base of a linked clone on the destination. Its entry point there
// has to show the same bytes as the one on the source's host: both are compared along their
// whole chain, from the snapshot of the source volume to that volume's own base.

// cloneBase is the base of a linked clone on one store.
type cloneBase struct {
	replica    string // of the source volume
	entryPoint int    // position in the store; notMade: the plan makes it
	snapshot   int    // position in the store of the snapshot below it
	size       uint64 // of both, in bytes
}

// name is the name of the entry point.
func (c cloneBase) name(base Base) string {
	_, snapshot, _ := base.Clone()
	return EntryPointLvolName(c.replica, snapshot)
}

func (c cloneBase) placed(base Base) PlacedClone { return PlacedClone{c.replica, c.name(base)} }

// findCloneBase finds the base of a linked clone on a store. Without an entry point, the
// snapshot of the source volume is enough. Refuses an entry point that does not read that
// snapshot, and a store that has neither.
func (x *index) findCloneBase(base Base) (cloneBase, error) {
	found, ok, err := x.store.EntryPoint(base)
	if err != nil {
		return cloneBase{}, err
	}
	return x.cloneBaseOn(base, found, ok)
}

// findCloneBase is that of index for a replica that has the base already: of several entry
// points on the store, one for each replica of the source volume, it has one as its parent.
func (r *Replica) findCloneBase(base Base) (cloneBase, error) {
	found, ok, err := r.entryPoint(base)
	if err != nil {
		return cloneBase{}, err
	}
	return r.index.cloneBaseOn(base, found, ok)
}

// entryPoint finds the entry point that is the parent of the replica's ancestor, or else the
// only one on the store.
func (r *Replica) entryPoint(base Base) (found EntryPoint, ok bool, err error) {
	for view := range r.members {
		at := r.index.parents[view]
		if !r.isView(view) || at == noParent {
			continue
		}
		if is, _ := r.baseAt(at); is == base {
			replica, snapshot, isEntryPoint := entryPointOf(r.Store.Lvols[at].Name)
			return EntryPoint{replica, snapshot, r.Store.Lvols[at]}, isEntryPoint, nil
		}
	}
	return r.Store.EntryPoint(base)
}

// cloneBaseOn is the base with that entry point, or with none if ok is false.
func (x *index) cloneBaseOn(base Base, found EntryPoint, ok bool) (cloneBase, error) {
	if !ok {
		replica, at, err := x.sourceSnapshot(base)
		if err != nil {
			return cloneBase{}, err
		}
		return cloneBase{replica, notMade, at, x.store.Lvols[at].Size}, nil
	}
	at := x.byUUID[found.Lvol.UUID]
	if defect := x.entryPointDefect(at); defect != "" {
		cure := ": repair a linked clone of it first; if all of them are incomplete, delete these (replica delete), and then it (gc)"
		switch {
		case x.readsSetAside(at):
			cure = ": wait for it, or rebuild that replica first"
		case len(x.linkedClones(at)) == 0:
			cure = ", and has no linked clones: remove it first (gc)"
		}
		return cloneBase{}, refuse("entry point %s on lvstore %s %s%s", found.Lvol.Name, x.store.Name, defect, cure)
	}
	return cloneBase{found.Replica, at, x.parents[at], found.Lvol.Size}, nil
}

// link is an lvol in the chain of a base, which its clones read through.
type link struct {
	name  string // the same on every host
	image string // name of the backing image that it is; "": none
	lvol  *Lvol
}

// chain lists the lvols that are read through a snapshot of a replica, itself included. It
// ends at the base of the last volume.
func (x *index) chain(replica string, at int) (links []link) {
	for ; at != noParent; at = x.parents[at] {
		l := &x.store.Lvols[at]
		base, isBase := x.baseAt(at)
		image, isImage := base.Image()
		name := l.Name
		switch {
		case isImage:
			name = base.String()
		case isBase:
			replica, _, _ = entryPointOf(l.Name)
			name = "the entry point on " + base.String()
		default:
			if r, ok := readingFor(*l, replica); ok && r.role == roleSnapshot {
				name = CloneBase(volumeOf(replica), r.snapshot).String()
			}
		}
		links = append(links, link{name, image, l})
		if isImage {
			break
		}
	}
	return links
}

// linkPairs pairs the links of a base on two stores as far as both go.
func linkPairs(ours, theirs []link) [][2]link {
	pairs := make([][2]link, min(len(ours), len(theirs)))
	for i := range pairs {
		pairs[i] = [2]link{ours[i], theirs[i]}
	}
	return pairs
}

// chainDifference describes the first difference between the chains of a base on two
// stores, "" if there is none; unproven names the first lvol whose bytes nothing proves to
// be equal.
func chainDifference(ours, theirs []link) (differ, unproven string) {
	for _, p := range linkPairs(ours, theirs) {
		here, there := p[0], p[1]
		switch {
		case here.name != there.name:
			return fmt.Sprintf("%s instead of %s", there.name, here.name), ""
		case here.image != "":
			a, b := BackingImage{here.image, *here.lvol}, BackingImage{there.image, *there.lvol}
			if differ := a.difference(b); differ != "" {
				return fmt.Sprintf("%s differs: %s", here.name, differ), ""
			}
			if !a.recordedEqual(b) && !a.Lvol.Own.provenEqual(b.Lvol.Own) && unproven == "" {
				unproven = here.name
			}
			continue
		case here.lvol.Degraded || there.lvol.Degraded:
			return here.name + " is degraded", ""
		case here.lvol.External != there.lvol.External:
			return here.name + " reads through to an external snapshot", ""
		case here.lvol.Size != there.lvol.Size:
			return fmt.Sprintf("%s has %d bytes instead of %d", here.name, there.lvol.Size, here.lvol.Size), ""
		case here.lvol.Own.Count != there.lvol.Own.Count:
			return fmt.Sprintf("%s has %d clusters of its own instead of %d", here.name, there.lvol.Own.Count, here.lvol.Own.Count), ""
		case here.lvol.Own.Proven() && there.lvol.Own.Proven() && here.lvol.Own != there.lvol.Own:
			return here.name + " has other data", ""
		case !here.lvol.Own.provenEqual(there.lvol.Own) && here.lvol.Own.Count > 0 && unproven == "":
			unproven = here.name
		}
	}
	switch n, m := len(ours), len(theirs); {
	case n > m:
		return "without " + ours[m].name, ""
	case m > n:
		return "with " + theirs[n].name + " below", ""
	}
	return "", unproven
}

// baseChain is the chain of the replica's base, if it is a linked clone, from the snapshot on;
// nil if it is not there.
func (r *Replica) baseChain(base Base) []link {
	found, err := r.findCloneBase(base)
	if err != nil {
		return nil
	}
	return r.index.chain(found.replica, found.snapshot)
}

// locateClone finds the entry point on the destination, or plans to make it.
func (p *planner) locateClone() error {
	here, err := p.destination.index.findCloneBase(p.base)
	if err != nil {
		return err
	}
	p.clone, p.baseAt = here, here.entryPoint
	p.plan.Clone = here.placed(p.base)
	smallest := p.smallest()
	if here.size > smallest.Size {
		return refuse("%s has %d bytes on lvstore %s, more than the %d of lvol %s, which is its linked clone", p.base, here.size, p.destination.Store.Name, smallest.Size, smallest.Name)
	}
	there, err := p.source.findCloneBase(p.base)
	if err != nil {
		p.notice("%s on lvstore %s cannot be compared with the one on the source's lvstore, so its bytes are unverified: %v", p.base, p.destination.Store.Name, err)
		return nil
	}
	ours, theirs := p.source.index.chain(there.replica, there.snapshot), p.destination.index.chain(here.replica, here.snapshot)
	differ, unproven := chainDifference(ours, theirs)
	switch {
	case differ != "":
		return refuse("%s on lvstore %s differs from the one on lvstore %s: %s; audit replicas %s and %s, and repair or rebuild the wrong one first", p.base, p.destination.Store.Name, p.source.Store.Name, differ, here.replica, there.replica)
	case unproven == "":
	case p.bothProve():
		return refuse("%s on lvstore %s could not be proven to be the one on lvstore %s; try again", unproven, p.destination.Store.Name, p.source.Store.Name)
	default:
		p.notice("%s", unverifiedBase(p.base, p.destination.Store.Name, p.source.Store.Name))
	}
	return nil
}

// unverifiedBase is a notice on the bases of linked clones on two stores.
func unverifiedBase(base Base, here, there string) string {
	return fmt.Sprintf("%s on lvstore %s is assumed to be the one on lvstore %s because of its names, sizes and cluster counts; its bytes are unverified, since there are no checksums", base, here, there)
}

// makeEntryPoint is the base of linked clones from nothing: an empty lvol, grafted onto the
// snapshot and sealed. It returns the operations, numbered from first on.
func (x *index) makeEntryPoint(base Base, on cloneBase, first int) []Operation {
	name := on.name(base)
	target, snapshot := Ref{refEntryPoint, name}, listed(x.store.Lvols[on.snapshot])
	return []Operation{
		{Verb: VerbCreate, Stage: StageBuild, Target: target, Size: on.size},
		{Verb: VerbGraft, Stage: StageBuild, After: []int{first}, Target: target, Parent: snapshot},
		{Verb: VerbSeal, Stage: StageBuild, After: []int{first + 1}, Target: target, Parent: snapshot, Name: name},
	}
}

// entryPointStep describes it.
func (x *index) entryPointStep(on cloneBase, operations []int) Step {
	return Step{
		Action: ActionCreateEntryPoint, Parent: x.store.Lvols[on.snapshot].AsForeignParent(), Operations: operations,
		Reason: "the entry point of its linked clones is missing",
	}
}
