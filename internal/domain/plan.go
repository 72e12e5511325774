package domain

// Plan is what a rebuild will do, as data: the same input gives the same plan,
// byte for byte. Names of in-flight lvols are not in it, whoever carries the
// plan out draws them.
type Plan struct {
	Image Image // what the ancestor hangs on in the end

	// Steps tell the plan to people: one a snapshot, with its reason.
	Steps []Step

	// Operations are the same, to be carried out. They are listed in an order
	// in which they can be done one after the other; Stage and After say which
	// may be done at once.
	Operations []Operation

	// SystemSnapshot is the snapshot that the source's head needs first. With
	// one the plan cannot be carried out yet, only looked at: take the
	// snapshot and plan again.
	SystemSnapshot *SystemSnapshot

	// Deletions are the destination's lvols that go, the old head first.
	Deletions []Deletion

	Warnings []string
	Notices  []string // what is no fault, but worth knowing
}

// Step is the part of a plan that concerns one snapshot, the image or the head.
type Step struct {
	Action   Action
	Snapshot string // name; "" for the image and the head
	Parent   Parent // what it hangs on in the end
	Reason   string
	Clusters uint64 // how many are copied
	Deleted  uint64 // clusters of the lvols that go

	Operations []int // positions in Plan.Operations
}

// Action is what a step does.
type Action string

// The actions of a plan.
const (
	ActionKeep       Action = "keep"        // proven identical, nothing to do
	ActionGraft      Action = "graft"       // proven identical, but for its parent
	ActionCopy       Action = "copy"        // filled anew; an lvol that has the name goes first
	ActionRemove     Action = "remove"      // a leftover that the source does not have
	ActionFetchImage Action = "fetch-image" // the backing image is copied, too
	ActionCreateHead Action = "create-head" // a new head; the old one goes first
)

// Verb is one of the few things that are ever done to a store.
type Verb string

// The verbs. Record is besides the six: it changes no lvol's data or lineage.
const (
	VerbCreate Verb = "create" // an empty, thin, writable lvol without a parent
	VerbCopy   Verb = "copy"   // a source snapshot's own clusters into it
	VerbGraft  Verb = "graft"  // give an lvol its parent
	VerbSeal   Verb = "seal"   // turn an in-flight lvol into a snapshot
	VerbClone  Verb = "clone"  // the head
	VerbDelete Verb = "delete"
	VerbRecord Verb = "record" // which image the head's volume has
)

// Stage is a part of a rebuild. A stage begins when the one before it is over.
type Stage int

// The stages, in order. Since the old head is deleted first and the new one is
// created last, a replica with a head is whole at any moment. Detaching all
// snapshots that have a wrong parent before any graft makes cycles impossible.
// Deleting before creating makes final names and space free.
const (
	StageRemoveHead Stage = iota // deletes the old head
	StageDetach                  // takes kept snapshots off a wrong parent
	StagePrune                   // deletes everything else that does not stay, leaf first
	StageBuild                   // creates, copies, grafts and seals
	StageCreateHead              // clones the new head
)

// String is the stage's name.
func (s Stage) String() string {
	return [...]string{"remove-head", "detach", "prune", "build", "create-head"}[s]
}

// Operation is one verb, ready to be carried out through a store's port.
type Operation struct {
	Verb   Verb
	Stage  Stage
	After  []int // positions of operations of the same stage that come first
	Target Ref   // the lvol that it makes or changes
	Parent Ref   // graft, clone: the parent; the zero Ref is none

	// Name is the target's name: the one it gets (seal, clone), or the one it
	// has and must still have (delete, graft, record). "" for lvols in flight.
	Name string

	Size       uint64       // bytes; create and clone
	Source     Origin       // copy, seal: the lvol on the source that it is the copy of
	Attributes Attributes   // seal
	Image      *ImageRecord // seal of an image
	Prove      bool         // seal of an image: both hosts tell maps and checksums, so it is proven before it has its name
	Record     string       // clone, record
}

// Origin is what a copy is the copy of.
type Origin struct {
	UUID     string // on the source
	Name     string
	Clusters uint64 // of its own, when it was planned
}

func originOf(l Lvol) Origin { return Origin{l.UUID, l.Name, l.Own.Count} }

// Ref names an lvol in a plan: one that was listed, by its UUID, or one that
// the plan makes. The zero Ref is no lvol.
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
	refHead
)

// IsNone reports whether the Ref is no lvol.
func (r Ref) IsNone() bool { return r.kind == refNone }

// Listed returns the UUID of an lvol that was there when the plan was made.
func (r Ref) Listed() (uuid string, ok bool) { return r.id, r.kind == refListed }

// IsImage reports whether the Ref is the image that the plan fetches.
func (r Ref) IsImage() bool { return r.kind == refImage }

// String is unique in a plan.
func (r Ref) String() string {
	return [...]string{"none", "", "new snapshot ", "new image ", "new head "}[r.kind] + r.id
}

func listed(l Lvol) Ref { return Ref{refListed, l.UUID} }

// SystemSnapshot is the one thing that a rebuild may create on its source:
// SPDK copies from read-only lvols only, so what the head has written itself
// has to become a snapshot first.
type SystemSnapshot struct {
	Head     Lvol
	Name     string // of the snapshot, without the replica's
	LvolName string // on the store

	// Warnings say what it means for those who know the head. They are among the
	// plan's, too; a plan that is made after it does not have them any more.
	Warnings []string
}

// CopiedClusters is how many clusters the plan copies, the image's included.
func (p Plan) CopiedClusters() uint64 {
	var n uint64
	for _, s := range p.Steps {
		n += s.Clusters
	}
	return n
}

// Changes reports whether the plan changes anything at all.
func (p Plan) Changes() bool { return len(p.Operations) > 0 || p.SystemSnapshot != nil }

// FetchesImage reports whether the plan copies the backing image, too.
func (p Plan) FetchesImage() bool {
	for _, s := range p.Steps {
		if s.Action == ActionFetchImage {
			return true
		}
	}
	return false
}

// SubjectOf is the name of the snapshot that each operation is about, by
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
