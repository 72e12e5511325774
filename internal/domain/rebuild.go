package domain

import (
	"fmt"
	"sort"
)

// Options are a rebuild's choices. The zero value is the usual one.
type Options struct {
	// Full copies everything, also what is proven identical.
	Full bool
	// AcceptHurtSource rebuilds from a replica whose ancestor lost its image.
	AcceptHurtSource bool
	// ReservePercent of the destination's store stays free. 0: none.
	ReservePercent float64
	// Sealings are what earlier runs are known to have sealed.
	Sealings []Sealing
	// ThisRun is what the very run that plans again has sealed. It is kept even
	// if everything is copied.
	ThisRun []Sealing
}

// PlanRebuild says how the destination becomes what the source is, under the
// volume's backing image. It is pure: what it is given is what it knows. What
// cannot be done safely is a *Refusal.
//
// said is what the caller knows of the volume's image; it may be the zero
// Image if a record or a lineage tells (ResolveImage).
func PlanRebuild(source, destination Replica, said Image, options Options) (Plan, error) {
	p := &planner{source: source, destination: destination, options: options}
	for _, step := range []func() error{
		p.refuseItself,
		func() error { return p.resolveImage(said) },
		p.readSource,
		p.refuseHurtSource,
		p.refuseOtherGeometry,
		p.placeImage,
		p.decide,
		p.refuseForeignClones,
		p.refuseNames,
		p.refuseTooLittleSpace,
	} {
		if err := step(); err != nil {
			return Plan{}, err
		}
	}
	p.emit()
	return p.plan, nil
}

// planner goes from the two replicas to the plan, a question at a time.
type planner struct {
	source, destination Replica
	options             Options

	image       Image
	tree        SnapshotTree
	sourceHead  Lvol
	imageHere   Ref          // the image on the destination, listed or fetched
	imageSource BackingImage // what is fetched
	fetch       bool

	fates    []fate // by position in tree
	leftover []Lvol // what is deleted of the destination's replica, leaf first
	doomed   map[string]bool
	keepHead bool

	plan Plan
}

// fate is what becomes of one snapshot of the source's tree.
type fate struct {
	kept    *Lvol  // the destination's snapshot that stays; nil: copied
	at      int    // its position in the destination's store
	reason  string // in words
	name    string // of the copy on the destination; "" for a kept one
	loosen  bool   // it hangs on something wrong
	graft   bool   // it has to be given its parent
	current Parent // of the kept one
}

// refuseItself: a replica that were rebuilt from itself would be deleted first.
func (p *planner) refuseItself() error {
	source, destination := p.source, p.destination
	if source.Name == destination.Name && source.Store.UUID == destination.Store.UUID {
		return refuse("replica %s on lvstore %s is source and destination at once", source.Name, source.Store.Name)
	}
	return nil
}

func (p *planner) resolveImage(said Image) (err error) {
	p.image, err = ResolveImage(said, p.source, p.destination)
	p.plan.Image = p.image
	return err
}

// readSource builds the source's tree. What the head has written itself counts
// as one more snapshot.
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

// refuseHurtSource: the views of a hurt source have been lying, so what was
// written on top of them is unproven.
func (p *planner) refuseHurtSource() error {
	if !p.source.Hurt(p.image) {
		return nil
	}
	if !p.options.AcceptHurtSource {
		return refuse("source replica %s on lvstore %s lost %s: readers have seen zeros where the image's bytes belong, so what they wrote since is unproven; take a healthy replica, repair this one, or accept a hurt source", p.source.Name, p.source.Store.Name, p.image)
	}
	p.warn("source replica %s on lvstore %s lost %s: what was written since is unproven", p.source.Name, p.source.Store.Name, p.image)
	return nil
}

func (p *planner) warn(format string, args ...any) {
	p.plan.Warnings = append(p.plan.Warnings, fmt.Sprintf(format, args...))
}

// placeImage finds the image on the destination, or has it fetched.
func (p *planner) placeImage() error {
	name, ok := p.image.Name()
	if !ok {
		return nil
	}
	here, isHere := p.destination.Store.BackingImage(name)
	there, isThere := p.source.Store.BackingImage(name)
	if !isHere {
		for _, l := range p.destination.Store.imagesBeingFilled(name) {
			p.warn("lvol %s on lvstore %s is an image that somebody fills, or has left: it is left alone", l.Name, p.destination.Store.Name)
		}
	}
	switch {
	case isHere && here.flaw() != "":
		return refuse("backing image %s on lvstore %s %s, so it is not one", name, p.destination.Store.Name, here.flaw())
	case isThere && there.Lvol.Image.Unready != "":
		return refuse("backing image %s on lvstore %s %s, so what replicas there show is unproven", name, p.source.Store.Name, there.flaw())
	case isHere && isThere:
		if differ := there.contradiction(here); differ != "" {
			return refuse("backing image %s on lvstore %s is another one than on lvstore %s: %s", name, p.destination.Store.Name, p.source.Store.Name, differ)
		}
		p.imageHere = listed(here.Lvol)
	case isHere:
		p.imageHere = listed(here.Lvol)
	case isThere:
		if !there.Lvol.ReadOnly {
			return refuse("backing image %s on lvstore %s is writable, so it cannot be copied", name, p.source.Store.Name)
		}
		if there.Lvol.Parent != "" {
			return refuse("backing image %s on lvstore %s hangs on another lvol, so it cannot be copied alone", name, p.source.Store.Name)
		}
		p.fetch, p.imageSource, p.imageHere = true, there, Ref{refImage, name}
		if !p.source.Store.Proves || !p.destination.Store.Proves {
			p.warn("backing image %s is fetched to lvstore %s with its bytes unverified: not both hosts tell checksums", name, p.destination.Store.Name)
		}
	default:
		return refuse("backing image %s is neither on lvstore %s nor on lvstore %s: import it", name, p.destination.Store.Name, p.source.Store.Name)
	}
	return p.refuseLargerImage(name, here, there)
}

func (p *planner) refuseLargerImage(name string, images ...BackingImage) error {
	smallest := p.sourceHead
	if ancestor, ok := p.tree.Ancestor(); ok {
		smallest = ancestor.Lvol
	}
	for _, image := range images {
		if image.Lvol.Size > smallest.Size {
			return refuse("backing image %s has %d bytes, more than the %d of lvol %s that hangs on it", name, image.Lvol.Size, smallest.Size, smallest.Name)
		}
	}
	return nil
}

// decide settles for each snapshot of the source whether the destination's one
// stays, and for each lvol of the destination whether it goes.
func (p *planner) decide() error {
	proof := newProof(p.source.Store, p.destination.Store, p.options)
	twins := pairByName(p.source.Snapshots, p.destination.Snapshots)
	stays := make([]bool, len(p.destination.Snapshots))
	p.fates = make([]fate, len(p.tree.snapshots))
	for i := range p.fates {
		f := &p.fates[i]
		f.reason = "missing on the destination"
		twin := p.twinOf(i, twins)
		if twin < 0 {
			continue
		}
		copied := &p.destination.Snapshots[twin].Lvol
		var same bool
		if same, f.reason = proof.identical(&p.tree.snapshots[i].Lvol, copied); same {
			f.kept, f.at = copied, p.destination.places[twin]
			stays[twin] = true
		}
	}
	for i := range p.fates {
		if p.fates[i].kept == nil {
			p.fates[i].name = SnapshotLvolName(p.destination.Name, p.tree.snapshots[i].Name)
		}
	}
	p.findLeftovers(stays)
	for i := range p.fates {
		if f := &p.fates[i]; f.kept != nil {
			p.lookAtParent(i, f)
		}
	}
	p.keepHead = p.headStays()
	return nil
}

// twinOf is the position among the destination's snapshots of the one that has
// the name of the tree's i-th; -1: there is none.
func (p *planner) twinOf(i int, twins []int) int {
	if origin := p.tree.origin[i]; origin >= 0 {
		return twins[origin]
	}
	for at := range p.destination.Snapshots { // of the system snapshot
		if p.destination.Snapshots[at].Name == p.tree.snapshots[i].Name {
			return at
		}
	}
	return -1
}

// pairByName finds for each of some snapshots the one of the same name among
// others, -1 where there is none. Both are sorted by name.
func pairByName(some, others []Snapshot) []int {
	twins := make([]int, len(some))
	at := 0
	for i := range some {
		for at < len(others) && others[at].Name < some[i].Name {
			at++
		}
		twins[i] = -1
		if at < len(others) && others[at].Name == some[i].Name {
			twins[i] = at
		}
	}
	return twins
}

// lookAtParent finds out whether a kept snapshot hangs where it should.
func (p *planner) lookAtParent(i int, f *fate) {
	right := p.rightParent(i)
	if uuid, isListed := right.Listed(); isListed && uuid == f.kept.Parent || right.IsNone() && f.kept.Parent == "" {
		return
	}
	f.current = p.destination.ParentOf(*f.kept)
	f.loosen = f.kept.Parent != ""
	f.graft = !right.IsNone()
	f.reason += fmt.Sprintf(", but it has %s instead of %s", f.current.words(), rightParentAt(p.tree, i, p.image).words())
	if name, ok := f.current.Snapshot(); ok && p.doomed[f.kept.Parent] {
		f.reason += fmt.Sprintf(" (the %s that is there goes)", name)
	}
}

// rightParent is the rule (ancestor.go), as an lvol of the destination, for
// the snapshot at that position in the tree.
func (p *planner) rightParent(i int) Ref {
	return p.lvolOf(rightParentAt(p.tree, i, p.image), p.tree.parent[i])
}

func (p *planner) rightHeadParent() Ref {
	return p.lvolOf(RightHeadParent(p.tree, p.image), p.tree.head)
}

// lvolOf is the destination's lvol that a right parent is: the image, listed or
// fetched, or the copy, kept or made, of the snapshot at that position of the
// tree.
func (p *planner) lvolOf(parent Parent, at int) Ref {
	if _, ok := parent.Image(); ok {
		return p.imageHere
	}
	name, ok := parent.Snapshot()
	if !ok {
		return Ref{}
	}
	if kept := p.fates[at].kept; kept != nil {
		return listed(*kept)
	}
	return Ref{refSnapshot, name}
}

// findLeftovers lists what is the destination replica's own and does not stay,
// leaf first: an lvol is deleted only when nothing hangs on it any more.
func (p *planner) findLeftovers(stays []bool) {
	p.doomed = make(map[string]bool)
	var doomed []Lvol
	for i := range stays {
		if !stays[i] {
			doomed = append(doomed, p.destination.Snapshots[i].Lvol)
		}
	}
	doomed = append(doomed, p.destination.InFlight...)
	for _, l := range doomed {
		p.doomed[l.UUID] = true
	}
	p.leftover = leafFirst(doomed)
}

// leafFirst orders lvols so that each comes after those of them that hang on
// it, and otherwise by name.
func leafFirst(lvols []Lvol) []Lvol {
	sort.Slice(lvols, func(i, j int) bool { return lvols[i].Name < lvols[j].Name })
	at := make(map[string]int, len(lvols))
	hanging := make(map[string]int) // how many of the lvols hang on one
	for i, l := range lvols {
		at[l.UUID] = i
		hanging[l.Parent]++
	}
	ordered := make([]Lvol, 0, len(lvols))
	for _, l := range lvols {
		if hanging[l.UUID] == 0 {
			ordered = append(ordered, l)
		}
	}
	for next := 0; next < len(ordered); next++ {
		parent := ordered[next].Parent
		hanging[parent]--
		if i, isOne := at[parent]; isOne && hanging[parent] == 0 {
			ordered = append(ordered, lvols[i])
		}
	}
	return ordered
}

// headStays: if nothing else changes, a head with the right parent and size
// and nothing of its own is as good as a new one.
func (p *planner) headStays() bool {
	head := p.destination.Head
	if head == nil || len(p.leftover) > 0 || p.plan.SystemSnapshot != nil {
		return false
	}
	for i := range p.fates {
		if f := &p.fates[i]; f.kept == nil || f.loosen || f.graft {
			return false
		}
	}
	uuid, isListed := p.rightHeadParent().Listed()
	hangsRight := isListed && head.Parent == uuid || p.rightHeadParent().IsNone() && head.Parent == ""
	return hangsRight && head.Size == p.sourceHead.Size && head.Own.Count == 0
}
