package domain

import "sort"

// emit turns the decisions into steps and operations.
//
// Operations are listed stage by stage and, within a stage, from the root of
// the tree on: whoever carries them out one after the other in that order is
// right, and whoever has several hands prefers what comes earlier.
func (p *planner) emit() {
	e := emitter{planner: p, made: make(map[Ref]int)}
	e.behead()
	e.loosen()
	e.clear()
	e.build()
	e.crown()
	e.tell()
}

type emitter struct {
	*planner
	made map[Ref]int // the operation after which an lvol, and all below it, is as it should be
	// operations by what they are about
	ofSnapshot map[string][]int
	ofLeftover map[string][]int // by lvol name
	ofImage    []int
	ofHead     []int
}

func (e *emitter) add(o Operation) int {
	e.plan.Operations = append(e.plan.Operations, o)
	return len(e.plan.Operations) - 1
}

func (e *emitter) behead() {
	e.ofSnapshot = make(map[string][]int)
	e.ofLeftover = make(map[string][]int)
	if head := e.destination.Head; head != nil && !e.keepHead {
		e.ofHead = append(e.ofHead, e.add(Operation{Verb: VerbDelete, Stage: StageBehead, Target: listed(*head), Name: head.Name}))
	}
}

// loosen comes before every graft of a kept snapshot. After it the kept ones
// are a part of the final forest and loose trees, so no graft of the final
// tree can close a cycle, in whatever order they come.
func (e *emitter) loosen() {
	for i, s := range e.tree.Snapshots() {
		if f := e.fates[i]; f.loosen {
			o := e.add(Operation{Verb: VerbGraft, Stage: StageLoosen, Target: listed(*f.kept), Name: f.kept.Name})
			e.ofSnapshot[s.Name] = append(e.ofSnapshot[s.Name], o)
		}
	}
}

func (e *emitter) clear() {
	at := make(map[string]int) // by UUID
	childrenOf := make(map[string][]int)
	for _, l := range e.leftover {
		o := e.add(Operation{Verb: VerbDelete, Stage: StageClear, Target: listed(l), Name: l.Name, After: childrenOf[l.UUID]})
		at[l.UUID] = o
		childrenOf[l.Parent] = append(childrenOf[l.Parent], o)
		e.ofLeftover[l.Name] = append(e.ofLeftover[l.Name], o)
	}
}

func (e *emitter) build() {
	if e.fetch {
		image := e.imageSource
		o := e.fill(e.imageHere, image.Lvol)
		o = e.add(Operation{
			Verb: VerbSeal, Stage: StageBuild, After: []int{o}, Target: e.imageHere,
			Name: ImageLvolName(image.Name, e.destination.Store.UUID), Source: image.Lvol, Image: image.Lvol.Image,
		})
		e.made[e.imageHere] = o
		e.ofImage = []int{o - 2, o - 1, o}
	}
	for i, s := range e.tree.Snapshots() {
		first := len(e.plan.Operations)
		switch f := e.fates[i]; {
		case f.kept == nil:
			e.copy(s)
		case f.graft:
			e.made[listed(*f.kept)] = e.graft(listed(*f.kept), f.kept.Name, e.rightParent(s))
		default:
			// It hangs where it should, but perhaps not yet what it hangs on.
			if made, ok := e.made[e.rightParent(s)]; ok {
				e.made[listed(*f.kept)] = made
			}
		}
		for o := first; o < len(e.plan.Operations); o++ {
			e.ofSnapshot[s.Name] = append(e.ofSnapshot[s.Name], o)
		}
	}
}

// fill makes an lvol in flight and copies into it. It has no parent yet: so it
// does not matter what is finished first, and no first write of a cluster has
// to read the parent's.
func (e *emitter) fill(target Ref, source Lvol) int {
	create := e.add(Operation{Verb: VerbCreate, Stage: StageBuild, Target: target, Size: source.Size, Source: source})
	return e.add(Operation{Verb: VerbCopy, Stage: StageBuild, After: []int{create}, Target: target, Size: source.Size, Source: source})
}

// graft waits until the parent is sealed or, if it is a kept one, until it
// hangs where it should.
func (e *emitter) graft(target Ref, name string, parent Ref, after ...int) int {
	if made, ok := e.made[parent]; ok {
		after = append(after, made)
	}
	return e.add(Operation{Verb: VerbGraft, Stage: StageBuild, After: after, Target: target, Name: name, Parent: parent})
}

func (e *emitter) copy(s Snapshot) {
	target := Ref{refSnapshot, s.Name}
	last := e.fill(target, s.Lvol)
	if parent := e.rightParent(s); !parent.IsNone() {
		last = e.graft(target, "", parent, last)
	}
	e.made[target] = e.add(Operation{
		Verb: VerbSeal, Stage: StageBuild, After: []int{last}, Target: target, Parent: e.rightParent(s),
		Name: SnapshotLvolName(e.destination.Name, s.Name), Source: s.Lvol, Attributes: s.Lvol.Attributes,
	})
}

func (e *emitter) crown() {
	record := e.image.Record()
	if e.keepHead {
		if head := e.destination.Head; e.destination.Store.Records && head.Record != record {
			e.ofHead = append(e.ofHead, e.add(Operation{Verb: VerbRecord, Stage: StageCrown, Target: listed(*head), Name: head.Name, Record: record}))
		}
		return
	}
	e.ofHead = append(e.ofHead, e.add(Operation{
		Verb: VerbClone, Stage: StageCrown, Target: Ref{refHead, e.destination.Name}, Parent: e.rightHeadParent(),
		Name: e.destination.Name, Size: e.sourceHead.Size, Record: record,
	}))
}

// tell sums the operations up for people: what goes, the image, the snapshots
// from the root on, the head.
func (e *emitter) tell() {
	e.tellLeftovers()
	if e.fetch {
		e.step(Step{Action: ActionFetchImage, Parent: NoParent(), Reason: "backing image " + e.imageSource.Name + " is missing on the destination", Clusters: e.imageSource.Lvol.Own.Count, Operations: e.ofImage})
	}
	for i, s := range e.tree.Snapshots() {
		f := e.fates[i]
		step := Step{Action: ActionKeep, Snapshot: s.Name, Parent: RightParent(e.tree, s, e.image), Reason: f.reason, Operations: e.ofSnapshot[s.Name]}
		switch {
		case f.kept == nil:
			step.Action, step.Clusters = ActionCopy, s.Lvol.Own.Count
		case f.loosen || f.graft:
			step.Action = ActionGraft
		}
		e.step(step)
	}
	e.tellHead()
}

func (e *emitter) step(s Step) {
	sort.Ints(s.Operations)
	e.plan.Steps = append(e.plan.Steps, s)
}

// tellLeftovers gives a leftover that is copied anew no step of its own: its
// delete belongs to the copy.
func (e *emitter) tellLeftovers() {
	for _, s := range e.destination.Snapshots {
		if !e.doomed[s.Lvol.UUID] {
			continue
		}
		if e.tree.Has(s.Name) {
			e.ofSnapshot[s.Name] = append(e.ofSnapshot[s.Name], e.ofLeftover[s.Lvol.Name]...)
			continue
		}
		e.step(Step{Action: ActionRemove, Snapshot: s.Name, Parent: e.destination.ParentOf(s.Lvol), Reason: "the source has no such snapshot", Operations: e.ofLeftover[s.Lvol.Name]})
	}
	for _, l := range e.destination.InFlight {
		e.step(Step{Action: ActionRemove, Snapshot: l.Name, Parent: e.destination.ParentOf(l), Reason: "left in flight by an earlier run", Operations: e.ofLeftover[l.Name]})
	}
}

func (e *emitter) tellHead() {
	step := Step{Action: ActionCreateHead, Parent: RightHeadParent(e.tree, e.image), Operations: e.ofHead}
	switch head := e.destination.Head; {
	case e.keepHead && len(e.ofHead) == 0:
		return
	case e.keepHead:
		step.Action, step.Reason = ActionKeep, "the head is right, but it lacks the record of "+e.image.String()
	case head == nil:
		step.Reason = "the destination has no head: it comes last, since a replica with a head is whole"
	default:
		step.Reason = "the old head goes first and a new one comes last, since a replica with a head is whole"
	}
	e.step(step)
}
