package domain

import (
	"fmt"
	"slices"
	"strings"
)

// Image identifies the backing image of a volume: a name, none, or not known. The
// zero Image is "not known", which is not "none".
type Image struct {
	known bool
	name  string
}

// ImageNamed is the backing image of that name. An empty name gives the zero Image.
func ImageNamed(name string) Image { return Image{known: name != "", name: name} }

// NoImage means that the volume has no backing image.
func NoImage() Image { return Image{known: true} }

// Known reports whether the image is known: a name, or none.
func (i Image) Known() bool { return i.known }

// Name is the image's name; ok is false if there is none or it is not known.
func (i Image) Name() (name string, ok bool) { return i.name, i.known && i.name != "" }

// Parent is the right parent of the ancestor of a volume with that image.
func (i Image) Parent() Parent {
	if name, ok := i.Name(); ok {
		return Parent{parentImage, name}
	}
	return NoParent()
}

// Record is the text that is recorded on the volume's heads.
func (i Image) Record() string {
	switch {
	case !i.known:
		return ""
	case i.name == "":
		return RecordNoImage
	default:
		return i.name
	}
}

// String names the image in a sentence.
func (i Image) String() string {
	switch {
	case !i.known:
		return "an unknown backing image"
	case i.name == "":
		return "no backing image"
	default:
		return "backing image " + i.name
	}
}

func imageOfRecord(record string) Image {
	switch record {
	case "":
		return Image{}
	case RecordNoImage:
		return NoImage()
	default:
		return ImageNamed(record)
	}
}

// BackingImage is a read-only lvol that the replicas on one store share.
type BackingImage struct {
	Name string
	Lvol Lvol
}

// BackingImage finds the store's image of that name.
func (s Listing) BackingImage(name string) (BackingImage, bool) {
	want := ImageLvolName(name, s.UUID)
	for i := range s.Lvols {
		if l := &s.Lvols[i]; l.Name == want {
			return BackingImage{Name: name, Lvol: *l}, true
		}
	}
	return BackingImage{}, false
}

// imagesBeingFilled finds Longhorn's download of that image, and image copies that a
// rebuild fills or has left (their names do not show which image they are for).
func (s Listing) imagesBeingFilled(name string) []Lvol {
	var found []Lvol
	download := ImageLvolName(name, s.UUID) + imageTempSuffix
	for i := range s.Lvols {
		if l := &s.Lvols[i]; l.Name == download || IsImageInFlight(l.Name) {
			found = append(found, *l)
		}
	}
	slices.SortFunc(found, func(a, b Lvol) int { return strings.Compare(a.Name, b.Name) })
	return found
}

// defect says why an lvol with an image's name is not a usable image, "" if it is.
func (b BackingImage) defect() string {
	switch {
	case b.Lvol.Degraded:
		return "is degraded"
	case !b.Lvol.ReadOnly:
		return "is writable"
	case b.Lvol.External != "":
		return "reads through to external snapshot " + b.Lvol.External
	case b.Lvol.Image.Unready != "":
		return fmt.Sprintf("is recorded as %q", b.Lvol.Image.Unready)
	}
	return ""
}

// difference describes how two images of one name differ, "" if they do not. Values
// that only one side records are not compared.
func (b BackingImage) difference(other BackingImage) string {
	var differ []string
	say := func(what, ours, theirs string) {
		if ours != "" && theirs != "" {
			differ = append(differ, fmt.Sprintf("%s %s instead of %s", what, theirs, ours))
		}
	}
	if ours, theirs := b.Lvol.Image.UUID, other.Lvol.Image.UUID; ours != theirs {
		say("UUID", ours, theirs)
	}
	if ours, theirs := b.Lvol.Image.Checksum, other.Lvol.Image.Checksum; ours != theirs {
		say("checksum", shortChecksum(ours), shortChecksum(theirs))
	}
	if b.Lvol.Size != other.Lvol.Size {
		say("size", fmt.Sprint(b.Lvol.Size), fmt.Sprint(other.Lvol.Size))
	}
	if b.Lvol.Own.Proven() && other.Lvol.Own.Proven() && b.Lvol.Own != other.Lvol.Own && !b.allocatedDifferently(other) {
		differ = append(differ, "other bytes")
	}
	return strings.Join(differ, ", ")
}

// allocatedDifferently: an image that another program has imported may store zeros
// that this engine leaves out. Then only the records identify it.
func (b BackingImage) allocatedDifferently(other BackingImage) bool {
	return b.recordedEqual(other) && b.Lvol.Own.Count != other.Lvol.Own.Count
}

// shortChecksum is the beginning of a checksum, enough for people to compare.
func shortChecksum(checksum string) string {
	if len(checksum) > 16 {
		return checksum[:16] + "…"
	}
	return checksum
}

// recordedEqual reports whether the records identify the two as one image.
func (b BackingImage) recordedEqual(other BackingImage) bool {
	ours, theirs := b.Lvol.Image, other.Lvol.Image
	return ours.UUID != "" && ours.UUID == theirs.UUID || ours.Checksum != "" && ours.Checksum == theirs.Checksum
}

// evidence is one piece of information on a volume's image.
type evidence struct {
	source string
	image  Image
}

// imageEvidence collects the requested image, the records of the replicas' heads and
// the images in their lineages.
func imageEvidence(requested Image, replicas ...Replica) []evidence {
	var all []evidence
	if requested.Known() {
		all = append(all, evidence{"the request", requested})
	}
	for _, r := range replicas {
		if r.Head != nil {
			if recorded := imageOfRecord(r.Head.Record); recorded.Known() {
				all = append(all, evidence{"the record on head " + r.Head.Name, recorded})
			}
		}
		// A lineage without an image is no evidence: it may be the damage.
		for _, name := range r.images {
			all = append(all, evidence{"the lineage of replica " + r.Name, ImageNamed(name)})
		}
	}
	return all
}

// agreedImage is the image that all evidence agrees on, the zero Image if there is no
// evidence. A contradiction is refused; the error names both sides.
func agreedImage(all []evidence) (Image, error) {
	if len(all) == 0 {
		return Image{}, nil
	}
	first := all[0]
	for _, t := range all[1:] {
		if t.image != first.image {
			return Image{}, refuse("%s says %s, but %s says %s", first.source, first.image, t.source, t.image)
		}
	}
	if name, ok := first.image.Name(); ok {
		if err := CheckImageName(name); err != nil {
			return Image{}, refuse("%v", err)
		}
	}
	return first.image, nil
}

// ResolveImage identifies the volume's image from the requested image, the records on
// the heads, and the lineages. Refuses contradictions, and an image that is not
// known: an ancestor without a parent proves nothing, since a lost image looks the
// same. Replicas that are named as those of another volume than the first are ignored.
func ResolveImage(requested Image, replicas ...Replica) (Image, error) {
	image, err := agreedImage(imageEvidence(requested, sameVolume(replicas)...))
	if err == nil && !image.Known() {
		err = refuse("the volume's backing image is not known: no record or lineage identifies it, and an ancestor without a parent proves nothing; give the image's name, or say that there is none")
	}
	return image, err
}
