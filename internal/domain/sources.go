package domain

import "fmt"

// A volume can be rebuilt from several of its replicas. One of them is the
// primary: the plan is made from it alone. A secondary source serves the copy of a
// snapshot in place of the primary, if that snapshot is proven to be the same on
// both. So copies that several sources have served are consistent.

// PickPrimary returns the position of the first source that is complete, healthy
// and can be copied to that store. If there is none, it returns the position of the
// first hurt one, which PlanRebuild refuses or accepts; -1 if there is none of these
// either. flaws says what is wrong with each source, nil if nothing is.
func PickPrimary(requested Base, sources []Replica, destination Listing) (primary int, flaws []error) {
	flaws = make([]error, len(sources))
	var whole []Replica
	for i, r := range sources {
		if flaws[i] = unsuitable(r, destination); flaws[i] == nil {
			whole = append(whole, r)
		}
	}
	// One lineage identifies the image for all sources. Two that disagree are refused
	// later, with both named.
	image, _ := agreedBase(baseEvidence(requested, sameVolume(whole)...))
	primary, hurt := -1, -1
	for i, r := range sources {
		if flaws[i] != nil {
			continue
		}
		switch flaws[i] = unprovenContent(r, image); {
		case flaws[i] == nil && primary < 0:
			primary = i
		case r.Hurt(image) && hurt < 0:
			hurt = i
		}
	}
	if primary < 0 {
		primary = hurt
	}
	return primary, flaws
}

// unsuitable says why no plan can be made from a replica.
func unsuitable(r Replica, destination Listing) error {
	if !r.Exists() {
		return refuse("replica %s not found on lvstore %s", r.Name, r.Store.Name)
	}
	if _, err := NewSnapshotTree(r); err != nil {
		return err
	}
	return (&planner{source: r, destination: Replica{Store: destination}}).refuseOtherGeometry()
}

// unprovenContent says why the replica may not contain the bytes that were written.
func unprovenContent(r Replica, base Base) error {
	if r.Hurt(base) {
		return refuse("replica %s on lvstore %s lost %s", r.Name, r.Store.Name, base)
	}
	name, has := base.Image()
	if !has {
		return nil
	}
	if here, ok := r.Store.BackingImage(name); ok && here.Lvol.Image.Unready != "" {
		return refuse("backing image %s on lvstore %s %s, so the data of replica %s is unproven", name, r.Store.Name, here.defect(), r.Name)
	}
	return nil
}

// SecondarySource lists the lvols that another source may serve in place of the
// primary.
type SecondarySource struct {
	// Origins are the lvols that may be copied from it, by the UUID of the same lvol on
	// the primary.
	Origins map[string]Origin

	// Mismatches names each lvol that has the same name on the other source and is
	// not proven to be the same, with the reason. Lvols that are missing there are
	// not listed.
	Mismatches []string

	// Unusable is the reason why nothing may be copied from the source; "" if it
	// may serve.
	Unusable string
}

// NewSecondarySource finds the primary's lvols, snapshots or the image, that may be
// copied from another replica of the volume. Only a proof counts: a merge keeps the
// name, the time of creation and sometimes the number of clusters, but changes the
// data. PlanRebuild keeps snapshots by the same rule. The parent must be the same,
// too: an lvol with another parent has another history.
func NewSecondarySource(primary, other Replica, base Base, copied []string) SecondarySource {
	secondary := SecondarySource{Origins: make(map[string]Origin)}
	if secondary.Unusable = unusableReason(primary, other, base); secondary.Unusable != "" {
		return secondary
	}
	for _, p := range pairs(primary, other, base, copied) {
		differ := p.differ()
		if differ == "" && !p.ours.Own.provenEqual(p.theirs.Own) {
			differ = "has other data"
			if !p.ours.Own.Proven() || !p.theirs.Own.Proven() {
				differ = "could not be proven"
			}
		}
		if differ != "" {
			secondary.Mismatches = append(secondary.Mismatches, fmt.Sprintf("%s %s", p.what, differ))
			continue
		}
		secondary.Origins[p.ours.UUID] = originOf(p.theirs)
	}
	return secondary
}

// SecondaryProofCandidates are the UUIDs, on each side, of the lvols whose maps
// and checksums NewSecondarySource needs: those that look the same.
func SecondaryProofCandidates(primary, other Replica, base Base, copied []string) (onPrimary, onOther []string) {
	if unusableReason(primary, other, base) != "" {
		return nil, nil
	}
	for _, p := range pairs(primary, other, base, copied) {
		if p.differ() == "" {
			onPrimary, onOther = append(onPrimary, p.ours.UUID), append(onOther, p.theirs.UUID)
		}
	}
	return onPrimary, onOther
}

// unusableReason says why another replica may not serve any copy, "" if it may.
func unusableReason(primary, other Replica, base Base) string {
	if primary.Store.UUID == other.Store.UUID && primary.Name == other.Name {
		return "it is the same replica"
	}
	for _, flaw := range []error{unsuitable(other, primary.Store), unprovenContent(other, base)} {
		if flaw != nil {
			return flaw.Error()
		}
	}
	for _, r := range []Replica{primary, other} {
		if !r.Store.Proves {
			return fmt.Sprintf("the host of lvstore %s reports no checksums", r.Store.Name)
		}
	}
	if name, has := base.Image(); has {
		ours, here := primary.Store.BackingImage(name)
		theirs, there := other.Store.BackingImage(name)
		if here && there {
			if differ := ours.difference(theirs); differ != "" {
				return fmt.Sprintf("backing image %s on lvstore %s differs from the one on lvstore %s: %s", name, other.Store.Name, primary.Store.Name, differ)
			}
		}
	}
	if ours, theirs := primary.baseChain(base), other.baseChain(base); ours != nil && theirs != nil {
		if differ, _ := chainDifference(ours, theirs); differ != "" {
			return fmt.Sprintf("%s on lvstore %s differs from the one on lvstore %s: %s", base, other.Store.Name, primary.Store.Name, differ)
		}
	}
	return ""
}

// pair is an lvol of the primary and its counterpart on another replica.
type pair struct {
	what                   string
	ours, theirs           Lvol
	ourParent, theirParent string // in the tree; "": they are ancestors
	recorded               bool   // attributes, on both
}

// pairs are in the order of the copied lvols.
func pairs(primary, other Replica, base Base, copied []string) []pair {
	positions := make(map[string]int, len(primary.Snapshots))
	for i := range primary.Snapshots {
		positions[primary.Snapshots[i].Lvol.UUID] = i
	}
	var all []pair
	for _, uuid := range copied {
		if i, isSnapshot := positions[uuid]; isSnapshot {
			ours := primary.Snapshots[i]
			theirs, ok := other.Snapshot(ours.Name)
			if !ok {
				continue
			}
			p := pair{what: "snapshot " + ours.Name, ours: ours.Lvol, theirs: theirs.Lvol, recorded: primary.Store.Records && other.Store.Records}
			p.ourParent, p.theirParent = parentSnapshotName(primary, ours), parentSnapshotName(other, theirs)
			all = append(all, p)
			continue
		}
		name, _ := base.Image()
		ours, here := primary.Store.BackingImage(name)
		theirs, there := other.Store.BackingImage(name)
		if here && there && ours.Lvol.UUID == uuid {
			all = append(all, pair{what: base.String(), ours: ours.Lvol, theirs: theirs.Lvol, ourParent: ours.Lvol.Parent, theirParent: theirs.Lvol.Parent})
		}
	}
	return all
}

// parentSnapshotName is the name of a snapshot's parent in the tree, "" for the
// ancestor.
func parentSnapshotName(r Replica, s Snapshot) string {
	if name, ok := r.ParentOf(s.Lvol).Snapshot(); ok {
		return name
	}
	return ""
}

// differ describes the first difference in the metadata, "" for none.
func (p pair) differ() string {
	switch {
	case !p.theirs.ReadOnly:
		return "is writable"
	case p.ourParent != p.theirParent && p.theirParent == "":
		return "is the ancestor"
	case p.ourParent != p.theirParent:
		return "has parent " + p.theirParent
	case p.ours.Size != p.theirs.Size:
		return fmt.Sprintf("has %d bytes instead of %d", p.theirs.Size, p.ours.Size)
	case p.ours.Own.Count != p.theirs.Own.Count:
		return fmt.Sprintf("has %d clusters of its own instead of %d", p.theirs.Own.Count, p.ours.Own.Count)
	case p.recorded && !p.ours.Attributes.Equal(p.theirs.Attributes):
		return "records another time of creation or another creator"
	}
	return ""
}
