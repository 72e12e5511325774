package domain

import (
	"fmt"
	"slices"
)

// LiveVolume is a volume that clients read and write, as seen before one of its replicas is
// rebuilt.
type LiveVolume struct {
	Volume

	// Replicas are those of the whole members, in the order of the request.
	Replicas []Replica
	Primary  int // the one to plan from
}

// Cut is a moment of a live volume: a snapshot of one name on every member. The live head is
// the replica's head while it is being rebuilt: an in-flight lvol that began empty, over one
// of these snapshots, on another host, and has had every write since.
type Cut struct {
	Snapshot   string     // name, without the replica's
	Attributes Attributes // of the snapshot

	// Joined is the live head as a member since that moment; the zero Member: the moment
	// has not come yet.
	Joined Member
}

// Made reports whether the volume has been cut.
func (c Cut) Made() bool { return c.Joined.Head != "" }

// liveHead is the part of a plan that a rebuild under a live volume adds.
type liveHead struct {
	cut   Cut
	on    []member // whole ones
	stale []Member // lvols of the destination that are members, and lack writes
}

// member is a replica's head that the volume is mirrored to.
type member struct {
	replica string
	head    Lvol
}

// PlanOnline plans how to make the destination a whole member of a volume that clients go on
// using. It is pure. It returns a *Refusal if that cannot be done safely.
//
// The plan cuts the volume: in a freeze it takes a snapshot of each member, and gives the
// destination a live head that joins the mirror. Below that head, the tree with the cut is
// rebuilt as by PlanRebuild. At last the live head lands: it is grafted onto the copy of the
// cut, which reads the same, and gets its final name if it has been a member all the time.
//
// If the cut has been made already, the plan has the rest: then the replicas are given as they
// were at the cut (AtCut), and the destination without its live chain (BelowLive). If the
// destination is a whole member, the plan has no operations.
func PlanOnline(v LiveVolume, destination Replica, requested Base, cut Cut, options Options) (Plan, error) {
	if err := v.check(destination, cut); err != nil {
		return Plan{}, err
	}
	if head := destination.Head; head != nil && v.isWhole(*head) {
		if options.Full {
			return Plan{}, refuse("replica %s is a whole member of volume %s, so its snapshots are not copied again: remove it from the volume first", destination.located(), v.Name)
		}
		plan := Plan{Notices: []string{fmt.Sprintf("replica %s is a whole member of volume %s", destination.located(), v.Name)}}
		plan.Base, _ = ResolveBase(requested, v.Replicas[v.Primary], destination)
		return plan, nil
	}
	live := &liveHead{cut: cut, stale: v.staleMembers(destination, cut)}
	for _, r := range v.Replicas {
		live.on = append(live.on, member{r.Name, *r.Head})
	}
	source := v.Replicas[v.Primary]
	if !cut.Made() {
		var err error
		if source, err = source.cutNow(cut); err != nil {
			return Plan{}, err
		}
		if destination, err = destination.withoutUsers(live.stale, source); err != nil {
			return Plan{}, err
		}
	}
	options.live = live
	return PlanRebuild(source, destination, requested, options)
}

// check compares what the mirror says with what the caller says.
func (v LiveVolume) check(destination Replica, cut Cut) error {
	if len(v.Replicas) == 0 {
		return refuse("volume %s: no whole member is known to rebuild from", v.Name)
	}
	heads := make(map[string]string)
	for _, r := range v.Replicas {
		if r.Head == nil {
			return r.refuseHeadless()
		}
		if cut.Made() {
			continue // its cut is right, also if the mirror has lost it since
		}
		if _, taken := r.Snapshot(cut.Snapshot); taken {
			return refuse("replica %s already has a snapshot %s", r.located(), cut.Snapshot)
		}
		if err := r.refuseNames([]string{SnapshotLvolName(r.Name, cut.Snapshot)}); err != nil {
			return err
		}
		heads[r.Head.UUID] = r.Name
		switch m, is := v.Member(r.Head.UUID); {
		case !is:
			return refuse("replica %s is no member of volume %s: a rebuild under a live volume takes whole members as sources", r.located(), v.Name)
		case m.Mode == ModeERR:
			return refuse("replica %s is a lost member of volume %s, so it lacks writes%s", r.located(), v.Name, m.why())
		case r.Head.Size != v.Replicas[0].Head.Size:
			return refuse("the members of volume %s differ in length: %s has %s, %s %s", v.Name, v.Replicas[0].Name, sizeText(v.Replicas[0].Head.Size), r.Name, sizeText(r.Head.Size))
		}
	}
	if cut.Made() {
		return nil
	}
	for _, m := range v.Members {
		if _, given := heads[m.Head]; !given && m.Mode != ModeERR && !destination.owns(m.Head) {
			return &MissingMember{refuse("volume %s has the member %s, which is not among the sources that can be used", v.Name, m.Name), m}
		}
	}
	return nil
}

// MissingMember is a refusal to cut a volume without one of its members.
type MissingMember struct {
	refusal *Refusal
	member  Member
}

// Error names the member.
func (e *MissingMember) Error() string { return e.refusal.Error() }

// Unwrap returns the Refusal.
func (e *MissingMember) Unwrap() error { return e.refusal }

// IsLvol reports whether the member is the lvol of that UUID.
func (e *MissingMember) IsLvol(uuid string) bool { return e.member.Head == uuid }

// IsHalfBuilt reports whether the member is the live head of a replica, perhaps one of those.
func (e *MissingMember) IsHalfBuilt(replicas []Replica) bool {
	_, inFlight := ReplicaInFlight(e.member.Name)
	return inFlight || e.member.Mode == ModeWO || slices.ContainsFunc(replicas, func(r Replica) bool {
		return r.owns(e.member.Head) && (r.Head == nil || !e.IsLvol(r.Head.UUID))
	})
}

func (v LiveVolume) isWhole(head Lvol) bool {
	m, is := v.Member(head.UUID)
	return is && m.Mode != ModeERR && head.External == "" && !head.Degraded
}

// staleMembers are lvols of the destination that are members without being whole, or that the
// mirror has dropped: left by an earlier run, or a head that missed writes.
func (v LiveVolume) staleMembers(destination Replica, cut Cut) (stale []Member) {
	for _, m := range v.Members {
		if destination.owns(m.Head) && m.Head != cut.Joined.Head {
			stale = append(stale, m)
		}
	}
	for _, l := range destination.Store.Lvols {
		if destination.owns(l.UUID) && l.UUID != cut.Joined.Head && v.dropped(l) {
			stale = append(stale, Member{Head: l.UUID, Name: l.Name, Mode: ModeERR})
		}
	}
	return stale
}

// cutNow is the replica as it will be when it is cut: an empty head on the snapshot.
func (r Replica) cutNow(cut Cut) (Replica, error) {
	store := r.Store
	store.Lvols = slices.Clone(store.Lvols)
	head := &store.Lvols[r.head]
	frozen := *head
	frozen.UUID, frozen.Name, frozen.ReadOnly = cutRef(cut.Snapshot).String(), SnapshotLvolName(r.Name, cut.Snapshot), true
	frozen.Attributes, frozen.Record, frozen.UsedBy = cut.Attributes, "", User{}
	head.Parent, head.External, head.Own = frozen.UUID, "", Clusters{}
	store.Lvols = append(store.Lvols, frozen)
	return r.of(store)
}

// AtCut is a member's replica as it was at the cut: an empty head on the snapshot, and nothing
// else above it. It returns a *Refusal if the head does not descend from the cut any more.
func AtCut(r Replica, cut Cut) (Replica, error) {
	at, ok := r.positionNamed(cut.Snapshot)
	switch {
	case !ok:
		return r, refuse("replica %s has no snapshot %s any more, over which the live head was made", r.located(), cut.Snapshot)
	case r.Head == nil:
		return r, r.refuseHeadless()
	case !r.index.descends(r.head, at):
		return r, refuse("the head of replica %s does not descend from snapshot %s any more: it was reverted", r.located(), cut.Snapshot)
	}
	store := r.Store
	store.Lvols = slices.Clone(store.Lvols)
	later := r.index.descendants(at)
	later[r.head] = false
	head := &store.Lvols[r.head]
	head.Parent, head.Own = store.Lvols[at].UUID, Clusters{}
	kept := store.Lvols[:0]
	for i := range store.Lvols {
		if !later[i] {
			kept = append(kept, store.Lvols[i])
		}
	}
	store.Lvols = kept
	return r.of(store)
}

// of is the replica on another picture of its store.
func (r Replica) of(store Listing) (Replica, error) {
	same, err := newReplica(store, r.Name, r.expected)
	same.AllowInUse = r.AllowInUse
	return same, err
}

// LiveChain is the chain of the live head, from the head down to the lvol that is grafted onto
// the copy of the cut: the head itself, or the first snapshot that was taken since.
func LiveChain(r Replica, cut Cut) ([]Lvol, error) {
	at, known := r.index.byUUID[cut.Joined.Head]
	if !known {
		return nil, refuse("the live head of replica %s is gone", r.located())
	}
	var chain []Lvol
	for ; at != noParent && r.members[at].role != roleForeign; at = r.index.parents[at] {
		if r.members[at].role == roleSnapshot && r.members[at].snapshot == cut.Snapshot {
			break
		}
		chain = append(chain, r.Store.Lvols[at])
	}
	return chain, nil
}

// BelowLive is the destination without its live chain, which stays as it is while the tree
// below is rebuilt. source is a member at the cut.
func BelowLive(r Replica, cut Cut, source Replica) (Replica, error) {
	chain, err := LiveChain(r, cut)
	if err != nil {
		return r, err
	}
	store := r.Store
	store.Lvols = slices.DeleteFunc(slices.Clone(store.Lvols), func(l Lvol) bool {
		return slices.ContainsFunc(chain, func(of Lvol) bool { return of.UUID == l.UUID })
	})
	return r.as(store, source)
}

// as is the destination on another picture of its store.
func (r Replica) as(store Listing, source Replica) (Replica, error) {
	same, err := NewDestination(store, r.Name, source)
	same.AllowInUse = r.AllowInUse
	return same, err
}

// withoutUsers is the destination without the users of what leaves the mirror first.
func (r Replica) withoutUsers(stale []Member, source Replica) (Replica, error) {
	store := r.Store
	store.Lvols = slices.Clone(store.Lvols)
	for i := range store.Lvols {
		l := &store.Lvols[i]
		if slices.ContainsFunc(stale, func(m Member) bool { return m.Head == l.UUID }) {
			l.UsedBy = User{}
		}
	}
	return r.as(store, source)
}

// descendants marks what descends from the lvol at that position.
func (x *index) descendants(of int) []bool {
	children := make([][]int, len(x.parents))
	for at, parent := range x.parents {
		if parent != noParent {
			children[parent] = append(children[parent], at)
		}
	}
	marked := make([]bool, len(x.parents))
	for pending := children[of]; len(pending) > 0; {
		at := pending[len(pending)-1]
		pending = append(pending[:len(pending)-1], children[at]...)
		marked[at] = true
	}
	return marked
}

// HalfCut is a snapshot that an engine took of some members only, and died. Members without it
// give trimmed clusters back, the others do not, so their bytes would differ.
type HalfCut struct {
	Member   int // position
	Snapshot Snapshot
}

// HalfCuts lists the cuts right below the heads of some replicas that other
// replicas lack. They are merged into those heads again.
func HalfCuts(members []Replica) []HalfCut { return belowSomeHeads(members, isCut) }

// UnevenSnapshots lists the users' snapshots right below the heads of some whole members that other
// whole members lack.
func UnevenSnapshots(parts []VolumeReplica) []HalfCut {
	members, _ := wholeOf(parts)
	return belowSomeHeads(members, func(name string) bool { return !isSystemSnapshot(name) })
}

// belowSomeHeads lists the snapshots with such names right below the heads of some replicas
// that other replicas lack.
func belowSomeHeads(members []Replica, is func(name string) bool) (half []HalfCut) {
	for i, r := range members {
		if r.Head == nil {
			continue
		}
		at := r.index.parents[r.head]
		if at == noParent || r.members[at].role != roleSnapshot || !is(r.members[at].snapshot) {
			continue
		}
		name := r.members[at].snapshot
		lacks := func(other Replica) bool { _, has := other.Snapshot(name); return !has }
		if slices.ContainsFunc(members, lacks) {
			half = append(half, HalfCut{i, Snapshot{name, r.Store.Lvols[at]}})
		}
	}
	return half
}

func cutRef(snapshot string) Ref { return Ref{refCut, snapshot} }
