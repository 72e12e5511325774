package domain

import (
	"fmt"
	"slices"
	"strings"
)

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
