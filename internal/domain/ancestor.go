// Package domain holds the rules: what a replica of an SPDK volume is, how it is
// rebuilt from another one, and when it is correct. It is pure: it does no I/O,
// reads no clock, starts no goroutine and logs nothing.
//
// # The rule
//
// The ancestor's parent is the volume's base on its host, always, whatever the source
// reports: that is the rule that the project exists for. The base is a backing image or,
// of a linked clone, an entry point on a snapshot of another volume (Base).
//
// A host's list of snapshots does not show that the ancestor, the oldest
// snapshot, has a base as its parent: the parent field is empty. An
// engine that copies that field loses the base, and every read that falls
// through the rebuilt ancestor returns zeros (longhorn/longhorn#10909).
//
// So the ancestor's parent is never copied. RightParent decides it from the
// volume's base (ResolveBase).
//
// # Where to read on
//
// PlanRebuild (rebuild.go) turns two listings into a Plan, as data. Apply
// (model.go) plays its operations on a model of a store. Verify lists what is
// wrong with a replica. proof_test.go plays every prefix of every order of every
// plan and checks that each is safe.
package domain

// RightParent returns the parent that a snapshot of a rebuilt replica must have:
// for the ancestor the volume's base, whatever the source reports, and
// for every other snapshot the copy of its parent in the source tree.
func RightParent(tree SnapshotTree, snapshot Snapshot, base Base) Parent {
	at, _ := tree.position(snapshot.Name)
	return tree.rightParentAt(at, base)
}

// rightParentAt is RightParent by position in the tree.
func (t *SnapshotTree) rightParentAt(at int, base Base) Parent {
	parent := t.parents[at]
	if parent == noParent { // the ancestor
		return base.Parent()
	}
	return Parent{parentSnapshot, t.names[parent]}
}

// RightHeadParent returns the parent that the head must have: the copy of its
// parent in the source tree or, if the replica has no snapshot, the parent that
// an ancestor would have.
func RightHeadParent(tree SnapshotTree, base Base) Parent {
	parent, ok := tree.HeadParent()
	if !ok {
		return base.Parent()
	}
	return parent.AsParent()
}

type parentKind int

const (
	parentNone parentKind = iota
	parentImage
	parentClone
	parentSnapshot
	parentForeign
	parentExternal
	parentUnknown
)

// Parent is the parent of an lvol: the base of its volume, a snapshot of its replica,
// or none. In a broken replica it may be a foreign lvol, an in-flight lvol or a
// snapshot outside of the lvstore, and the parent of a degraded lvol is unknown.
// None of these equals a right parent. The type is closed: only a Base, a
// Snapshot or a listed Lvol can be turned into a Parent, a string cannot.
type Parent struct {
	kind parentKind
	name string
}

// NoParent is the parent of an lvol that reads zeros where it has no clusters
// of its own.
func NoParent() Parent { return Parent{} }

// AsParent makes the snapshot a parent.
func (s Snapshot) AsParent() Parent { return Parent{parentSnapshot, s.Name} }

// AsForeignParent makes an lvol a parent that is never a right one.
func (l Lvol) AsForeignParent() Parent { return Parent{parentForeign, l.Name} }

// externalParent is the parent of an lvol whose parent is not an lvol of its store.
func (l *Lvol) externalParent() Parent {
	switch {
	case l.Degraded:
		return Parent{kind: parentUnknown}
	case l.External != "":
		return Parent{parentExternal, l.External}
	default:
		return NoParent()
	}
}

// IsNone reports whether there is no parent.
func (p Parent) IsNone() bool { return p.kind == parentNone }

// Snapshot returns the name of the snapshot that the parent is.
func (p Parent) Snapshot() (name string, ok bool) { return p.name, p.kind == parentSnapshot }

// Image returns the name of the backing image that the parent is.
func (p Parent) Image() (name string, ok bool) { return p.name, p.kind == parentImage }

// IsBase reports whether the parent is the base of a volume: a backing image, or the entry
// point of a linked clone.
func (p Parent) IsBase() bool { return p.kind == parentImage || p.kind == parentClone }

// External returns the name of the bdev outside of the lvstore that the parent is.
func (p Parent) External() (bdev string, ok bool) { return p.name, p.kind == parentExternal }

// IsUnknown reports whether the host cannot tell the parent.
func (p Parent) IsUnknown() bool { return p.kind == parentUnknown }

// String is "backing-image:NAME", "clone:VOLUME@SNAPSHOT" or a snapshot's name for a valid parent,
// "lvol:NAME" or "external:BDEV" for one that no replica should have, "unknown"
// if the host cannot tell it, or "" for no parent.
func (p Parent) String() string {
	switch p.kind {
	case parentImage:
		return "backing-image:" + p.name
	case parentClone:
		return clonePrefix + p.name
	case parentForeign:
		return "lvol:" + p.name
	case parentExternal:
		return "external:" + p.name
	case parentUnknown:
		return "unknown"
	default:
		return p.name
	}
}

// words is String, phrased for a sentence.
func (p Parent) words() string {
	switch p.kind {
	case parentNone:
		return "no parent"
	case parentExternal:
		return "external snapshot " + p.name
	case parentUnknown:
		return "an unknown parent"
	default:
		return p.String()
	}
}
