package domain

import (
	"fmt"
	"slices"
)

// Purge is a system snapshot that an earlier rebuild took of a volume's members.
type Purge struct {
	Snapshot string // name
	Members  []int  // positions of the replicas that it would be deleted on
	Into     string // the snapshot that it merges into, or "head"; "": it has no children
	Stays    string // the reason to keep it; "": it can be deleted
}

// PlanPurge finds the system snapshots of the whole members, and decides which can be deleted:
// what no other lvol but its child reads, and no replica that is not whole could be proven by.
// The data of all other lvols stays as it is. Refuses to decide anything while a rebuild has left
// something that may read through such snapshots.
func (v Volume) PlanPurge(parts []VolumeReplica, strangers []Member) ([]Purge, error) {
	if len(strangers) > 0 {
		return nil, refuse("member %s of volume %s is none of the replicas given: name every replica of the volume", strangers[0].Name, v.Name)
	}
	for _, p := range parts {
		switch p.Member.Mode {
		case ModeRW:
		case ModeWO:
			return nil, refuse("%s is a member of volume %s that is being rebuilt, or was left half-built, and reads through snapshots of the others: wait for its rebuild, or run that again", p.Replica.located(), v.Name)
		case ModeERR, "":
			if err := p.refuseLeftover(v.Name); err != nil {
				return nil, err
			}
		}
	}
	all, whole := systemSnapshots(parts)
	for i := range all {
		all[i].decide(parts, len(all[i].Members) < whole)
	}
	return all, nil
}

// refuseLeftover refuses a replica with an lvol that may read through a member's snapshot: without
// that, a later rebuild could not delete the lvol.
func (p VolumeReplica) refuseLeftover(volume string) error {
	for _, l := range p.Replica.Store.Lvols {
		if p.Replica.owns(l.UUID) && (l.External != "" || l.Degraded) {
			return refuse("lvol %s on lvstore %s, which a rebuild has left, may read through a snapshot of the members of volume %s: rebuild replica %s first",
				l.Name, p.Replica.Store.Name, volume, p.Replica.Name)
		}
	}
	return nil
}

// systemSnapshots finds those of the whole members, and tells how many of these there are.
func systemSnapshots(parts []VolumeReplica) (all []Purge, whole int) {
	at := make(map[string]int)
	for i, p := range parts {
		if p.Member.Mode != ModeRW {
			continue
		}
		whole++
		for _, s := range p.Replica.Snapshots {
			if !isSystemSnapshot(s.Name) {
				continue
			}
			if _, known := at[s.Name]; !known {
				at[s.Name] = len(all)
				all = append(all, Purge{Snapshot: s.Name})
			}
			all[at[s.Name]].Members = append(all[at[s.Name]].Members, i)
		}
	}
	return all, whole
}

// UnevenSystemSnapshots names the system snapshots that only some of the whole members have.
func UnevenSystemSnapshots(parts []VolumeReplica) (names []string) {
	all, whole := systemSnapshots(parts)
	for _, p := range all {
		if len(p.Members) < whole {
			names = append(names, p.Snapshot)
		}
	}
	return names
}

// decide finds out what the snapshot merges into, or why it stays. uneven: other whole members
// lack it. Then it does not stay for a replica that is not whole, so that the members become equal.
func (p *Purge) decide(parts []VolumeReplica, uneven bool) {
	for _, other := range parts {
		if _, has := other.Replica.Snapshot(p.Snapshot); has && other.Member.Mode != ModeRW && !uneven {
			p.Stays = fmt.Sprintf("%s is not whole and has it, too: a rebuild can keep what it proves", other.Replica.located())
			return
		}
	}
	for n, i := range p.Members {
		removal, err := parts[i].PlanPurge(p.Snapshot)
		if err != nil {
			p.Stays = err.Error()
			return
		}
		into := ""
		if removal.Into != nil {
			into = headSubject
			if s, is := parts[i].Replica.snapshotOf(removal.Into.UUID); is {
				into = s
			}
		}
		if n > 0 && into != p.Into {
			p.Stays = fmt.Sprintf("the members differ: it would merge into %s of %s, and into %s of %s",
				p.Into, parts[p.Members[0]].Replica.located(), into, parts[i].Replica.located())
			return
		}
		p.Into = into
	}
}

// PlanPurge plans the deletion of a system snapshot of a member. Its head is in use by the
// volume, which is no obstacle.
func (p VolumeReplica) PlanPurge(snapshot string) (SnapshotRemoval, error) {
	r := p.Replica
	s, _ := r.Snapshot(snapshot)
	switch {
	case s.Lvol.UsedBy.Any():
		return SnapshotRemoval{}, refuse("it is in use on lvstore %s (it is %s)", r.Store.Name, s.Lvol.UsedBy)
	case s.Lvol.Attributes.UserCreated:
		return SnapshotRemoval{}, refuse("a user took it on lvstore %s", r.Store.Name)
	}
	r.AllowInUse = true
	return PlanSnapshotRemoval(r, snapshot)
}

// snapshotOf is the name of the replica's snapshot that is the lvol of that UUID.
func (r Replica) snapshotOf(uuid string) (name string, is bool) {
	i := slices.IndexFunc(r.Snapshots, func(s Snapshot) bool { return s.Lvol.UUID == uuid })
	if i < 0 {
		return "", false
	}
	return r.Snapshots[i].Name, true
}
