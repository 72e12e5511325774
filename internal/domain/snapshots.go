package domain

import (
	"slices"
	"strings"
)

// Operations on the snapshots of one complete replica. The caller does the same to
// the volume's other replicas to keep them equal.

func (r Replica) requireWhole() error {
	switch {
	case !r.Exists():
		return refuse("replica %s not found on lvstore %s", r.Name, r.Store.Name)
	case r.Head == nil:
		return refuse("replica %s on lvstore %s has no head, so it is incomplete: rebuild it", r.Name, r.Store.Name)
	}
	return r.refuseExternal(r.head)
}

func (r Replica) requireSnapshot(name string) (Snapshot, error) {
	s, ok := r.Snapshot(name)
	if !ok {
		names := make([]string, len(r.Snapshots))
		for i, other := range r.Snapshots {
			names[i] = other.Name
		}
		return Snapshot{}, refuse("replica %s on lvstore %s has no snapshot %s; available: %s", r.Name, r.Store.Name, name, listOrNone(names))
	}
	at, _ := r.positionNamed(name)
	return s, r.refuseExternal(at)
}

// CheckNewSnapshot refuses a snapshot that cannot be taken of the replica's head, or
// whose name would be ambiguous with another replica's.
func (r Replica) CheckNewSnapshot(name string) error {
	if err := CheckSnapshotName(name); err != nil {
		return refuse("%v", err)
	}
	if err := r.requireWhole(); err != nil {
		return err
	}
	if _, taken := r.Snapshot(name); taken {
		return refuse("replica %s on lvstore %s has a snapshot %s already", r.Name, r.Store.Name, name)
	}
	lvol := SnapshotLvolName(r.Name, name)
	if err := r.refuseNames([]string{lvol}); err != nil {
		return err
	}
	if other, doubt := r.lineage.ambiguousWith(Lvol{Name: lvol, ReadOnly: true}); doubt {
		return refuse("a snapshot named %s on lvstore %s could also belong to replica %s there", lvol, r.Store.Name, other)
	}
	return r.refuseInUse(r.Head, changeFreeze)
}

// SnapshotRemoval describes the deletion of a snapshot.
type SnapshotRemoval struct {
	Snapshot Snapshot
	// Into is the snapshot's only clone, which takes over its clusters. nil: it has no
	// clone.
	Into *Lvol
}

// PlanSnapshotRemoval plans the deletion of a snapshot. No clone reads other bytes
// afterwards: the snapshot merges into its only clone. Refuses a snapshot with several
// clones, whose bytes would have to be copied into each, and one with a foreign clone.
func PlanSnapshotRemoval(r Replica, name string) (SnapshotRemoval, error) {
	if err := r.requireWhole(); err != nil {
		return SnapshotRemoval{}, err
	}
	s, err := r.requireSnapshot(name)
	if err != nil {
		return SnapshotRemoval{}, err
	}
	if err := r.refuseInUse(&s.Lvol, changeDelete); err != nil {
		return SnapshotRemoval{}, err
	}
	if err := r.refuseInUse(r.Head, changeMerge); err != nil {
		return SnapshotRemoval{}, err
	}
	removal := SnapshotRemoval{Snapshot: s}
	var names []string
	for at, l := range r.Store.Lvols {
		if l.Parent != s.Lvol.UUID {
			continue
		}
		switch r.members[at].role {
		case roleForeign:
			return SnapshotRemoval{}, r.refuseForeignClone(at, "snapshot "+name)
		case roleInFlight:
			return SnapshotRemoval{}, refuse("lvol %s on lvstore %s is in flight, and a clone of snapshot %s: wait for the run that fills it, or repair the replica first", l.Name, r.Store.Name, name)
		case roleHead, roleSnapshot:
		}
		if l.Size < s.Lvol.Size {
			return SnapshotRemoval{}, refuse("lvol %s on lvstore %s has %d bytes, fewer than snapshot %s with %d, which cannot merge into it", l.Name, r.Store.Name, l.Size, name, s.Lvol.Size)
		}
		names = append(names, l.Name)
		removal.Into = &r.Store.Lvols[at]
	}
	if len(names) > 1 {
		slices.Sort(names)
		return SnapshotRemoval{}, refuse("%d lvols are clones of snapshot %s of replica %s, which can merge into one only: %s", len(names), name, r.Name, strings.Join(names, ", "))
	}
	return removal, r.refuseLostClones(name)
}

// Revert describes the return to a snapshot: the head is deleted and a new one is
// cloned from the snapshot.
type Revert struct {
	Snapshot Snapshot
	Old      *Lvol  // the head; nil: an interrupted revert has deleted it
	Size     uint64 // of the new head, in bytes: the volume's, which may have grown since the snapshot
	Record   string // of the new head

	// StandIns are in-flight lvols that interrupted reverts have left. They keep size
	// and record while there is no head.
	StandIns []Lvol
}

// PlanRevert plans the return of a replica to a snapshot. The head's own data is lost.
// size is that of the volume in bytes, or 0. Refuses a replica without a head, unless
// size is given or the stand-in of an interrupted revert has it.
func PlanRevert(r Replica, name string, size uint64) (Revert, error) {
	if !r.Exists() {
		return Revert{}, r.requireWhole()
	}
	s, err := r.requireSnapshot(name)
	if err != nil {
		return Revert{}, err
	}
	if r.Head != nil && r.Head.Degraded {
		return Revert{}, refuse("the head of replica %s on lvstore %s is degraded, so its size and its image are unknown: rebuild it", r.Name, r.Store.Name)
	}
	revert := Revert{Snapshot: s, Old: r.Head, Size: size}
	for _, l := range r.InFlight {
		if isStandIn(l) {
			revert.StandIns = append(revert.StandIns, l)
		}
	}
	switch {
	case r.Head != nil:
		if err := r.refuseInUse(r.Head, changeDelete); err != nil {
			return Revert{}, err
		}
		revert.Size, revert.Record = r.Head.Size, r.Head.Record
		if size != 0 && size != r.Head.Size {
			return Revert{}, refuse("the head of replica %s has %d bytes, not %d", r.Name, r.Head.Size, size)
		}
	case len(revert.StandIns) > 0:
		// All of them describe the deleted head.
		revert.Size, revert.Record = revert.StandIns[0].Size, revert.StandIns[0].Record
	case size == 0:
		return Revert{}, refuse("replica %s on lvstore %s has no head, so it is incomplete: rebuild it; if a revert was interrupted here, or only snapshots are left, give the size of the volume", r.Name, r.Store.Name)
	}
	if err := r.Store.refuseSize(revert.Size); err != nil {
		return Revert{}, err
	}
	if revert.Size < s.Lvol.Size {
		return Revert{}, refuse("snapshot %s has %d bytes, more than the %d of the volume", name, s.Lvol.Size, revert.Size)
	}
	return revert, nil
}

// isStandIn: rebuilds give in-flight lvols no record, and an adapter writes it last.
func isStandIn(l Lvol) bool { return !l.ReadOnly && l.Own.Count == 0 && l.Record != "" }
