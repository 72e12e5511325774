package domain

import "slices"

// PlanRemoval says how a replica is deleted: the head first, since a replica
// without one is not whole, then its snapshots and what is in flight, leaf
// first, so that nothing merges into anything. Stopped anywhere, it can be
// planned again from what is left. A replica that anything else hangs on, such
// as a linked clone or another replica, is refused.
func PlanRemoval(r Replica) (Plan, error) {
	if !r.Exists() {
		return Plan{}, refuse("there is no replica %s on lvstore %s", r.Name, r.Store.Name)
	}
	for at := range r.Store.Lvols {
		below := r.index.parents[at]
		if r.is[at].role == roleForeign && below != noParent && r.is[below].role != roleForeign {
			return Plan{}, refuse("lvol %s on lvstore %s is not of replica %s, and hangs on its %s: detach or delete it first", r.Store.Lvols[at].Name, r.Store.Name, r.Name, r.Store.Lvols[below].Name)
		}
	}
	if err := r.refuseDegraded(r.deletable()); err != nil {
		return Plan{}, err
	}
	var doomed []Lvol
	for _, at := range r.index.leafFirst(r.deletable()) {
		doomed = append(doomed, r.Store.Lvols[at])
	}
	if err := r.refuseUntold(doomed); err != nil {
		return Plan{}, err
	}
	if err := r.refuseRemovalInUse(doomed); err != nil {
		return Plan{}, err
	}
	var plan Plan
	remove := func(name string, l Lvol, stage Stage, after []int, reason string) {
		step := Step{Action: ActionRemove, Snapshot: name, Parent: r.ParentOf(l), Reason: reason, Deleted: l.Own.Count, Operations: []int{len(plan.Operations)}}
		plan.Steps, plan.Deletions = append(plan.Steps, step), append(plan.Deletions, deletionOf(l))
		plan.Operations = append(plan.Operations, Operation{Verb: VerbDelete, Stage: stage, Target: listed(l), Name: l.Name, After: after})
	}
	if r.Head != nil {
		remove("", *r.Head, StageRemoveHead, nil, "the head goes first, since a replica with a head is whole")
	}
	childrenOf := make(map[string][]int)
	for _, l := range doomed {
		name, reason := l.Name, "in flight"
		if is := r.is[r.index.byUUID[l.UUID]]; is.role == roleSnapshot {
			name, reason = is.snapshot, "nothing hangs on it any more then"
		}
		at := len(plan.Operations)
		remove(name, l, StagePrune, childrenOf[l.UUID], reason)
		childrenOf[l.Parent] = append(childrenOf[l.Parent], at)
	}
	return plan, nil
}

func (r Replica) refuseRemovalInUse(doomed []Lvol) error {
	if r.Head != nil {
		doomed = append([]Lvol{*r.Head}, doomed...)
	}
	for i := range doomed {
		if err := r.refuseInUse(&doomed[i], changeDelete); err != nil {
			return err
		}
	}
	return nil
}

// refuseUntold: where names can be read in several ways, what is left when the
// removal is stopped must still be told from another replica's.
func (r Replica) refuseUntold(doomed []Lvol) error {
	if !slices.ContainsFunc(doomed, func(l Lvol) bool { return len(readings(l)) > 1 }) {
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
	for i := range doomed {
		now, err := newReplica(left, r.Name, r.expected)
		if err != nil {
			return err
		}
		for _, l := range doomed[i:] {
			if !now.owns(l.UUID) {
				return refuse("once a part of replica %s is deleted, lvol %s on lvstore %s could not be told from another replica's: rename or delete it by hand", r.Name, l.Name, r.Store.Name)
			}
		}
		gone(doomed[i].UUID)
	}
	return nil
}
