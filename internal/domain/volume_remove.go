package domain

import "slices"

// MadeAgain reports whether the replica has another head than the one that a pending volume is
// about: it was deleted and made again since. It is not a part of the volume, and counts as missing.
func (p VolumeReplica) MadeAgain(v Volume) bool {
	return v.Pending && p.Replica.Head != nil && p.Mirrored() == nil
}

// CheckRemoval refuses the removal of a volume that has other members than these replicas, or
// that one of them is no member of, and was none by what is left of it. missing of the replicas given
// do not exist, or were made again: only the continuation of a removal accepts that.
func (v Volume) CheckRemoval(parts []VolumeReplica, strangers []Member, missing int) error {
	for _, p := range parts {
		if p.Mirrored() == nil && !(v.Pending && p.Replica.Head == nil) { // else the head is deleted already
			return refuse("%s is no member of volume %s", p.Replica.located(), v.Name)
		}
	}
	switch {
	case len(strangers) > 0:
		return refuse("member %s of volume %s is none of the replicas given: name every replica of the volume", strangers[0].Name, v.Name)
	case v.Pending && len(v.Members) != len(parts)+missing:
		return refuse("volume %s is being made or removed over %d heads, and %d replicas are given: name every replica of the volume", v.Name, len(v.Members), len(parts)+missing)
	}
	return nil
}

// PlanRemoval plans the deletion of the replica after its volume is gone.
func (p VolumeReplica) PlanRemoval() (Plan, error) {
	store := p.Replica.Store
	store.Lvols = slices.Clone(store.Lvols)
	for i := range store.Lvols {
		if used := p.Mirrored(); used != nil && store.Lvols[i].UUID == used.UUID {
			store.Lvols[i].UsedBy = User{}
		}
	}
	r, err := p.Replica.of(store)
	if err != nil {
		return Plan{}, err
	}
	return PlanRemoval(r)
}
