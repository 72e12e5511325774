// Package domain is the rule book: what replicas of SPDK volumes are, how one is
// rebuilt from another, and when it is right. It is pure. It does no I/O, reads
// no clock, starts no goroutine and logs nothing; what it is given is all that it
// knows.
//
// # The rule
//
// The ancestor's parent is the volume's backing image, always: that is the rule
// that the project exists for.
//
// A host's list of snapshots cannot say that the ancestor, the oldest
// snapshot, hangs on a backing image: its parent field is simply empty. An
// engine that copies that field loses the image, and every read that falls
// through the rebuilt ancestor returns zeros (longhorn/longhorn#10909).
//
// So the ancestor's parent is never copied. RightParent decides it, from what is
// known of the volume itself (ResolveImage).
//
// # Where to read on
//
// PlanRebuild (rebuild.go) goes from two listings to a Plan, as data. Apply
// (apply.go) plays its operations on a model of a store. Verify says what is
// wrong with a replica. proof_test.go plays every prefix of every order of every
// plan, and finds each safe.
package domain

// RightParent says on what a snapshot of a rebuilt replica has to hang:
// the ancestor on the volume's backing image, whatever the source reports,
// and every other snapshot on the copy of its parent in the source tree.
func RightParent(tree SnapshotTree, snapshot Snapshot, image Image) Parent {
	at, _ := tree.position(snapshot.Name)
	return tree.rightParentAt(at, image)
}

// rightParentAt is RightParent by position in the tree.
func (t *SnapshotTree) rightParentAt(at int, image Image) Parent {
	parent := t.parents[at]
	if parent == noParent { // the ancestor
		return image.Parent()
	}
	return Parent{parentSnapshot, t.names[parent]}
}

// RightHeadParent says on what the head has to hang: on the copy of its
// parent in the source tree or, where the replica has no snapshot, on what an
// ancestor would hang on.
func RightHeadParent(tree SnapshotTree, image Image) Parent {
	parent, ok := tree.HeadParent()
	if !ok {
		return image.Parent()
	}
	return parent.AsParent()
}

type parentKind int

const (
	parentNone parentKind = iota
	parentImage
	parentSnapshot
	parentForeign
	parentExternal
	parentUnknown
)

// Parent is what an lvol hangs on: the backing image, a snapshot of its
// replica, or nothing. A broken replica may hang on something else: an lvol of
// somebody else, one in flight, a snapshot outside of the lvstore; and the
// parent of a degraded lvol is unknown. These are Parents, too, which equal no
// right one: only what is known to hang on nothing has no parent. The type is
// closed: only an Image, a Snapshot or an Lvol that was listed can be turned
// into one, a string cannot.
type Parent struct {
	kind parentKind
	name string
}

// NoParent is the parent of an lvol that reads zeros where it has no clusters
// of its own.
func NoParent() Parent { return Parent{} }

// AsParent makes the snapshot a parent.
func (s Snapshot) AsParent() Parent { return Parent{parentSnapshot, s.Name} }

// AsForeignParent makes an lvol a parent that no rule asks for.
func (l Lvol) AsForeignParent() Parent { return Parent{parentForeign, l.Name} }

// externalParent is the parent of an lvol that no lvol of its store is the parent of.
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

// External returns the name of the bdev outside of the lvstore that the parent is.
func (p Parent) External() (bdev string, ok bool) { return p.name, p.kind == parentExternal }

// IsUnknown reports whether the host could not say what the parent is.
func (p Parent) IsUnknown() bool { return p.kind == parentUnknown }

// String is "backing-image:NAME", a snapshot's name, "lvol:NAME" or
// "external:BDEV" for what no replica should hang on, "unknown" where the host
// cannot say, or "" for no parent.
func (p Parent) String() string {
	switch p.kind {
	case parentImage:
		return "backing-image:" + p.name
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

// words is String for a sentence.
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
