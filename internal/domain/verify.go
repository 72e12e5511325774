package domain

import "fmt"

// Violation is one thing that is wrong with a replica.
type Violation struct {
	Subject    string // a snapshot's name, an lvol's, or "head"
	Rule       string // one of the Rule constants
	Detail     string
	Repairable bool // a graft on the replica's own host repairs it without a copy
}

// String is the violation on one line.
func (v Violation) String() string { return v.Subject + ": " + v.Rule + ": " + v.Detail }

// The rules.
const (
	RuleAncestorParent = "ancestor-parent" // the ancestor's parent is the volume's image
	RuleParent         = "parent"          // the parent of every other lvol is the copy of its source's parent
	RuleMissing        = "missing"         // every snapshot of the source exists
	RuleExtra          = "extra"           // and no other
	RuleInFlight       = "in-flight"       // there are no in-flight lvols
	RuleSize           = "size"
	RuleClusters       = "clusters"   // the number of own clusters
	RuleData           = "data"       // map and checksum, if both hosts report them; all bytes, if they are read back
	RuleAttributes     = "attributes" // time of creation and creator, if both hosts record them
	RuleImage          = "image"      // the image exists and is the same on both hosts
	RuleBase           = "base"       // the entry point of a linked clone exists, and reads the same snapshot on both hosts
	RuleHead           = "head"       // there is a head
	RuleRecord         = "record"     // the head's record of the image
)

// Verify compares a replica with its source, and both with the volume's image. Without
// violations the replica is complete and equal to the source, as far as the hosts can
// prove. It returns an error if the source itself is not healthy.
func Verify(source, destination Replica, base Base) ([]Violation, error) {
	snapshots, err := VerifySnapshots(source, destination, base)
	if err != nil {
		return nil, err
	}
	head, err := verifyHead(source, destination, base)
	return append(snapshots, head...), err
}

// VerifySnapshots is Verify without the head, which is cloned after this finds no
// violation.
func VerifySnapshots(source, destination Replica, base Base) ([]Violation, error) {
	tree, err := NewSnapshotTree(source)
	if err != nil {
		return nil, err
	}
	v := &verification{source: source, destination: destination, base: base, tree: tree}
	v.verifyImage()
	v.verifyClone()
	for _, s := range tree.Snapshots() {
		d, ok := destination.Snapshot(s.Name)
		if !ok {
			v.found(s.Name, RuleMissing, "the source has it")
			continue
		}
		v.compare(s, d)
	}
	for _, d := range destination.Snapshots {
		if !tree.Has(d.Name) {
			v.found(d.Name, RuleExtra, "the source has no such snapshot")
		}
	}
	for _, l := range destination.InFlight {
		v.found(l.Name, RuleInFlight, "left by an interrupted run")
	}
	return v.violations, nil
}

// WithoutLeft leaves out the violations that say that lvols of these UUIDs are left.
func (r Replica) WithoutLeft(violations []Violation, uuids map[string]bool) []Violation {
	left := make(map[string]string) // rules, by subject
	for _, s := range r.Snapshots {
		if uuids[s.Lvol.UUID] {
			left[s.Name] = RuleExtra
		}
	}
	for _, l := range r.InFlight {
		if uuids[l.UUID] {
			left[l.Name] = RuleInFlight
		}
	}
	var others []Violation
	for _, v := range violations {
		if left[v.Subject] != v.Rule {
			others = append(others, v)
		}
	}
	return others
}

// Unproven lists the maps and checksums that are missing for a verification by proof,
// although both hosts can report them: without a proof, counterparts do not count as
// equal. Two images that records identify as one may differ in their allocation of
// zeros, so that only their bytes could prove equality; that is a warning.
func Unproven(source, destination Replica, base Base) (violations []Violation, warnings []string) {
	if !source.Store.Proves || !destination.Store.Proves {
		return nil, nil
	}
	v := &verification{}
	compare := func(subject, rule string, ours, theirs Lvol) {
		for _, side := range []struct {
			lvol  Lvol
			store Listing
		}{{ours, source.Store}, {theirs, destination.Store}} {
			if !side.lvol.Own.Proven() {
				v.found(subject, rule, "lvstore %s reported no map and checksum of lvol %s, so it could not be proven", side.store.Name, side.lvol.Name)
			}
		}
	}
	for _, s := range source.Snapshots {
		if d, ok := destination.Snapshot(s.Name); ok {
			compare(s.Name, RuleData, s.Lvol, d.Lvol)
		}
	}
	name, _ := base.Image()
	there, isThere := source.Store.BackingImage(name)
	here, isHere := destination.Store.BackingImage(name)
	switch {
	case !isThere || !isHere:
	case there.allocatedDifferently(here):
		warnings = append(warnings, fmt.Sprintf("backing image %s is stored in %d clusters on lvstore %s and in %d on lvstore %s, so only its record identifies it as the same: check its bytes with image verify",
			name, here.Lvol.Own.Count, destination.Store.Name, there.Lvol.Own.Count, source.Store.Name))
	default:
		compare(base.Parent().String(), RuleImage, there.Lvol, here.Lvol)
	}
	return v.violations, warnings
}

type verification struct {
	source, destination Replica
	base                Base
	tree                SnapshotTree
	violations          []Violation
}

func (v *verification) found(subject, rule, format string, args ...any) {
	v.violations = append(v.violations, Violation{Subject: subject, Rule: rule, Detail: fmt.Sprintf(format, args...)})
}

func (v *verification) verifyImage() {
	name, ok := v.base.Image()
	if !ok {
		return
	}
	here, isHere := v.destination.Store.BackingImage(name)
	there, isThere := v.source.Store.BackingImage(name)
	switch {
	case !isHere:
		v.found(v.base.Parent().String(), RuleImage, "it is not on lvstore %s", v.destination.Store.Name)
	case here.defect() != "":
		v.found(v.base.Parent().String(), RuleImage, "it %s on lvstore %s, so it cannot be used", here.defect(), v.destination.Store.Name)
	case isThere && there.difference(here) != "":
		v.found(v.base.Parent().String(), RuleImage, "it differs from the source's: %s", there.difference(here))
	}
}

// verifyClone compares the entry points of a linked clone and what they read.
func (v *verification) verifyClone() {
	if _, _, isClone := v.base.Clone(); !isClone {
		return
	}
	subject := v.base.Parent().String()
	here, err := v.destination.index.findCloneBase(v.base)
	switch {
	case err != nil:
		v.found(subject, RuleBase, "%v", err)
		return
	case here.entryPoint == notMade:
		v.found(subject, RuleBase, "entry point %s is not on lvstore %s", here.name(v.base), v.destination.Store.Name)
		return
	}
	ours, theirs := v.source.baseChain(v.base), v.destination.index.chain(here.replica, here.snapshot)
	if differ, _ := chainDifference(ours, theirs); ours != nil && differ != "" {
		v.found(subject, RuleBase, "it differs from the source's: %s", differ)
	}
}

func (v *verification) compare(s, d Snapshot) {
	if d.Lvol.Size != s.Lvol.Size {
		v.found(s.Name, RuleSize, "%d bytes instead of %d", d.Lvol.Size, s.Lvol.Size)
	}
	switch {
	case d.Lvol.Own.Count != s.Lvol.Own.Count:
		v.found(s.Name, RuleClusters, "%d clusters of its own instead of %d", d.Lvol.Own.Count, s.Lvol.Own.Count)
	case d.Lvol.Own.Proven() && s.Lvol.Own.Proven() && d.Lvol.Own != s.Lvol.Own:
		v.found(s.Name, RuleData, "map or checksum differs from the source's")
	}
	if v.source.Store.Records && v.destination.Store.Records && !d.Lvol.Attributes.Equal(s.Lvol.Attributes) {
		v.found(s.Name, RuleAttributes, "created at %s instead of %s, or by another creator", d.Lvol.Attributes.CreatedAt.UTC().Format("2006-01-02T15:04:05Z"), s.Lvol.Attributes.CreatedAt.UTC().Format("2006-01-02T15:04:05Z"))
	}
	right := RightParent(v.tree, s, v.base)
	if is := v.destination.ParentOf(d.Lvol); is != right {
		v.wrongParent(s, d, is, right)
	}
}

// wrongParent adds a violation; a graft repairs it if the right parent exists.
func (v *verification) wrongParent(s, d Snapshot, is, right Parent) {
	rule := RuleParent
	if _, isAncestor := v.tree.ParentOf(s); isAncestor {
		rule = RuleAncestorParent
	}
	v.violations = append(v.violations, Violation{
		Subject: s.Name, Rule: rule, Repairable: v.isThere(right),
		Detail: fmt.Sprintf("lvol %s has %s instead of %s", d.Lvol.Name, is.words(), right.words()),
	})
}

// isThere reports whether a right parent exists on the destination; then a graft is
// enough.
func (v *verification) isThere(right Parent) bool {
	ok := true
	if name, isImage := right.Image(); isImage {
		_, ok = v.destination.Store.BackingImage(name)
	} else if right.kind == parentClone {
		_, ok, _ = v.destination.Store.EntryPoint(v.base)
	} else if name, isSnapshot := right.Snapshot(); isSnapshot {
		_, ok = v.destination.Snapshot(name)
	}
	return ok
}

func verifyHead(source, destination Replica, base Base) ([]Violation, error) {
	tree, err := NewSnapshotTree(source)
	if err != nil {
		return nil, err
	}
	v := &verification{source: source, destination: destination, base: base, tree: tree}
	const subject = "head"
	head := destination.Head
	if head == nil {
		v.found(subject, RuleHead, "replica %s has none, so it is incomplete", destination.Name)
		return v.violations, nil
	}
	if is, right := destination.ParentOf(*head), RightHeadParent(tree, base); is != right {
		wrong := Violation{Subject: subject, Rule: RuleParent, Detail: fmt.Sprintf("it has %s instead of %s", is.words(), right.words())}
		if _, ok := tree.HeadParent(); !ok {
			wrong.Rule = RuleAncestorParent
			wrong.Repairable = v.isThere(right)
		}
		v.violations = append(v.violations, wrong)
	}
	if head.Size != source.Head.Size {
		v.found(subject, RuleSize, "%d bytes instead of %d", head.Size, source.Head.Size)
	}
	if head.Own.Count != source.Head.Own.Count {
		v.found(subject, RuleClusters, "%d clusters of its own instead of %d", head.Own.Count, source.Head.Own.Count)
	}
	if recorded := BaseOfRecord(head.Record); recorded.Known() && recorded != base {
		v.found(subject, RuleRecord, "it records %s instead of %s", recorded, base)
	}
	return v.violations, nil
}
