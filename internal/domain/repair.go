package domain

import (
	"fmt"
	"slices"
	"strings"
)

// PlanRepair plans the repair of a replica whose ancestor lost its image, on its own
// host, by a graft. No byte is copied and the snapshots keep their data. No lvol is
// detached: at every moment each lvol has its old parent or its right one. Spacers
// that an interrupted repair has left are removed.
//
// requested is the volume's image as the caller knows it; others are replicas of the
// same volume that may identify it. Refuses a replica that a graft does not repair:
// rebuild it from a healthy one. The plan warns that a graft does not repair data
// that was written while the parent was wrong.
func PlanRepair(r Replica, requested Base, others ...Replica) (Plan, error) {
	if err := r.requireWhole(); err != nil {
		return Plan{}, err
	}
	for _, other := range others {
		if DifferentVolumes(r.Name, other.Name) {
			return Plan{}, refuse("replica %s is named as a replica of another volume than %s, so it does not identify the image: use a replica of the same volume, or give the image", other.located(), r.located())
		}
	}
	base, err := knownBase(auditEvidence(requested, append([]Replica{r}, others...)...))
	if err == nil {
		err = base.refuseOwn(r.Name)
	}
	if err != nil {
		return Plan{}, err
	}
	a := Audit(r, base)
	for _, v := range a.Violations {
		if !v.Repairable && v.Rule != RuleInFlight && v.Rule != RuleEntryPoint {
			return Plan{}, refuse("replica %s on lvstore %s: %s: a graft does not repair that; rebuild it from a healthy replica", r.Name, r.Store.Name, v)
		}
	}
	p := &repairer{replica: r, audit: a, plan: Plan{Base: base}}
	if err := p.refuseForeignClones(); err != nil {
		return Plan{}, err
	}
	if err := p.refuseInUse(); err != nil {
		return Plan{}, err
	}
	if a.clone != nil {
		p.plan.Clone = a.clone.placed(base)
	}
	if err := p.makeEntryPoint(); err != nil {
		return Plan{}, err
	}
	p.graft()
	p.removeSpacers()
	p.record()
	p.warn()
	return p.plan, nil
}

type repairer struct {
	replica Replica
	audit   ReplicaAudit
	plan    Plan
	grafts  map[string]int // position of the operation, by UUID of the grafted lvol
	made    []int          // operations that make the entry point
}

func (p *repairer) add(step Step, o Operation) int {
	at := len(p.plan.Operations)
	p.plan.Operations = append(p.plan.Operations, o)
	step.Operations = []int{at}
	p.plan.Steps = append(p.plan.Steps, step)
	return at
}

// refuseForeignClones: a graft would change the bytes that a foreign clone of the
// replica reads.
func (p *repairer) refuseForeignClones() error {
	r := p.replica
	for _, m := range p.audit.misplaced {
		if m.isBase {
			if err := p.refuseOtherClones(m); err != nil {
				return err
			}
			continue
		}
		if p.alreadyReads(m) {
			continue
		}
		for at := range r.Store.Lvols {
			if r.members[at].role != roleForeign || !r.descendsFrom(at, m.lvol.UUID) || r.isOwnClone(at) {
				continue
			}
			return refuse("foreign lvol %s on lvstore %s reads through %s, which would be changed: detach or delete it first or, if it is a linked clone or an entry point of some, repair one of them", r.Store.Lvols[at].Name, r.Store.Name, m.lvol.Name)
		}
	}
	return nil
}

// isOwnClone reports whether a foreign lvol is an entry point on a snapshot of the replica, or
// reads through one. A linked clone should read what that snapshot should, so it is repaired
// together with the replica.
func (r *Replica) isOwnClone(at int) bool {
	for ; at != noParent; at = r.index.parents[at] {
		if source, _, ok := entryPointOf(r.Store.Lvols[at].Name); ok && source == r.Name {
			return r.index.entryPointDefect(at) == ""
		}
	}
	return false
}

// refuseOtherClones: all clones of an entry point are linked clones of the snapshot that
// it is named after, except those without a replica and those of the same volume.
func (p *repairer) refuseOtherClones(m misplaced) error {
	r := p.replica
	source, _, _ := entryPointOf(m.lvol.Name)
	for _, name := range r.index.linkedClones(r.index.byUUID[m.lvol.UUID]) {
		if reservedReplicaForm(name) != "" || volumeOf(name) == volumeOf(source) {
			return refuse("%s on lvstore %s reads through entry point %s, which would be changed, but is no linked clone of volume %s: detach or delete it first", name, r.Store.Name, m.lvol.Name, volumeOf(source))
		}
	}
	return nil
}

// refuseInUse: a graft changes the bytes that readers of the lvol see. A graft that
// changes no byte is harmless.
func (p *repairer) refuseInUse() error {
	r := p.replica
	for _, m := range p.audit.misplaced {
		if p.alreadyReads(m) {
			continue
		}
		for at := range r.Store.Lvols {
			l := &r.Store.Lvols[at]
			if !l.UsedBy.Any() || l.UUID != m.lvol.UUID && !r.descendsFrom(at, m.lvol.UUID) {
				continue
			}
			if err := r.refuseInUse(l, changeGraft); err != nil {
				return err
			}
			if warning := r.warnInUse(l, changeGraft); !slices.Contains(p.plan.Warnings, warning) {
				p.plan.Warnings = append(p.plan.Warnings, warning)
			}
		}
	}
	return nil
}

// alreadyReads reports whether an lvol already reads the right bytes: through a spacer, or
// without the entry point on the snapshot.
func (p *repairer) alreadyReads(m misplaced) bool {
	if clone := p.audit.clone; clone != nil && !m.isBase && m.parent == clone.snapshot {
		return true
	}
	if !m.viaSpacer {
		return false
	}
	uuid, _ := m.target.Listed()
	on := ""
	if m.parent != noParent {
		on = p.replica.Store.Lvols[m.parent].UUID
	}
	return on == uuid
}

// descendsFrom reports whether the lvol with that UUID is an ancestor of the lvol at
// that position.
func (r Replica) descendsFrom(at int, uuid string) bool {
	from, ok := r.index.byUUID[uuid]
	return ok && r.index.descends(at, from)
}

// makeEntryPoint makes the missing entry point of a linked clone.
func (p *repairer) makeEntryPoint() error {
	clone := p.audit.clone
	if clone == nil || clone.entryPoint != notMade {
		return nil
	}
	x := p.replica.index
	if err := p.replica.refuseNames([]string{clone.name(p.plan.Base)}); err != nil {
		return err
	}
	p.plan.Operations = x.makeEntryPoint(p.plan.Base, *clone, 0)
	p.made = []int{0, 1, 2}
	p.plan.Steps = []Step{x.entryPointStep(*clone, p.made)}
	return nil
}

// graft gives every misplaced lvol its right parent, in one operation each: an lvol
// that is detached first would read zeros meanwhile.
func (p *repairer) graft() {
	p.grafts = make(map[string]int)
	after := p.made[max(len(p.made)-1, 0):]
	for _, m := range p.audit.misplaced {
		step := Step{
			Action: ActionGraft, Snapshot: m.subject, Parent: m.right,
			Reason: fmt.Sprintf("it has %s instead of %s", p.replica.ParentOf(*m.lvol).words(), m.right.words()),
		}
		if m.lvol.UUID == p.replica.Head.UUID {
			step.Snapshot = ""
		}
		o := Operation{Verb: VerbGraft, Stage: StageBuild, Target: listed(*m.lvol), Name: m.lvol.Name, Parent: m.target}
		if m.right == p.plan.Base.Parent() {
			o.After = after
		}
		at := p.add(step, o)
		if m.isBase {
			after = []int{at}
		}
		p.grafts[m.lvol.UUID] = at
	}
}

// removeSpacers deletes empty in-flight lvols that have no clones after the grafts,
// leaf first. Those that hold data or are in use stay: somebody may still need them.
func (p *repairer) removeSpacers() {
	r := p.replica
	removed := make(map[string]int)
	for again := true; again; {
		again = false
		for _, l := range r.InFlight {
			if _, done := removed[l.UUID]; done || l.Own.Count > 0 || l.UsedBy.Any() {
				continue
			}
			after, ok := p.deletableAfter(l, removed)
			if !ok {
				continue
			}
			removed[l.UUID] = p.add(
				Step{Action: ActionRemove, Snapshot: l.Name, Parent: r.ParentOf(l), Reason: "left by an interrupted run, and empty"},
				Operation{Verb: VerbDelete, Stage: StageBuild, Target: listed(l), Name: l.Name, After: after},
			)
			again = true
		}
	}
}

// deletableAfter lists the operations after which the lvol has no clones left; ok is
// false if some remain.
func (p *repairer) deletableAfter(l Lvol, removed map[string]int) (after []int, ok bool) {
	for _, child := range p.replica.Store.Lvols {
		if child.Parent != l.UUID {
			continue
		}
		o, deleted := p.grafts[child.UUID]
		if !deleted {
			o, deleted = removed[child.UUID]
		}
		if !deleted {
			return nil, false
		}
		after = append(after, o)
	}
	slices.Sort(after)
	return after, true
}

func (p *repairer) record() {
	head, record := p.replica.Head, p.plan.Base.Record()
	if head == nil || !p.replica.Store.Records || head.Record == record {
		return
	}
	p.add(
		Step{Action: ActionKeep, Parent: p.replica.ParentOf(*head), Reason: "the head lacks the record of " + p.plan.Base.String()},
		Operation{Verb: VerbRecord, Stage: StageCreateHead, Target: listed(*head), Name: head.Name, Record: record},
	)
}

// warn describes the damage that a graft does not repair.
func (p *repairer) warn() {
	var hurt []string
	for _, m := range p.audit.misplaced {
		if p.alreadyReads(m) {
			continue
		}
		hurt = append(hurt, m.subject)
		p.warnLinkedClones(m)
	}
	if len(hurt) == 0 {
		return
	}
	saw := "zeros in place of the bytes"
	if _, _, isClone := p.plan.Base.Clone(); isClone {
		saw = "zeros or other bytes in place of those"
	}
	p.plan.Warnings = append(p.plan.Warnings, fmt.Sprintf(
		"while %s had a wrong parent, readers of replica %s saw %s of %s: later writes are unproven until the replica is compared with a healthy one",
		strings.Join(hurt, ", "), p.replica.Name, saw, p.plan.Base))
}

// warnLinkedClones names the other replicas that a graft changes: the linked clones of an
// entry point, which is grafted or is on a snapshot of the replica.
func (p *repairer) warnLinkedClones(m misplaced) {
	x := p.replica.index
	var others []string
	for at := range x.parents {
		source, _, isEntryPoint := entryPointOf(x.store.Lvols[at].Name)
		changed := m.isBase && x.store.Lvols[at].UUID == m.lvol.UUID || source == p.replica.Name && p.replica.descendsFrom(at, m.lvol.UUID)
		if isEntryPoint && changed {
			others = append(others, x.linkedClones(at)...)
		}
	}
	others = slices.DeleteFunc(others, func(name string) bool { return name == p.replica.Name })
	if slices.Sort(others); len(others) > 0 {
		p.plan.Warnings = append(p.plan.Warnings, fmt.Sprintf(
			"the graft of %s also changes what its other linked clones read, and what they wrote meanwhile is unproven, too: %s", m.lvol.Name, someNames(slices.Compact(others))))
	}
}
