package domain

import "fmt"

// What the destination has and the source has not is deleted. A failed replica of
// the same volume looks like that, so it is told and not refused. Refused is what
// a mistaken address looks like: a replica of another volume that holds something,
// and a head that would shrink.

// Deletion is an lvol that a plan deletes, or that a rebuild has deleted.
type Deletion struct {
	Name     string // of the lvol
	Clusters uint64 // of its own
	Degraded bool   // so Clusters are not known
}

func deletionOf(l Lvol) Deletion { return Deletion{l.Name, l.Own.Count, l.Degraded} }

// refuseLoss refuses what looks like a mistake, unless the caller has repeated
// the destination's name.
func (p *planner) refuseLoss() error {
	switch p.options.Overwrite {
	case p.destination.Name:
		return nil
	case "":
	default:
		return refuse("the replica that may be overwritten is said to be %s, but the destination is %s", p.options.Overwrite, p.destination.located())
	}
	var why string
	head, losses := p.destination.Head, p.lossDetails()
	switch {
	case head != nil && head.Size > p.sourceHead.Size:
		why = fmt.Sprintf("the head of replica %s would shrink from %d to the %d bytes of source %s", p.destination.located(), head.Size, p.sourceHead.Size, p.source.located())
	case DifferentVolumes(p.source.Name, p.destination.Name) && len(losses) > 0:
		why = fmt.Sprintf("replica %s is named as one of another volume than source %s", p.destination.located(), p.source.located())
	default:
		return nil
	}
	if len(losses) > 0 {
		why += ", and what it holds would be deleted: " + someNames(losses)
	}
	return &LossRefusal{refuse("%s; if that may be lost, confirm it by the name %s", why, p.destination.Name), p.destination.Name}
}

// lossDetails are, in words, the head and the snapshots that the plan deletes. Where
// there is no head an earlier rebuild may have left what cannot be proven: what
// looks like the source's is taken for that, or a run that was stopped could not
// be repeated.
func (p *planner) lossDetails() (details []string) {
	head := p.destination.Head
	switch {
	case head == nil || p.keepHead:
	case head.Degraded:
		details = append(details, "head (degraded: what it holds is not known)")
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

// looksCopied reports whether the source has a snapshot of that name, size and
// number of clusters, which is not proven to be another one.
func (p *planner) looksCopied(snapshot string, copied *Lvol) bool {
	at, ok := p.tree.position(snapshot)
	if !ok {
		return false
	}
	source := p.tree.lvol(at)
	proven := source.Own.Proven() && copied.Own.Proven()
	return source.Size == copied.Size && source.Own.Count == copied.Own.Count && (!proven || source.Own == copied.Own)
}

// warnOfOtherVolume warns of a source and a destination that are named as replicas of
// different volumes.
func (p *planner) warnOfOtherVolume() {
	if DifferentVolumes(p.source.Name, p.destination.Name) {
		p.warn("destination %s is named as a replica of another volume than source %s", p.destination.located(), p.source.located())
	}
}

// warnOfOtherSize warns of a destination that has another size than its source, which
// has missed an expansion, or the source has. What is left of a replica without a
// head may be of a time when the volume was smaller.
func (p *planner) warnOfOtherSize() {
	is, head := p.destination.volumeSize(), p.destination.Head
	if is > p.sourceHead.Size || head != nil && !head.Degraded && is < p.sourceHead.Size {
		p.warn("destination %s has another size: %d bytes instead of the %d of source %s", p.destination.located(), is, p.sourceHead.Size, p.source.located())
	}
}

// plannedDeletions are what the plan deletes, the head first.
func (p *planner) plannedDeletions() (all []Deletion) {
	if head := p.destination.Head; head != nil && !p.keepHead {
		all = append(all, deletionOf(*head))
	}
	for _, at := range p.deletions {
		all = append(all, deletionOf(p.destination.Store.Lvols[at]))
	}
	return all
}
