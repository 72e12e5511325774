package domain

import (
	"cmp"
	"fmt"
	"slices"
)

// VolumeReplica is a replica as a part of a volume.
type VolumeReplica struct {
	Replica Replica
	Member  Member // the mode is WO if the replica is being rebuilt; the zero Member: it is no member
	Head    *Lvol  // that is the member; nil: none

	// Dropped is an lvol that the mirror has dropped, and that is still exported to its host, and
	// to no other; nil: none.
	Dropped *Lvol
}

// Mirrored is the lvol that is a member, or was one.
func (p VolumeReplica) Mirrored() *Lvol { return cmp.Or(p.Head, p.Dropped) }

// Assign finds for each replica the member that it is. strangers are the members that none of
// the replicas has, except for lost ones.
func (v Volume) Assign(replicas []Replica) (parts []VolumeReplica, strangers []Member) {
	known := make(map[string]bool)
	for _, r := range replicas {
		part := VolumeReplica{Replica: r}
		for _, m := range v.Members {
			if !r.owns(m.Head) {
				continue
			}
			known[m.Head] = true
			part.Member, part.Head = m, &r.Store.Lvols[r.index.byUUID[m.Head]]
			if m.Mode == ModeRW && (r.Head == nil || r.Head.UUID != m.Head) {
				part.Member.Mode = ModeWO // its head has an in-flight name
			}
		}
		for i := range r.Store.Lvols {
			if l := &r.Store.Lvols[i]; part.Head == nil && r.owns(l.UUID) && v.dropped(*l) {
				part.Dropped = l
			}
		}
		parts = append(parts, part)
	}
	for _, m := range v.Members {
		if !known[m.Head] && m.Mode != ModeERR {
			strangers = append(strangers, m)
		}
	}
	return parts, strangers
}

// CheckNewSnapshot refuses a snapshot that cannot be taken of the member's head. That of a
// replica that is being rebuilt is the live head.
func (p VolumeReplica) CheckNewSnapshot(name string) error {
	r := p.Replica
	r.AllowInUse = true // it is a member of this volume
	if p.Member.Mode != ModeWO {
		return r.CheckNewSnapshot(name)
	}
	if err := CheckSnapshotName(name); err != nil {
		return refuse("%v", err)
	}
	lvol := SnapshotLvolName(r.Name, name)
	if slices.ContainsFunc(r.Store.Lvols, func(l Lvol) bool { return l.Name == lvol }) {
		return refuse("replica %s, which is being rebuilt, has a snapshot %s already", r.located(), name)
	}
	return r.refuseNames([]string{lvol})
}

// HasWrites reports whether the replica is a member that has every write since it joined.
func (p VolumeReplica) HasWrites() bool { return p.Member.Mode == ModeRW || p.Member.Mode == ModeWO }

// wholeOf are the whole members, with their positions.
func wholeOf(parts []VolumeReplica) (members []Replica, positions []int) {
	for i, p := range parts {
		if p.Member.Mode == ModeRW {
			members, positions = append(members, p.Replica), append(positions, i)
		}
	}
	return members, positions
}

// HalfCutsOf lists the cuts right below the heads of some whole members that other whole members lack.
func HalfCutsOf(parts []VolumeReplica) []HalfCut {
	members, positions := wholeOf(parts)
	half := HalfCuts(members)
	for i := range half {
		half[i].Member = positions[half[i].Member]
	}
	return half
}

// HalfSnapshots lists the users' snapshots of that name right below the heads of some members
// that other members lack. They are merged into those heads again. One that anything else reads
// or uses stays: its owner took it of that member alone.
func HalfSnapshots(parts []VolumeReplica, name string) (half []HalfCut) {
	lacking := false
	for i, p := range parts {
		if !p.HasWrites() {
			continue
		}
		lvol, all := SnapshotLvolName(p.Replica.Name, name), p.Replica.Store.Lvols
		at := slices.IndexFunc(all, func(l Lvol) bool { return l.Name == lvol })
		if at < 0 {
			lacking = true
			continue
		}
		s, children := all[at], 0
		for _, l := range all {
			if l.Parent == s.UUID {
				children++
			}
		}
		users := s.Attributes.UserCreated || !p.Replica.Store.Records
		if users && p.Head.Parent == s.UUID && children == 1 && !s.UsedBy.Any() {
			half = append(half, HalfCut{i, Snapshot{name, s}})
		}
	}
	if !lacking {
		return nil
	}
	return half
}

// Odd lists the replicas that differ from more than half of those compared; none if no value
// has such a majority.
func (d Difference) Odd() (odd []string) {
	all := 0
	for _, g := range d.Groups {
		all += len(g.Replicas)
	}
	if len(d.Groups) == 0 || 2*len(d.Groups[0].Replicas) <= all {
		return nil
	}
	for _, g := range d.Groups[1:] {
		odd = append(odd, g.Replicas...)
	}
	return odd
}

// AuditLive is AuditVolume for replicas that clients write: numbers of clusters of their heads
// are those of different moments, and are not compared.
func AuditLive(requested Base, replicas ...Replica) VolumeAudit {
	return AuditVolume(requested, replicas...).live()
}

func (v VolumeAudit) live() VolumeAudit {
	v.Differences = slices.DeleteFunc(v.Differences, func(d Difference) bool { return d.Subject == headSubject && d.Rule == RuleClusters })
	return v
}

// Faults describes what is wrong with the volume's members themselves, one line each.
func (v Volume) Faults(parts []VolumeReplica, strangers []Member) (faults []string) {
	for _, p := range parts {
		switch p.Member.Mode {
		case ModeRW:
		case ModeWO:
			faults = append(faults, fmt.Sprintf("%s is being rebuilt, or was left by a rebuild", p.Replica.located()))
		case ModeERR:
			faults = append(faults, fmt.Sprintf("%s is lost: %s", p.Replica.located(), p.Member.Reason))
		default:
			fault := fmt.Sprintf("%s is no member of volume %s", p.Replica.located(), v.Name)
			if p.Dropped != nil {
				fault += fmt.Sprintf(" any more; its head is still exported to the volume's host, as %s: rebuild it under the volume", p.Dropped.UsedBy.Name)
			}
			faults = append(faults, fault)
		}
	}
	for _, m := range strangers {
		faults = append(faults, fmt.Sprintf("member %s of volume %s is none of the replicas listed", m.Name, v.Name))
	}
	return faults
}
