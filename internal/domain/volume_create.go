package domain

import (
	"fmt"
	"slices"
)

// VolumeCreation says how replicas become the members of a new volume.
type VolumeCreation struct {
	Size   uint64 // bytes
	Create []int  // positions of the replicas that have to be created
	Clear  []int  // those of them of which a crashed creation has left empty lvols: to be deleted first
}

// PlanVolumeCreation plans a new volume over replicas, of which those that do not exist are
// created empty, on the base. Those that exist must be whole. size is in bytes; 0: that of the
// replicas that exist.
func PlanVolumeCreation(replicas []Replica, size uint64, base Base) (VolumeCreation, error) {
	plan := VolumeCreation{Size: size}
	var existing, withData []Replica
	for i, r := range replicas {
		if same := slices.IndexFunc(replicas[:i], r.hasNameOf); same >= 0 {
			return plan, refuse("replica %s is also given on lvstore %s: the replicas of a volume need different names", r.located(), replicas[same].Store.Name)
		}
		switch {
		case DifferentVolumes(replicas[0].Name, r.Name):
			return plan, refuse("replicas %s and %s are named as those of different volumes", replicas[0].Name, r.Name)
		case r.leftByCreation():
			plan.Clear = append(plan.Clear, i)
			plan.Create = append(plan.Create, i)
			continue
		case !r.Exists():
			plan.Create = append(plan.Create, i)
			continue
		}
		if err := r.checkWhole(base); err != nil {
			return plan, err
		}
		if err := r.refuseInUse(r.Head, changeMember); err != nil {
			return plan, err
		}
		existing = append(existing, r)
		if len(r.Snapshots) > 0 || r.Head.Own.Count > 0 {
			withData = append(withData, r)
		}
	}
	if plan.Size == 0 && len(existing) > 0 {
		plan.Size = existing[0].Head.Size
	}
	for _, r := range existing {
		if r.Head.Size != plan.Size {
			return plan, refuse("replica %s has %s, and the volume %s", r.located(), sizeText(r.Head.Size), sizeText(plan.Size))
		}
	}
	if len(withData) > 0 && len(plan.Create) > 0 {
		return plan, refuse("replica %s holds data, and replica %s does not exist: make the volume of the first alone, then rebuild the other one under it",
			withData[0].located(), replicas[plan.Create[0]].located())
	}
	if len(plan.Create) > 0 && plan.Size == 0 {
		return plan, refuse("replica %s does not exist, and the volume's size is not given (--size)", replicas[plan.Create[0]].located())
	}
	for _, i := range plan.Create {
		store := replicas[i].Store
		store.Lvols = slices.DeleteFunc(slices.Clone(store.Lvols), func(l Lvol) bool { return replicas[i].owns(l.UUID) })
		if _, err := PlanCreation(store, replicas[i].Name, plan.Size, base); err != nil {
			return plan, err
		}
	}
	return plan, nil
}

// sizeText is a number of bytes, for people.
func sizeText(bytes uint64) string {
	if bytes%(1<<20) == 0 {
		return fmt.Sprintf("%d MiB", bytes>>20)
	}
	return fmt.Sprintf("%d bytes", bytes)
}

func (r Replica) hasNameOf(other Replica) bool { return r.Name == other.Name }

// leftByCreation reports whether only empty lvols in flight are there: a creation that crashed
// leaves them when it makes an entry point.
func (r Replica) leftByCreation() bool {
	hasData := func(l Lvol) bool { return l.Own.Count > 0 }
	return r.Exists() && r.Head == nil && len(r.Snapshots) == 0 && !slices.ContainsFunc(r.InFlight, hasData)
}

// checkWhole refuses a replica that an audit finds anything wrong with.
func (r Replica) checkWhole(base Base) error {
	if r.Head == nil {
		return r.refuseHeadless()
	}
	if found := Audit(r, base).Violations; len(found) > 0 {
		return refuse("replica %s is not whole: %s: rebuild or repair it first", r.located(), found[0].Detail)
	}
	return nil
}

// CheckMade refuses a volume whose members are not just the heads of these replicas, or that has
// another size, 0: any, or another base, the zero Base: any.
func (v Volume) CheckMade(replicas []Replica, size uint64, base Base) error {
	parts, strangers := v.Assign(replicas)
	switch {
	case !v.Pending && size != 0 && size != v.Size:
		return refuse("volume %s exists already, and has %s, not %s", v.Name, sizeText(v.Size), sizeText(size))
	case v.Pending:
		for _, m := range v.Members {
			if !slices.ContainsFunc(replicas, func(r Replica) bool { return r.owns(m.Head) }) {
				return refuse("volume %s is being made or removed, and lvol %s, which is none of the replicas given, is one of its heads: name every replica of the volume, or delete the volume first", v.Name, m.Head)
			}
		}
	default:
		if faults := v.Faults(parts, strangers); len(faults) > 0 {
			return refuse("volume %s exists already, and %s", v.Name, faults[0])
		}
		return v.checkBase(replicas, base)
	}
	return nil
}

func (v Volume) checkBase(replicas []Replica, base Base) error {
	if !base.Known() {
		return nil
	}
	for _, r := range replicas {
		for _, found := range Audit(r, base).Violations {
			switch found.Rule {
			case RuleImage, RuleBase, RuleAncestorParent:
				return refuse("volume %s exists already, and %s is not its base: replica %s, %s: %s", v.Name, base, r.Name, found.Subject, found.Detail)
			}
		}
	}
	return nil
}
