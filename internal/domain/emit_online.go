package domain

import (
	"fmt"
	"slices"
)

// liveOperations are the positions of the operations that only a rebuild under a live volume
// has.
type liveOperations struct{ leave, cut, land []int }

// leave takes lvols of the destination that lack writes out of the mirror, before they are
// deleted.
func (e *emitter) leave() {
	if e.options.live == nil {
		return
	}
	for _, m := range e.options.live.stale {
		e.ofLive.leave = append(e.ofLive.leave, e.add(Operation{Verb: VerbLeave, Stage: StageLeave, Target: Ref{refListed, m.Head}}))
	}
}

// readsOutside reports whether an lvol reads through to another host. In a plan under a live
// volume it is deleted with the old head: the connection to that host is closed after that.
func (e *emitter) readsOutside(at int) bool {
	for ; e.options.live != nil && at != noParent; at = e.destination.index.parents[at] {
		if l := &e.destination.Store.Lvols[at]; l.External != "" || l.Degraded {
			return true
		}
	}
	return false
}

// cut makes the live head and cuts the volume. What can be done before the freeze is: the
// empty live head is there and exported, so that in the freeze the mirror sees it already.
func (e *emitter) cut() {
	live := e.options.live
	if live == nil || live.cut.Made() {
		return
	}
	cut, head := cutRef(live.cut.Snapshot), e.liveHead()
	made := e.add(Operation{Verb: VerbCreate, Stage: StagePrepare, Target: head, Size: e.sourceHead.Size})
	shown := e.add(Operation{Verb: VerbExport, Stage: StagePrepare, After: e.after(made), Target: head})
	var taken, exported []int
	for i, m := range live.on {
		snapshot := e.add(Operation{
			Verb: VerbSnapshot, Stage: StageCut, Member: i + 1, Target: cut, Parent: listed(m.head),
			Name: SnapshotLvolName(m.replica, live.cut.Snapshot), Attributes: live.cut.Attributes,
		})
		exported = append(exported, e.add(Operation{Verb: VerbExport, Stage: StageCut, After: e.after(snapshot), Member: i + 1, Target: cut}))
		taken = append(taken, snapshot)
	}
	grafted := e.add(Operation{Verb: VerbGraftExternal, Stage: StageCut, After: e.after(exported...), Target: head, Parent: cut})
	joined := e.add(Operation{Verb: VerbJoin, Stage: StageCut, After: e.after(grafted), Target: head})
	e.ofLive.cut = slices.Concat([]int{made, shown}, taken, exported, []int{grafted, joined})
}

// land grafts the lowest lvol of the live chain onto the destination's own copy of the cut,
// in a freeze as short as can be, and names the head after it.
func (e *emitter) land() {
	live := e.options.live
	if live == nil {
		return
	}
	head, parent := e.liveHead(), e.rightHeadParent()
	e.ofLive.land = append(e.ofLive.land, e.add(Operation{Verb: VerbGraft, Stage: StageLand, Target: Ref{refLowest, uuidOf(head)}, Parent: parent}))
	recorded := noOperation
	if e.destination.Store.Records {
		recorded = e.add(Operation{Verb: VerbRecord, Stage: StageName, Target: head, Record: e.base.Record()})
		e.ofLive.land = append(e.ofLive.land, recorded)
	}
	e.ofLive.land = append(e.ofLive.land, e.add(Operation{Verb: VerbRename, Stage: StageName, After: e.after(recorded), Target: head, Name: e.destination.Name}))
}

func (e *emitter) liveHead() Ref {
	if joined := e.options.live.cut.Joined.Head; joined != "" {
		return Ref{refListed, joined}
	}
	return Ref{refLive, e.destination.Name}
}

func (e *emitter) describeCut() {
	live := e.options.live
	if live == nil {
		return
	}
	if len(e.ofLive.leave) > 0 {
		e.step(Step{Action: ActionLeave, Parent: NoParent(), Reason: "an lvol of the replica is or was a member of the mirror, and lacks writes", Operations: e.ofLive.leave})
	}
	if head := e.destination.Head; head != nil {
		e.step(Step{Action: ActionRemove, Parent: e.destination.ParentOf(*head), Reason: "the old head lacks writes", Deleted: head.Own.Count, Operations: e.ofHead})
	}
	if len(e.ofLive.cut) > 0 {
		e.step(Step{
			Action: ActionCut, Parent: Parent{parentSnapshot, live.cut.Snapshot}, Operations: e.ofLive.cut,
			Reason: fmt.Sprintf("while the volume is frozen, a snapshot is taken of %s, and a live head over it joins the mirror", members(len(live.on))),
		})
	}
}

func members(n int) string {
	if n == 1 {
		return "its one whole member"
	}
	return fmt.Sprintf("its %d whole members", n)
}

func (e *emitter) describeLanding() {
	e.step(Step{
		Action: ActionLand, Parent: RightHeadParent(e.tree, e.base), Operations: e.ofLive.land,
		Reason: "the live head is grafted onto the copy of the snapshot that it was made over, and gets its name if the mirror was never without it",
	})
}
