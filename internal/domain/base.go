package domain

import "strings"

// Base identifies what the ancestor of a volume's replica has as its parent, on every
// host: a backing image, an entry point of a linked clone, or nothing. The zero Base is
// "not known", which is not "none".
//
// A linked clone is a volume that was cloned from a snapshot of another volume, the
// source volume, and shares that snapshot's data. On each host, its ancestor is a clone
// of an entry point (EntryPoint) on that snapshot of the source volume's replica there.
type Base struct {
	kind     baseKind
	name     string // of the image, or of the source volume
	snapshot string // of the source volume
}

type baseKind int

const (
	baseUnknown baseKind = iota
	baseNone
	baseImage
	baseClone
)

// ImageBase is the backing image of that name. An empty name gives the zero Base.
func ImageBase(name string) Base {
	if name == "" {
		return Base{}
	}
	return Base{kind: baseImage, name: name}
}

// CloneBase is a snapshot of another volume: the base of a linked clone. Both names are
// without a replica's: Longhorn's replicas of volume "vol-9" are named vol-9-r-… An empty
// name gives the zero Base.
func CloneBase(volume, snapshot string) Base {
	if volume == "" || snapshot == "" {
		return Base{}
	}
	return Base{baseClone, volume, snapshot}
}

// NoBase means that the ancestor of the volume has no parent.
func NoBase() Base { return Base{kind: baseNone} }

// Known reports whether the base is known: an image, a snapshot of another volume, or
// none.
func (b Base) Known() bool { return b.kind != baseUnknown }

// Any reports whether there is a base, and it is known.
func (b Base) Any() bool { return b.kind == baseImage || b.kind == baseClone }

// Image is the name of the backing image; ok is false if the base is not an image.
func (b Base) Image() (name string, ok bool) {
	if b.kind != baseImage {
		return "", false
	}
	return b.name, true
}

// Clone is the snapshot of another volume; ok is false if the volume is no linked clone.
func (b Base) Clone() (volume, snapshot string, ok bool) {
	if b.kind != baseClone {
		return "", "", false
	}
	return b.name, b.snapshot, true
}

// Parent is the right parent of the ancestor of a volume with that base.
func (b Base) Parent() Parent {
	switch b.kind {
	case baseImage:
		return Parent{parentImage, b.name}
	case baseClone:
		return Parent{parentClone, b.name + cloneSeparator + b.snapshot}
	default:
		return NoParent()
	}
}

// Record is the text that is recorded on the volume's heads: an image's name,
// "clone:VOLUME@SNAPSHOT", or RecordNoBase.
func (b Base) Record() string {
	switch b.kind {
	case baseUnknown:
		return ""
	case baseNone:
		return RecordNoBase
	case baseClone:
		return clonePrefix + b.name + cloneSeparator + b.snapshot
	default:
		return b.name
	}
}

// String names the base in a sentence.
func (b Base) String() string {
	switch b.kind {
	case baseUnknown:
		return "an unknown base"
	case baseNone:
		return "no backing image"
	case baseClone:
		return "snapshot " + b.snapshot + " of volume " + b.name
	default:
		return "backing image " + b.name
	}
}

// In records and parents, a base that is a clone is "clone:VOLUME@SNAPSHOT". No image has
// such a name (CheckImageName).
const (
	clonePrefix    = "clone:"
	cloneSeparator = "@"
)

// BaseOfRecord is the base that a record tells (Base.Record), the zero Base for "".
func BaseOfRecord(record string) Base {
	switch record {
	case "":
		return Base{}
	case RecordNoBase:
		return NoBase()
	}
	if clone, ok := strings.CutPrefix(record, clonePrefix); ok {
		if volume, snapshot, ok := strings.Cut(clone, cloneSeparator); ok {
			return CloneBase(volume, snapshot)
		}
	}
	return ImageBase(record)
}

// check returns an error if no volume can have that base.
func (b Base) check() error {
	switch b.kind {
	case baseImage:
		return CheckImageName(b.name)
	case baseClone:
		return checkCloneNames(b.name, b.snapshot)
	default:
		return nil
	}
}

// evidence is one piece of information on a volume's base.
type evidence struct {
	source string
	base   Base
}

// baseEvidence collects the requested base, the records of the replicas' heads and
// the bases in their lineages.
func baseEvidence(requested Base, replicas ...Replica) []evidence {
	var all []evidence
	if requested.Known() {
		all = append(all, evidence{"the request", requested})
	}
	for _, r := range replicas {
		if r.Head != nil {
			if recorded := BaseOfRecord(r.Head.Record); recorded.Known() {
				all = append(all, evidence{"the record on head " + r.Head.Name, recorded})
			}
		}
		// A lineage without a base is no evidence: it may be the damage.
		for _, base := range r.bases {
			all = append(all, evidence{"the lineage of replica " + r.Name, base})
		}
	}
	return all
}

// agreedBase is the base that all evidence agrees on, the zero Base if there is no
// evidence. A contradiction is refused; the error names both sides.
func agreedBase(all []evidence) (Base, error) {
	if len(all) == 0 {
		return Base{}, nil
	}
	first := all[0]
	for _, t := range all[1:] {
		if t.base != first.base {
			return Base{}, refuse("%s says %s, but %s says %s", first.source, first.base, t.source, t.base)
		}
	}
	if err := first.base.check(); err != nil {
		return Base{}, refuse("%v", err)
	}
	return first.base, nil
}

// ResolveBase identifies the volume's base from the requested one, the records on
// the heads, and the lineages. Refuses contradictions, and a base that is not
// known: an ancestor without a parent proves nothing, since a lost base looks the
// same. Replicas that are named as those of another volume than the first are ignored.
func ResolveBase(requested Base, replicas ...Replica) (Base, error) {
	replicas = sameVolume(replicas)
	all := baseEvidence(requested, replicas...)
	base, err := knownBase(all)
	if len(all) > 0 {
		return base, err
	}
	for _, r := range replicas {
		if _, direct := r.withoutEntryPoint(); direct.Known() {
			return Base{}, refuse("the volume's base is not known: the ancestor of replica %s is a clone of %s itself; if the volume is a linked clone of it, repair that replica, which makes the entry point between them, or give the base (--base %s)", r.located(), direct, direct.Record())
		}
	}
	return base, err
}

// refuseOwn refuses a snapshot of the replica's own volume: an entry point on it would read
// itself, or the volume would be its own linked clone.
func (b Base) refuseOwn(replica string) error {
	if volume, _, isClone := b.Clone(); isClone && volume == volumeOf(replica) {
		return refuse("%s is no base of replica %s, which is of the same volume", b, replica)
	}
	return nil
}

// knownBase is agreedBase that refuses a base that is not known.
func knownBase(all []evidence) (Base, error) {
	base, err := agreedBase(all)
	if err == nil && !base.Known() {
		err = refuse("the volume's base is not known: no record or lineage identifies it, and an ancestor without a parent proves nothing; give the base: a backing image, a snapshot of another volume, or none")
	}
	return base, err
}
