package domain

import "fmt"

// A rebuild deletes the destination's lvols that the source does not have. A failed
// replica of the same volume looks like that, so the plan lists them. It refuses
// likely mistakes in an address: a replica of another volume that holds data, and a head
// that would shrink.

// Deletion is an lvol that a plan deletes, or that a rebuild has deleted.
type Deletion struct {
	Name     string // of the lvol
	Clusters uint64 // of its own
	Degraded bool   // Clusters is not known
}

func deletionOf(l Lvol) Deletion { return Deletion{l.Name, l.Own.Count, l.Degraded} }

// refuseLoss refuses a destination that looks like a mistake, unless the caller has
// repeated its name.
func (p *planner) refuseLoss() error {
	switch p.options.Overwrite {
	case p.destination.Name:
		return nil
	case "":
	default:
		return refuse("the replica to overwrite is given as %s, but the destination is %s", p.options.Overwrite, p.destination.located())
	}
	var why string
	head, losses := p.destination.Head, p.lossDetails()
	switch {
	case head != nil && head.Size > p.sourceHead.Size:
		why = fmt.Sprintf("the head of replica %s would shrink from %d to the %d bytes of source %s", p.destination.located(), head.Size, p.sourceHead.Size, p.source.located())
	case DifferentVolumes(p.source.Name, p.destination.Name) && len(losses) > 0:
		why = fmt.Sprintf("replica %s is named as a replica of another volume than source %s", p.destination.located(), p.source.located())
	default:
		return nil
	}
	if len(losses) > 0 {
		why += ", and its data would be deleted: " + someNames(losses)
	}
	return &LossRefusal{refuse("%s; to accept that, confirm the name %s", why, p.destination.Name), p.destination.Name}
}

// lossDetails describes the head and the snapshots that the plan deletes. A
// destination without a head may hold unproven copies of an earlier rebuild:
// snapshots that look like the source's count as these, so that an interrupted run
// can be repeated.
func (p *planner) lossDetails() (details []string) {
	head := p.destination.Head
	switch {
	case head == nil || p.keepHead:
	case head.Degraded:
		details = append(details, "head (degraded, so its data is not known)")
	case head.Own.Count > 0:
		details = append(details, fmt.Sprintf("head (%s)", clustersText(head.Own.Count)))
	case head.External != "":
		details = append(details, fmt.Sprintf("head (on external snapshot %s)", head.External))
	}
	for _, at := range p.deletions {
		l, is := &p.destination.Store.Lvols[at], p.destination.members[at]
		if is.role == roleSnapshot && (head != nil || !p.looksCopied(is.snapshot, l)) {
			details = append(details, fmt.Sprintf("snapshot %s (%s)", is.snapshot, clustersText(l.Own.Count)))
		}
	}
	return details
}

// looksCopied reports whether the source has a snapshot of that name, size and number
// of clusters, and no proof that the two differ.
func (p *planner) looksCopied(snapshot string, copied *Lvol) bool {
	at, ok := p.tree.position(snapshot)
	if !ok {
		return false
	}
	source := p.tree.lvol(at)
	proven := source.Own.Proven() && copied.Own.Proven()
	return source.Size == copied.Size && source.Own.Count == copied.Own.Count && (!proven || source.Own == copied.Own)
}

// warnOfOtherVolume warns if source and destination are named as replicas of
// different volumes.
func (p *planner) warnOfOtherVolume() {
	if DifferentVolumes(p.source.Name, p.destination.Name) {
		p.warn("destination %s is named as a replica of another volume than source %s", p.destination.located(), p.source.located())
	}
}

// warnOfOtherSize warns if source and destination differ in size: one of them has
// missed an expansion. The leftovers of a replica without a head may date from a time
// when the volume was smaller.
func (p *planner) warnOfOtherSize() {
	is, head := p.destination.volumeSize(), p.destination.Head
	if is > p.sourceHead.Size || head != nil && !head.Degraded && is < p.sourceHead.Size {
		p.warn("destination %s has another size: %d bytes instead of the %d of source %s", p.destination.located(), is, p.sourceHead.Size, p.source.located())
	}
}

// plannedDeletions lists the lvols that the plan deletes, in that order.
func (p *planner) plannedDeletions() (all []Deletion) {
	if head := p.destination.Head; head != nil && !p.keepHead {
		all = append(all, deletionOf(*head))
	}
	for _, late := range []bool{false, true} {
		for _, at := range p.deletions {
			if p.deletedLate(at) == late {
				all = append(all, deletionOf(p.destination.Store.Lvols[at]))
			}
		}
	}
	return all
}
