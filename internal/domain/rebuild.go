package domain

import "fmt"

// Options are a rebuild's choices. The zero value is the usual one.
type Options struct {
	// Full copies everything, also snapshots that are proven identical.
	Full bool
	// AcceptHurtSource rebuilds from a replica whose ancestor lost its base.
	AcceptHurtSource bool
	// NoChecksums lets no host compute a checksum (which it would store): only
	// existing checksums prove anything.
	NoChecksums bool
	// Overwrite repeats the name of the destination replica to confirm that its data
	// may be lost. Without it, PlanRebuild refuses (LossRefusal) a destination that is
	// named as a replica of another volume (VolumeOfReplica) and holds data, and one
	// whose head is larger than the source's.
	Overwrite string
	// ReservePercent of the destination's store stays free, 0 to 100. 0: none.
	ReservePercent float64
	// Taken is how many of the free clusters of the destination's store other runs
	// will still allocate.
	Taken uint64
	// Sealings are the copies that earlier runs are known to have sealed.
	Sealings []Sealing
	// ThisRun are the copies that the run which plans again has sealed itself. They
	// are kept even with Full.
	ThisRun []Sealing

	live *liveHead // of a plan below a live head; nil: the plan creates a head
}

// PlanRebuild plans how to make the destination a copy of the source on the
// volume's base. It is pure. It returns a *Refusal if the rebuild cannot
// be done safely.
//
// requested is the volume's base as the caller knows it; it may be the zero Base
// if a record or a lineage identifies the base (ResolveBase).
func PlanRebuild(source, destination Replica, requested Base, options Options) (Plan, error) {
	p := &planner{source: source, destination: destination, options: options}
	for _, step := range []func() error{
		p.refuseItself,
		func() error { return p.resolveBase(requested) },
		p.readSource,
		p.refuseHurtSource,
		p.refuseOtherGeometry,
		p.locateBase,
		p.decide,
		p.refuseDegraded,
		p.refuseLoss,
		p.refuseForeignClones,
		p.refuseInUse,
		p.refuseNames,
		p.refuseTooLittleSpace,
	} {
		if err := step(); err != nil {
			return Plan{}, err
		}
	}
	p.warnOfOtherVolume()
	p.warnOfOtherSize()
	p.emit()
	return p.plan, nil
}

// planner turns the two replicas into a plan, one decision at a time.
type planner struct {
	source, destination Replica
	options             Options

	base       Base
	tree       SnapshotTree
	sourceHead Lvol
	baseAt     int          // the base's position in the destination's store; notMade: it is fetched, or made
	clone      cloneBase    // the base of a linked clone
	fetched    BackingImage // the image to fetch
	fetch      bool

	decisions []decision // by position in tree
	names     []string   // of the copies on the store, by position in tree; "" for kept snapshots
	toDelete  []bool     // by position in the destination's store
	deletions []int      // the same as positions, leaf first
	keepHead  bool

	read  []bool      // by position in the destination's store: an entry point of the replica reads through it
	moves map[int]int // positions in the tree of the copies that entry points get as parents, by position in the store

	plan Plan
}

// decision says how the rebuild treats one snapshot of the source's tree.
type decision struct {
	counterpart int    // position in the destination's store of the snapshot of that name; noPosition: none
	kept        bool   // the counterpart is kept; otherwise the snapshot is copied
	clusters    uint64 // how many are copied
	detach      bool   // the counterpart has a wrong parent
	graft       bool   // the counterpart needs its right parent
	reason      string // in words
}

// refuseItself: a rebuild of a replica from itself would delete it first.
func (p *planner) refuseItself() error {
	source, destination := p.source, p.destination
	if source.Name == destination.Name && source.Store.UUID == destination.Store.UUID {
		return refuse("replica %s on lvstore %s is both source and destination", source.Name, source.Store.Name)
	}
	return nil
}

func (p *planner) resolveBase(requested Base) (err error) {
	p.base, err = ResolveBase(requested, p.source, p.destination)
	p.plan.Base = p.base
	for _, r := range []Replica{p.source, p.destination} {
		if err == nil {
			err = p.base.refuseOwn(r.Name)
		}
	}
	return err
}

// readSource builds the source's tree. The head's own clusters count as one more
// snapshot.
func (p *planner) readSource() (err error) {
	p.tree, err = NewSnapshotTree(p.source)
	if err != nil {
		return err
	}
	p.sourceHead = *p.source.Head
	if p.sourceHead.Own.Count == 0 {
		return nil
	}
	system := p.source.systemSnapshot()
	p.plan.SystemSnapshot = &system
	frozen := p.sourceHead
	frozen.UUID, frozen.Name, frozen.ReadOnly = "", system.LvolName, true
	p.tree = p.tree.withSystemSnapshot(Snapshot{Name: system.Name, Lvol: frozen})
	p.sourceHead.Own = Clusters{}
	return nil
}

// refuseHurtSource: readers of a hurt source saw wrong bytes, so their later
// writes are unproven.
func (p *planner) refuseHurtSource() error {
	if !p.source.Hurt(p.base) {
		return nil
	}
	if !p.options.AcceptHurtSource {
		return refuse("source replica %s on lvstore %s lost %s: readers saw zeros in place of its bytes, so later writes are unproven; use a healthy replica, repair this one, or accept a hurt source", p.source.Name, p.source.Store.Name, p.base)
	}
	p.warn("source replica %s on lvstore %s lost %s: later writes are unproven", p.source.Name, p.source.Store.Name, p.base)
	return nil
}

func (p *planner) warn(format string, args ...any) {
	p.plan.Warnings = append(p.plan.Warnings, fmt.Sprintf(format, args...))
}

func (p *planner) notice(format string, args ...any) {
	p.plan.Notices = append(p.plan.Notices, fmt.Sprintf(format, args...))
}

// locateBase finds the base on the destination, or plans to make it there.
func (p *planner) locateBase() error {
	if name, isImage := p.base.Image(); isImage {
		return p.locateImage(name)
	}
	if p.base.Any() {
		return p.locateClone()
	}
	return nil
}

// locateImage finds the image on the destination, or plans to fetch it.
func (p *planner) locateImage(name string) error {
	here, isHere := p.destination.Store.BackingImage(name)
	there, isThere := p.source.Store.BackingImage(name)
	if !isHere {
		for _, l := range p.destination.Store.imagesBeingFilled(name) {
			p.warn("lvol %s on lvstore %s is an unfinished image, being filled or left over: it is not touched", l.Name, p.destination.Store.Name)
		}
	}
	if isHere {
		p.baseAt = p.destination.index.byUUID[here.Lvol.UUID]
	}
	switch {
	case isHere && here.defect() != "":
		return refuse("backing image %s on lvstore %s %s, so it cannot be used", name, p.destination.Store.Name, here.defect())
	case isThere && (there.Lvol.Image.Unready != "" || !there.Lvol.externalParent().IsNone()):
		return refuse("backing image %s on lvstore %s %s, so the data of replicas there is unproven", name, p.source.Store.Name, there.defect())
	case isHere && isThere:
		if differ := there.difference(here); differ != "" {
			return refuse("backing image %s on lvstore %s differs from the one on lvstore %s: %s", name, p.destination.Store.Name, p.source.Store.Name, differ)
		}
		if err := p.checkUnprovenImage(name, there, here); err != nil {
			return err
		}
	case isHere:
	case isThere:
		if !there.Lvol.ReadOnly {
			return refuse("backing image %s on lvstore %s is writable, so it cannot be copied", name, p.source.Store.Name)
		}
		if there.Lvol.Parent != "" {
			return refuse("backing image %s on lvstore %s is a clone of another lvol, so it cannot be copied alone", name, p.source.Store.Name)
		}
		p.fetch, p.fetched, p.baseAt = true, there, notMade
		if !p.bothProve() {
			why := "one of the hosts reports no checksums"
			if p.options.NoChecksums {
				why = "no checksums are computed"
			}
			p.warn("backing image %s is fetched to lvstore %s, but its bytes are unverified: %s", name, p.destination.Store.Name, why)
		}
	default:
		return refuse("backing image %s is neither on lvstore %s nor on lvstore %s: import it", name, p.destination.Store.Name, p.source.Store.Name)
	}
	return p.refuseLargerImage(name, here, there)
}

func (p *planner) bothProve() bool {
	return p.source.Store.Proves && p.destination.Store.Proves && !p.options.NoChecksums
}

// checkUnprovenImage: neither records nor proofs show that the two images of one
// name are equal. If both hosts could have proven it, the proof is missing because
// one of the two is just changing.
func (p *planner) checkUnprovenImage(name string, there, here BackingImage) error {
	switch {
	case there.recordedEqual(here) || there.Lvol.Own.provenEqual(here.Lvol.Own):
	case p.bothProve():
		return refuse("backing image %s on lvstore %s could not be proven to be the one on lvstore %s: neither records nor checksums identify it; try again", name, p.destination.Store.Name, p.source.Store.Name)
	default:
		p.notice("backing image %s on lvstore %s is assumed to be the one on lvstore %s because of its name and size; its bytes are unverified, since there are neither records nor checksums", name, p.destination.Store.Name, p.source.Store.Name)
	}
	return nil
}

func (p *planner) refuseLargerImage(name string, images ...BackingImage) error {
	smallest := p.smallest()
	for _, image := range images {
		if image.Lvol.Size > smallest.Size {
			return refuse("backing image %s has %d bytes, more than the %d of lvol %s, whose parent it must be", name, image.Lvol.Size, smallest.Size, smallest.Name)
		}
	}
	return nil
}

// smallest is the source's lvol that has the base as its parent: no other one is smaller.
func (p *planner) smallest() Lvol {
	if ancestor, ok := p.tree.Ancestor(); ok {
		return ancestor.Lvol
	}
	return p.sourceHead
}

// decide decides for each snapshot of the source whether its counterpart on the
// destination is kept, and for each lvol of the destination whether it is deleted.
func (p *planner) decide() error {
	proof := newProof(p.source.Store, p.destination.Store, p.options)
	counterparts := findCounterparts(p.source, p.destination)
	p.decisions = make([]decision, len(p.tree.order))
	for at := range p.source.members { // in memory order, which is faster
		if p.source.members[at].role == roleSnapshot {
			p.decisions[p.tree.positions[at]] = p.decisionFor(&p.source.Store.Lvols[at], counterparts[at], &proof)
		}
	}
	if system := p.tree.system; system != nil {
		counterpart, _ := p.destination.positionNamed(system.Name)
		p.decisions[len(p.decisions)-1] = p.decisionFor(&system.Lvol, counterpart, &proof)
	}
	p.findRead()
	p.copyMisplaced()
	p.findDeletions()
	p.findMoves()
	p.names = make([]string, len(p.decisions))
	for i := range p.decisions {
		if f := &p.decisions[i]; f.kept {
			p.checkParent(i, f)
		} else {
			p.names[i] = SnapshotLvolName(p.destination.Name, p.tree.names[i])
		}
	}
	p.keepHead = p.canKeepHead()
	return nil
}

// decisionFor compares a snapshot of the source with its counterpart.
func (p *planner) decisionFor(source *Lvol, counterpart int, proof *proof) decision {
	f := decision{counterpart: counterpart, reason: "missing on the destination"}
	if counterpart != noPosition {
		f.kept, f.reason = proof.identical(source, &p.destination.Store.Lvols[counterpart])
	}
	if !f.kept {
		f.clusters = source.Own.Count
	}
	return f
}

// findCounterparts pairs the snapshots of two replicas by name. It returns, by
// position in the source's store, the position in the destination's store. Both
// replicas list their snapshots by name.
func findCounterparts(source, destination Replica) []int {
	counterparts := make([]int, len(source.Store.Lvols))
	some, others := source.Snapshots, destination.Snapshots
	at := 0
	for i := range some {
		for at < len(others) && others[at].Name < some[i].Name {
			at++
		}
		counterpart := noPosition
		if at < len(others) && others[at].Name == some[i].Name {
			counterpart = destination.positions[at]
		}
		counterparts[source.positions[i]] = counterpart
	}
	return counterparts
}

// checkParent decides whether a kept snapshot has to be detached or grafted.
func (p *planner) checkParent(i int, f *decision) {
	parent := p.destination.index.parents[f.counterpart]
	right := p.tree.rightParentAt(i, p.base)
	if p.hasParent(f.counterpart, right, p.tree.parents[i]) {
		return
	}
	current := p.destination.parentAt(f.counterpart)
	f.detach = !current.IsNone()
	f.graft = !right.IsNone()
	switch name, ok := current.Snapshot(); {
	case current == right:
		f.reason += fmt.Sprintf(", but its parent is the old %s, which is deleted, instead of the new copy", name)
	case ok && p.toDelete[parent]:
		f.reason += fmt.Sprintf(", but it has %s, which is deleted, instead of %s", name, right.words())
	default:
		f.reason += fmt.Sprintf(", but it has %s instead of %s", current.words(), right.words())
	}
}

// hasParent reports whether the destination's lvol at that position has the given
// parent; see lvolOf for at.
func (p *planner) hasParent(place int, parent Parent, at int) bool {
	actual := p.destination.index.parents[place]
	return actual == p.positionOf(parent, at) && (actual != noParent || p.destination.parentAt(place).IsNone())
}

// rightParent is RightParent as an lvol of the destination, for the snapshot at
// that position in the tree.
func (p *planner) rightParent(i int) Ref {
	return p.lvolOf(p.tree.rightParentAt(i, p.base), p.tree.parents[i])
}

func (p *planner) rightHeadParent() Ref {
	return p.lvolOf(RightHeadParent(p.tree, p.base), p.tree.head)
}

// lvolOf turns a right parent into an lvol of the destination: the image, listed or
// fetched, or the copy, kept or new, of the snapshot at that position of the tree.
func (p *planner) lvolOf(parent Parent, at int) Ref {
	place := p.positionOf(parent, at)
	_, isImage := parent.Image()
	switch {
	case place == notMade && parent.kind == parentClone:
		return Ref{refEntryPoint, p.clone.name(p.base)}
	case place == noParent:
		return Ref{}
	case place != notMade:
		return listed(p.destination.Store.Lvols[place])
	case isImage:
		return Ref{refImage, parent.name}
	default:
		return Ref{refSnapshot, parent.name}
	}
}

// notMade is the position of an lvol that the plan creates.
const notMade = -2

// positionOf is lvolOf as a position in the destination's store.
func (p *planner) positionOf(parent Parent, at int) int {
	switch {
	case parent.IsNone():
		return noParent
	case parent.IsBase():
		return p.baseAt
	case p.decisions[at].kept:
		return p.decisions[at].counterpart
	default:
		return notMade
	}
}

// findDeletions lists the destination replica's lvols that are not kept, leaf
// first: an lvol is deleted only when it has no clones left.
func (p *planner) findDeletions() {
	p.toDelete = p.destination.deletable()
	for i := range p.decisions {
		if f := &p.decisions[i]; f.kept {
			p.toDelete[f.counterpart] = false
		}
	}
	p.deletions = p.destination.index.leafFirst(p.toDelete)
}

// canKeepHead: if nothing else changes, a head with the right parent and size and
// no clusters of its own is as good as a new one.
func (p *planner) canKeepHead() bool {
	head := p.destination.Head
	if head == nil || p.options.live != nil || len(p.deletions) > 0 || p.plan.SystemSnapshot != nil {
		return false
	}
	for i := range p.decisions {
		if f := &p.decisions[i]; !f.kept || f.detach || f.graft {
			return false
		}
	}
	hangsRight := p.hasParent(p.destination.head, RightHeadParent(p.tree, p.base), p.tree.head)
	return hangsRight && head.Size == p.sourceHead.Size && head.Own.Count == 0
}
