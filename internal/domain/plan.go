package domain

import "slices"

// Plan lists what a rebuild will do, as data: the same input gives the same plan,
// byte for byte. It has no names of in-flight lvols; the executor draws them.
type Plan struct {
	Base Base // the volume's base

	// Clone is the base of a linked clone on the store; the zero value for other volumes.
	Clone PlacedClone

	// Steps explain the plan to people: one per snapshot, with its reason.
	Steps []Step

	// Operations are the same, for an executor. They can be done one after the other
	// in this order; Stage and After say which may run at once.
	Operations []Operation

	// SystemSnapshot is the snapshot that must be taken of the source's head first.
	// If it is set, the plan is a preview: take the snapshot and plan again.
	SystemSnapshot *SystemSnapshot

	// Deletions are the destination's lvols that are deleted, the old head first.
	Deletions []Deletion

	Warnings []string
	Notices  []string // facts that are no fault, but worth knowing
}

// PlacedClone names the lvols of a linked clone's base on one store.
type PlacedClone struct {
	Replica    string // of the source volume
	EntryPoint string // on that replica's snapshot; perhaps the plan makes it
}

// Step is the part of a plan that concerns one snapshot, the image or the head.
type Step struct {
	Action   Action
	Snapshot string // name; "" for the image and the head
	Parent   Parent // after the rebuild
	Reason   string
	Clusters uint64 // how many are copied
	Deleted  uint64 // clusters of the deleted lvols

	Operations []int // positions in Plan.Operations
}

// Action is the kind of a step.
type Action string

// The actions of a plan.
const (
	ActionKeep       Action = "keep"        // proven identical, nothing to do
	ActionGraft      Action = "graft"       // proven identical, except for its parent
	ActionCopy       Action = "copy"        // copied anew; an lvol of that name is deleted first
	ActionRemove     Action = "remove"      // a leftover that the source does not have, deleted
	ActionFetchImage Action = "fetch-image" // the backing image is copied, too
	// ActionCreateEntryPoint makes the base of a linked clone on a snapshot that is there.
	ActionCreateEntryPoint Action = "create-entry-point"
	// ActionMoveEntryPoint gives an entry point on an old snapshot of the replica the new
	// copy as its parent.
	ActionMoveEntryPoint Action = "move-entry-point"
	ActionCreateHead     Action = "create-head" // a new head; the old one is deleted first

	// Of a rebuild under a live volume:
	ActionLeave Action = "leave" // a member that missed writes leaves the mirror
	ActionCut   Action = "cut"   // a snapshot of every member, and a live head over it that joins the mirror
	ActionLand  Action = "land"  // the live head moves onto the copy of that snapshot, and is the head
)

// Verb is a kind of change to a store. There are no others.
type Verb string

// The verbs. Rename and record are not among the six: they change neither data nor lineage.
const (
	VerbCreate Verb = "create" // an empty, thin, writable lvol without a parent
	VerbCopy   Verb = "copy"   // a source snapshot's own clusters into it
	VerbGraft  Verb = "graft"  // give an lvol its parent
	VerbSeal   Verb = "seal"   // turn an in-flight lvol into a snapshot
	VerbClone  Verb = "clone"  // the head
	VerbDelete Verb = "delete"
	VerbRename Verb = "rename" // give an lvol another name
	VerbRecord Verb = "record" // which image the head's volume has
)

// The verbs of a rebuild under a live volume, besides those.
const (
	VerbSnapshot      Verb = "snapshot"       // of a member's head, while it is written
	VerbExport        Verb = "export"         // an lvol to other hosts
	VerbGraftExternal Verb = "graft-external" // give an empty lvol a snapshot of another host as its parent
	VerbJoin          Verb = "join"           // a head becomes a member of the mirror
	VerbLeave         Verb = "leave"          // a member leaves the mirror
)

// Stage is a phase of a rebuild. A stage begins when the one before it has ended.
type Stage int

// The stages, in order. Since the old head is deleted first and the new one is
// created last, a replica with a head is whole at any moment. Detaching all
// snapshots that have a wrong parent before any graft makes cycles impossible.
// Deleting before creating makes final names and space free. What linked clones of other
// volumes read through is renamed instead, and deleted when they read the copies.
const (
	StageLeave      Stage = iota // takes lvols that lack writes out of the mirror, and deletes them
	StageRemoveHead              // deletes the old head
	StageDetach                  // takes kept snapshots off a wrong parent
	StageSetAside                // renames the snapshots that entry points read through and that are copied
	StagePrune                   // deletes everything else that does not stay, leaf first
	StagePrepare                 // creates an empty live head, which the mirror can see
	StageCut                     // in the freeze: cuts the members, and the live head joins
	StageBuild                   // creates, copies, grafts and seals
	StageReplace                 // grafts entry points onto the copies, and deletes the old snapshots
	StageCreateHead              // clones the new head
	StageLand                    // in the freeze: the live head is grafted onto the tree
	StageName                    // and gets its name
)

// Stages are all of them, in order.
var Stages = []Stage{StageLeave, StageRemoveHead, StageDetach, StageSetAside, StagePrune, StagePrepare, StageCut, StageBuild, StageReplace, StageCreateHead, StageLand, StageName}

// String is the stage's name.
func (s Stage) String() string {
	return [...]string{"leave", "remove-head", "detach", "set-aside", "prune", "prepare", "cut", "build", "replace", "create-head", "land", "name"}[s]
}

// Operation is one verb with its arguments, to be carried out on a store.
type Operation struct {
	Verb   Verb
	Stage  Stage
	After  []int // positions of operations of the same stage that must be done first
	Target Ref   // the lvol that it creates or changes
	Parent Ref   // graft, clone: the parent; the zero Ref is none

	// Name is the target's name: the new one (seal, clone, rename), or the one that it must
	// still have (delete, graft, record). "" for in-flight lvols.
	Name string

	OldName string // rename: the one that it must still have; "": an in-flight name of this run

	Size       uint64       // bytes; create and clone
	Source     Origin       // copy, seal: the lvol on the source that the target is a copy of
	Attributes Attributes   // seal
	Image      *ImageRecord // seal of an image
	Prove      bool         // seal of an image: both hosts report maps and checksums, so it is proven before it gets its name
	Record     string       // clone, record

	// Member is where a snapshot or an export takes place: the position of a member in
	// the plan's request, from 1. 0: the destination, as of all other verbs.
	Member int
}

// Origin is the lvol that a copy was made of.
type Origin struct {
	UUID     string // on the source
	Name     string
	Clusters uint64 // of its own, when the plan was made
}

func originOf(l Lvol) Origin { return Origin{l.UUID, l.Name, l.Own.Count} }

// Ref refers to an lvol in a plan: a listed one, by its UUID, or one that the plan
// creates. The zero Ref is no lvol.
type Ref struct {
	kind refKind
	id   string
}

type refKind int

const (
	refNone refKind = iota
	refListed
	refSnapshot
	refImage
	refEntryPoint
	refHead
	refCut
	refLive
	refLowest
)

// IsNone reports whether the Ref is no lvol.
func (r Ref) IsNone() bool { return r.kind == refNone }

// Listed returns the UUID of an lvol that existed when the plan was made.
func (r Ref) Listed() (uuid string, ok bool) { return r.id, r.kind == refListed }

// IsImage reports whether the Ref is the image that the plan fetches.
func (r Ref) IsImage() bool { return r.kind == refImage }

// IsEntryPoint reports whether the Ref is the entry point that the plan makes.
func (r Ref) IsEntryPoint() bool { return r.kind == refEntryPoint }

// String is unique in a plan.
func (r Ref) String() string {
	return [...]string{"none", "", "new snapshot ", "new image ", "new entry point ", "new head ", "new cut ", "new live head ", "lowest lvol below "}[r.kind] + r.id
}

// IsLive reports whether the Ref is the live head that the plan creates.
func (r Ref) IsLive() bool { return r.kind == refLive }

// LowestBelow returns the UUID of a live head if the Ref is the lowest lvol of its chain: the
// head, or the first snapshot that was taken of it since.
func (r Ref) LowestBelow() (head string, ok bool) { return r.id, r.kind == refLowest }

func listed(l Lvol) Ref { return Ref{refListed, l.UUID} }

// SystemSnapshot is a snapshot of the source's head, the only lvol that a rebuild
// creates on its source: SPDK copies from read-only lvols only, so the head's own
// clusters must become a snapshot first.
type SystemSnapshot struct {
	Head     Lvol
	Name     string // of the snapshot, without the replica's
	LvolName string // on the store

	// Warnings describe the consequences for other users of the head. The plan has
	// them, too; a plan that is made after the snapshot does not.
	Warnings []string
}

// CopiedClusters is the number of clusters that the plan copies, including the
// image's.
func (p Plan) CopiedClusters() uint64 {
	var n uint64
	for _, s := range p.Steps {
		n += s.Clusters
	}
	return n
}

// Changes reports whether the plan changes anything.
func (p Plan) Changes() bool { return len(p.Operations) > 0 || p.SystemSnapshot != nil }

// FetchesImage reports whether the plan copies the backing image.
func (p Plan) FetchesImage() bool {
	return slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Action == ActionFetchImage })
}

// Replaces reports whether entry points of linked clones are grafted onto copies.
func (p Plan) Replaces() bool {
	return slices.ContainsFunc(p.Operations, func(o Operation) bool { return o.Stage == StageReplace })
}

// DeletedLate are the UUIDs of the lvols that are deleted after the copies are verified,
// since entry points read through them until then.
func (p Plan) DeletedLate() map[string]bool {
	late := make(map[string]bool)
	for _, o := range p.Operations {
		if uuid, ok := o.Target.Listed(); ok && o.Stage == StageReplace && o.Verb == VerbDelete {
			late[uuid] = true
		}
	}
	return late
}

// SubjectOf returns the name of the snapshot that each operation belongs to, by
// position in Plan.Operations; "" for the image and the head.
func (p Plan) SubjectOf() []string {
	subjects := make([]string, len(p.Operations))
	for _, s := range p.Steps {
		for _, o := range s.Operations {
			subjects[o] = s.Snapshot
		}
	}
	return subjects
}
