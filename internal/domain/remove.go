package domain

import "slices"

// PlanRemoval plans the deletion of a replica: the head first, since a replica without
// one is incomplete, then its snapshots and in-flight lvols, leaf first, so that
// nothing merges. If it is interrupted, it can be planned again from the leftovers.
// Refuses a replica with a foreign clone, such as a linked clone or another replica.
func PlanRemoval(r Replica) (Plan, error) {
	if !r.Exists() {
		return Plan{}, refuse("replica %s not found on lvstore %s", r.Name, r.Store.Name)
	}
	for at := range r.Store.Lvols {
		parent := r.index.parents[at]
		if r.members[at].role == roleForeign && parent != noParent && r.members[parent].role != roleForeign {
			return Plan{}, r.refuseForeignClone(at, "its "+r.Store.Lvols[parent].Name)
		}
	}
	for _, snapshot := range r.Snapshots {
		if err := r.refuseLostClones(snapshot.Name); err != nil {
			return Plan{}, err
		}
	}
	if err := r.refuseDegraded(r.deletable()); err != nil {
		return Plan{}, err
	}
	var toDelete []Lvol
	for _, at := range r.index.leafFirst(r.deletable()) {
		toDelete = append(toDelete, r.Store.Lvols[at])
	}
	if err := r.refuseAmbiguousRemoval(toDelete); err != nil {
		return Plan{}, err
	}
	if err := r.refuseRemovalInUse(toDelete); err != nil {
		return Plan{}, err
	}
	var plan Plan
	remove := func(name string, l Lvol, stage Stage, after []int, reason string) {
		step := Step{Action: ActionRemove, Snapshot: name, Parent: r.ParentOf(l), Reason: reason, Deleted: l.Own.Count, Operations: []int{len(plan.Operations)}}
		plan.Steps, plan.Deletions = append(plan.Steps, step), append(plan.Deletions, deletionOf(l))
		plan.Operations = append(plan.Operations, Operation{Verb: VerbDelete, Stage: stage, Target: listed(l), Name: l.Name, After: after})
	}
	if r.Head != nil {
		remove("", *r.Head, StageRemoveHead, nil, "the head is deleted first, since a replica with a head is complete")
	}
	childrenOf := make(map[string][]int)
	for _, l := range toDelete {
		name, reason := l.Name, "in flight"
		if is := r.members[r.index.byUUID[l.UUID]]; is.role == roleSnapshot {
			name, reason = is.snapshot, "it has no clones left by then"
		}
		at := len(plan.Operations)
		remove(name, l, StagePrune, childrenOf[l.UUID], reason)
		childrenOf[l.Parent] = append(childrenOf[l.Parent], at)
	}
	return plan, nil
}

// refuseForeignClone refuses the deletion of an lvol because of its foreign clone at that
// position of the store. An entry point stands for its linked clones.
func (r Replica) refuseForeignClone(at int, of string) error {
	l := &r.Store.Lvols[at]
	if _, _, isEntryPoint := entryPointOf(l.Name); !isEntryPoint || !l.ReadOnly {
		return refuse("lvol %s on lvstore %s does not belong to replica %s, but is a clone of %s: detach or delete the clone first", l.Name, r.Store.Name, r.Name, of)
	}
	clones := r.index.linkedClones(at)
	if len(clones) == 0 {
		return refuse("entry point %s on lvstore %s is a clone of %s, which would merge into it, and has no linked clones: remove the entry point first (gc)", l.Name, r.Store.Name, of)
	}
	return refuse("entry point %s on lvstore %s is a clone of %s, and replicas are linked clones of it: %s; delete them first", l.Name, r.Store.Name, of, someNames(clones))
}

// refuseLostClones refuses the deletion of a snapshot that linked clones have lost, since
// their repair needs it: their entry point has another parent, or their head records it.
func (r Replica) refuseLostClones(snapshot string) error {
	base, entryPoint := CloneBase(volumeOf(r.Name), snapshot), EntryPointLvolName(r.Name, snapshot)
	for at := range r.Store.Lvols {
		l := &r.Store.Lvols[at]
		switch {
		case r.members[at].role != roleForeign:
		case l.Name == entryPoint && l.ReadOnly:
			clones := r.index.linkedClones(at)
			if len(clones) == 0 {
				continue
			}
			return refuse("replicas are linked clones of snapshot %s of replica %s on lvstore %s, but their entry point %s lost it: %s; repair or delete them first",
				snapshot, r.Name, r.Store.Name, entryPoint, someNames(clones))
		case BaseOfRecord(l.Record) == base && !r.index.hasEntryPoint(at):
			return refuse("replica %s on lvstore %s records that it is a linked clone of %s, and lost it: repair or delete it first", l.Name, r.Store.Name, base)
		}
	}
	return nil
}

// hasEntryPoint reports whether the lvol at that position reads through an entry point.
func (x *index) hasEntryPoint(at int) bool {
	for at = x.parents[at]; at != noParent; at = x.parents[at] {
		if _, _, is := entryPointOf(x.store.Lvols[at].Name); is {
			return true
		}
	}
	return false
}

func (r Replica) refuseRemovalInUse(toDelete []Lvol) error {
	if r.Head != nil {
		toDelete = append([]Lvol{*r.Head}, toDelete...)
	}
	for i := range toDelete {
		if err := r.refuseInUse(&toDelete[i], changeDelete); err != nil {
			return err
		}
	}
	return nil
}

// refuseAmbiguousRemoval: after an interruption, the leftovers must still be
// distinguishable from another replica's lvols.
func (r Replica) refuseAmbiguousRemoval(toDelete []Lvol) error {
	if !slices.ContainsFunc(toDelete, func(l Lvol) bool { return len(readings(l)) > 1 }) {
		return nil
	}
	left := r.Store
	left.Lvols = slices.Clone(left.Lvols)
	gone := func(uuid string) {
		left.Lvols = slices.DeleteFunc(left.Lvols, func(l Lvol) bool { return l.UUID == uuid })
	}
	if r.Head != nil {
		gone(r.Head.UUID)
	}
	for i := range toDelete {
		now, err := newReplica(left, r.Name, r.expected)
		if err != nil {
			return err
		}
		for _, l := range toDelete[i:] {
			if !now.owns(l.UUID) {
				return refuse("once a part of replica %s is deleted, lvol %s on lvstore %s could also belong to another replica: rename or delete it by hand", r.Name, l.Name, r.Store.Name)
			}
		}
		gone(toDelete[i].UUID)
	}
	return nil
}
