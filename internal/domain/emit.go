package domain

import "slices"

// emit turns the decisions into steps and operations.
//
// Operations are listed stage by stage and, within a stage, parents before
// children. They can be done one after the other in that order; a parallel executor
// prefers earlier ones.
func (p *planner) emit() {
	e := newEmitter(p)
	e.leave()
	e.removeHead()
	e.detach()
	e.setAside()
	e.prune()
	e.cut()
	e.build()
	e.replace()
	e.createHead()
	e.land()
	e.describe()
}

type emitter struct {
	*planner
	// ready is, by position in the tree, the operation after which the copy of a
	// snapshot and all its ancestors are correct; noOperation: they already are.
	ready     []int
	baseReady int

	// positions of operations, by subject
	ofSnapshot [][]int // by position in the tree
	ofDeleted  [][]int // by position in the destination's store
	ofBase     []int
	ofHead     []int
	ofLive     liveOperations
	ofMove     []move

	setAsideNow map[int]bool // by position in the destination's store: the plan draws its name

	numbers []int // from which short lists of operations are cut
}

// noOperation marks the absence of an operation.
const noOperation = -1

func newEmitter(p *planner) *emitter {
	n := len(p.tree.order)
	e := &emitter{
		planner: p, ready: make([]int, n), baseReady: noOperation,
		ofSnapshot: make([][]int, n), ofDeleted: make([][]int, len(p.toDelete)), setAsideNow: make(map[int]bool),
	}
	operations := len(p.deletions) + len(p.moves) + 5 // the image's three, the old head and the new one
	for i := range p.decisions {
		e.ready[i] = noOperation
		switch f := &p.decisions[i]; {
		case !f.kept:
			operations += 4
		case f.detach || f.graft:
			operations += 2
		}
	}
	e.plan.Operations = make([]Operation, 0, operations)
	e.numbers = make([]int, 0, 2*operations)
	e.plan.Steps = make([]Step, 0, n+len(p.destination.Snapshots)+len(p.destination.InFlight)+2)
	return e
}

func (e *emitter) add(o Operation) int {
	e.plan.Operations = append(e.plan.Operations, o)
	return len(e.plan.Operations) - 1
}

// after lists the operations, without noOperation.
func (e *emitter) after(operations ...int) []int {
	from := len(e.numbers)
	for _, o := range operations {
		if o != noOperation {
			e.numbers = append(e.numbers, o)
		}
	}
	if len(e.numbers) == from {
		return nil
	}
	return e.numbers[from:len(e.numbers):len(e.numbers)]
}

func (e *emitter) removeHead() {
	if head := e.destination.Head; head != nil && !e.keepHead {
		removal := Operation{Verb: VerbDelete, Stage: StageRemoveHead, Target: listed(*head), Name: head.Name}
		if e.options.live != nil {
			removal.Stage, removal.After = StageLeave, e.ofLive.leave
		}
		e.ofHead = append(e.ofHead, e.add(removal))
	}
}

// detach comes before every graft of a kept snapshot. Afterwards each kept snapshot
// has its right parent or none, so no graft of the final tree can close a cycle,
// whatever the order.
func (e *emitter) detach() {
	for i := range e.decisions {
		if f := &e.decisions[i]; f.detach {
			kept := &e.destination.Store.Lvols[f.counterpart]
			o := e.add(Operation{Verb: VerbGraft, Stage: StageDetach, Target: listed(*kept), Name: kept.Name})
			e.ofSnapshot[i] = append(e.ofSnapshot[i], o)
		}
	}
}

func (e *emitter) prune() {
	lvols, parents := e.destination.Store.Lvols, e.destination.index.parents
	childrenOf := make([][]int, len(lvols)) // their deletes
	for _, at := range e.deletions {
		if e.deletedLate(at) {
			continue
		}
		l := &lvols[at]
		removal := Operation{Verb: VerbDelete, Stage: StagePrune, Target: listed(*l), Name: l.Name, After: childrenOf[at]}
		if e.readsOutside(at) {
			removal.Stage = StageLeave
			removal.After = slices.Concat(removal.After, e.ofLive.leave, e.ofHead)
		}
		o := e.add(removal)
		e.ofDeleted[at] = e.after(o)
		if parent := parents[at]; parent != noParent {
			childrenOf[parent] = append(childrenOf[parent], o)
		}
	}
}

func (e *emitter) build() {
	if e.fetch {
		image := e.fetched
		target := Ref{refImage, image.Name}
		o := e.fill(target, &image.Lvol)
		o = e.add(Operation{
			Verb: VerbSeal, Stage: StageBuild, After: e.after(o), Target: target,
			Name: ImageLvolName(image.Name, e.destination.Store.UUID), Source: originOf(image.Lvol), Image: &image.Lvol.Image,
			Prove: e.bothProve(),
		})
		e.baseReady = o
		e.ofBase = []int{o - 2, o - 1, o}
	}
	if e.base.Any() && e.baseAt == notMade && !e.fetch {
		first := len(e.plan.Operations)
		for _, o := range e.destination.index.makeEntryPoint(e.base, e.clone, first) {
			e.baseReady = e.add(o)
			e.ofBase = append(e.ofBase, e.baseReady)
		}
	}
	for i := range e.decisions {
		first := len(e.plan.Operations)
		switch f := &e.decisions[i]; {
		case !f.kept:
			e.ready[i] = e.copy(i)
		case f.graft:
			kept := &e.destination.Store.Lvols[f.counterpart]
			e.ready[i] = e.graft(listed(*kept), kept.Name, i)
		default:
			// Its parent is right, but a more distant ancestor may not be yet.
			e.ready[i] = e.parentReady(i)
		}
		for o := first; o < len(e.plan.Operations); o++ {
			e.numbers = append(e.numbers, o)
		}
		own := e.numbers[len(e.numbers)-(len(e.plan.Operations)-first):]
		if len(e.ofSnapshot[i]) > 0 {
			e.ofSnapshot[i] = append(e.ofSnapshot[i], own...)
		} else {
			e.ofSnapshot[i] = own[:len(own):len(own)]
		}
	}
}

// parentReady is the operation after which the snapshot's right parent and all its
// ancestors are correct.
func (e *emitter) parentReady(i int) int {
	if parent := e.tree.parents[i]; parent >= 0 {
		return e.ready[parent]
	}
	return e.baseReady
}

// fill creates an in-flight lvol and copies into it. It has no parent yet: so copies
// can finish in any order, and no first write of a cluster has to read the parent's.
func (e *emitter) fill(target Ref, source *Lvol) int {
	create := e.add(Operation{Verb: VerbCreate, Stage: StageBuild, Target: target, Size: source.Size})
	return e.add(Operation{Verb: VerbCopy, Stage: StageBuild, After: e.after(create), Target: target, Source: originOf(*source)})
}

// graft waits until the parent is sealed or, if it is kept, until it has its own
// right parent.
func (e *emitter) graft(target Ref, name string, i int, after ...int) int {
	return e.add(Operation{
		Verb: VerbGraft, Stage: StageBuild, After: e.after(append(after, e.parentReady(i))...),
		Target: target, Name: name, Parent: e.rightParent(i),
	})
}

func (e *emitter) copy(i int) int {
	source, target := e.tree.lvol(i), Ref{refSnapshot, e.tree.names[i]}
	last := e.fill(target, source)
	parent := e.rightParent(i)
	if !parent.IsNone() {
		last = e.graft(target, "", i, last)
	}
	return e.add(Operation{
		Verb: VerbSeal, Stage: StageBuild, After: e.after(last), Target: target, Parent: parent,
		Name: e.names[i], Source: originOf(*source), Attributes: e.attributesOf(i),
	})
}

// attributesOf are the attributes to record of a copy. If the source's host records
// none, the snapshot counts as a user's, since others may be purged. Those of a cut are known.
func (e *emitter) attributesOf(i int) Attributes {
	if live := e.options.live; live != nil && e.tree.names[i] == live.cut.Snapshot {
		return live.cut.Attributes
	}
	attributes := e.tree.lvol(i).Attributes
	if !e.source.Store.Records {
		attributes.UserCreated = !isSystemSnapshot(e.tree.names[i])
	}
	return attributes
}

func (e *emitter) createHead() {
	record := e.base.Record()
	if e.options.live != nil {
		return
	}
	if e.keepHead {
		if head := e.destination.Head; e.destination.Store.Records && head.Record != record {
			e.ofHead = append(e.ofHead, e.add(Operation{Verb: VerbRecord, Stage: StageCreateHead, Target: listed(*head), Name: head.Name, Record: record}))
		}
		return
	}
	e.ofHead = append(e.ofHead, e.add(Operation{
		Verb: VerbClone, Stage: StageCreateHead, Target: Ref{refHead, e.destination.Name}, Parent: e.rightHeadParent(),
		Name: e.destination.Name, Size: e.sourceHead.Size, Record: record,
	}))
}

// describe adds the steps, which sum the operations up for people: deletions, the
// image, the snapshots, parents before children, and the head.
func (e *emitter) describe() {
	e.plan.Deletions = e.plannedDeletions()
	e.describeDeletions()
	e.describeCut()
	if e.fetch {
		e.step(Step{Action: ActionFetchImage, Parent: NoParent(), Reason: "backing image " + e.fetched.Name + " is missing on the destination", Clusters: e.fetched.Lvol.Own.Count, Operations: e.ofBase})
	}
	if e.ofBase != nil && !e.fetch {
		e.step(e.destination.index.entryPointStep(e.clone, e.ofBase))
	}
	for i := range e.decisions {
		f := &e.decisions[i]
		step := Step{Action: ActionKeep, Snapshot: e.tree.names[i], Parent: e.tree.rightParentAt(i, e.base), Reason: f.reason, Clusters: f.clusters, Operations: e.ofSnapshot[i]}
		switch {
		case !f.kept:
			step.Action = ActionCopy
			if f.counterpart != noPosition {
				step.Deleted = e.destination.Store.Lvols[f.counterpart].Own.Count
			}
		case f.detach || f.graft:
			step.Action = ActionGraft
		}
		e.step(step)
	}
	e.describeMoves()
	e.describeHead()
}

func (e *emitter) step(s Step) {
	e.plan.Steps = append(e.plan.Steps, s)
}

// describeDeletions adds no step for a leftover that is copied anew: its delete
// belongs to the copy.
func (e *emitter) describeDeletions() {
	for i := range e.decisions {
		if f := &e.decisions[i]; !f.kept && f.counterpart != noPosition {
			e.ofSnapshot[i] = append(e.ofDeleted[f.counterpart], e.ofSnapshot[i]...)
			slices.Sort(e.ofSnapshot[i])
			e.ofDeleted[f.counterpart] = nil
		}
	}
	describe := func(at int, name, reason string) {
		if e.ofDeleted[at] == nil {
			return
		}
		e.step(Step{Action: ActionRemove, Snapshot: name, Parent: e.destination.parentAt(at), Reason: reason, Deleted: e.destination.Store.Lvols[at].Own.Count, Operations: e.ofDeleted[at]})
	}
	for i, at := range e.destination.positions {
		describe(at, e.destination.Snapshots[i].Name, "the source has no such snapshot")
	}
	for _, l := range e.destination.InFlight {
		describe(e.destination.index.byUUID[l.UUID], l.Name, "left in flight by an earlier run")
	}
}

func (e *emitter) describeHead() {
	step := Step{Action: ActionCreateHead, Parent: RightHeadParent(e.tree, e.base), Operations: e.ofHead}
	switch head := e.destination.Head; {
	case e.options.live != nil:
		e.describeLanding()
		return
	case e.keepHead && len(e.ofHead) == 0:
		return
	case e.keepHead:
		step.Action, step.Reason = ActionKeep, "the head is right, but it lacks the record of "+e.base.String()
	case head == nil:
		step.Reason = "the destination has no head; it is created last, since a replica with a head is complete"
	default:
		step.Deleted = head.Own.Count
		step.Reason = "the old head is deleted first and a new one is created last, since a replica with a head is complete"
	}
	e.step(step)
}
