package domain

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// ImageImport describes a backing image that is to be imported into a store.
type ImageImport struct {
	Name     string
	UUID     string  // of the image, the same on every host
	Size     uint64  // bytes of the image itself
	Clusters uint64  // number of clusters that are not all zero: those that are written
	Reserve  float64 // percentage of the store that stays free
	Taken    uint64  // free clusters that other runs there will still allocate
}

// maxImageSize is the maximum size of a backing image in bytes, that of a volume.
const maxImageSize = 64 << 40

// CheckImageImport refuses an image that cannot be imported into the store. Before the
// image was read, Clusters is 0 and the free space is not checked.
func CheckImageImport(store Listing, i ImageImport) error {
	if err := CheckImageName(i.Name); err != nil {
		return refuse("%v", err)
	}
	if !IsImageUUID(i.UUID) {
		return refuse("image UUID %q: expected 32 hex digits as 8-4-4-4-12, in lower case", i.UUID)
	}
	switch {
	case i.Size == 0:
		return refuse("image %s is empty", i.Name)
	case i.Size > maxImageSize:
		return refuse("image %s has %d bytes, expected at most %d", i.Name, i.Size, uint64(maxImageSize))
	case store.ClusterSize == 0:
		return refuse("lvstore %s reports no cluster size", store.Name)
	}
	name := ImageLvolName(i.Name, store.UUID)
	if store.NameLimit > 0 && len(name) > store.NameLimit {
		return refuse("lvol name %s has %d bytes, lvstore %s takes at most %d: the image's name may have %d", name, len(name), store.Name, store.NameLimit, store.NameLimit-len(ImageLvolName("", store.UUID)))
	}
	for _, l := range store.Lvols {
		switch l.Name {
		case name:
			return refuse("backing image %s is already on lvstore %s", i.Name, store.Name)
		case name + imageTempSuffix:
			return refuse("lvol %s on lvstore %s: a download of image %s is in progress", l.Name, store.Name, i.Name)
		}
	}
	reserve, err := Reserve(store, i.Reserve)
	if err != nil {
		return err
	}
	if i.Clusters > 0 && i.Clusters+reserve+i.Taken > store.FreeClusters {
		return refuse("lvstore %s has too little space: image %s needs %d clusters and %d stay in reserve, but %d are free%s", store.Name, i.Name, i.Clusters, reserve, store.FreeClusters, takenText(i.Taken))
	}
	return nil
}

// ImageRunName is the replica name (ports.Run) of a run that imports or reads that
// image. No replica can have this name: it ends like an in-flight lvol's.
func ImageRunName(image string) string { return imagePrefix + image + inFlightSuffix }

// IsImageUUID reports whether an image can have that UUID: 8-4-4-4-12 hex digits in
// lower case, as hosts write them.
func IsImageUUID(s string) bool {
	parts := strings.Split(s, "-")
	if len(parts) != 5 {
		return false
	}
	for i, length := range []int{8, 4, 4, 4, 12} {
		if len(parts[i]) != length || strings.Trim(parts[i], "0123456789abcdef") != "" {
			return false
		}
	}
	return true
}

// CheckSHA512 checks that text is a SHA-512 in hex digits and returns it in lower case,
// as hosts record it.
func CheckSHA512(text string) (string, error) {
	sum, err := hex.DecodeString(text)
	if err != nil || len(sum) != 64 {
		return "", fmt.Errorf("SHA-512 %q: expected 128 hex digits", text)
	}
	return hex.EncodeToString(sum), nil
}

// Images lists the backing images on a store, including those in flight.
func (s Listing) Images() []ImageOnStore {
	clones := make(map[string]int)
	for _, l := range s.Lvols {
		if l.Parent != "" {
			clones[l.Parent]++
		}
	}
	var found []ImageOnStore
	for _, l := range s.Lvols {
		i := ImageOnStore{Lvol: l, Clones: clones[l.UUID]}
		switch name, whole := ImageOfLvolName(l.Name, s.UUID); {
		case whole:
			i.Name, i.State = name, stateOf(l)
		case IsImageInFlight(l.Name):
			i.State = ImageInFlight
		default:
			name, temp := strings.CutSuffix(l.Name, imageTempSuffix)
			if name, ok := ImageOfLvolName(name, s.UUID); temp && ok {
				i.Name, i.State = name, ImageDownloading
				break
			}
			continue
		}
		found = append(found, i)
	}
	return found
}

// stateOf is the state of an lvol with an image's final name.
func stateOf(l Lvol) ImageState {
	switch outside := l.externalParent(); {
	case outside.IsUnknown():
		return ImageDegraded
	case !outside.IsNone():
		return ImageExternal
	case !l.ReadOnly:
		return ImageWritable
	case l.Image.Unready != "":
		return ImageUnready
	}
	return ImageReady
}

// ImageOnStore is one backing image on a store.
type ImageOnStore struct {
	Name   string // "" of one in flight: its lvol name does not contain it
	Lvol   Lvol
	State  ImageState
	Clones int // number of lvols whose parent it is
}

// ImageState is the state of a backing image.
type ImageState string

// The states of an image.
const (
	ImageReady       ImageState = "ready"
	ImageWritable    ImageState = "writable"    // it has a final name, but is no snapshot: neither Longhorn nor this engine made it
	ImageUnready     ImageState = "unready"     // its maker recorded that it is not finished (ImageRecord.Unready)
	ImageExternal    ImageState = "external"    // it reads through to a bdev outside of the lvstore
	ImageDegraded    ImageState = "degraded"    // it reads through to a bdev that is missing
	ImageInFlight    ImageState = "in-flight"   // a rebuild or an import fills it, or has left it
	ImageDownloading ImageState = "downloading" // Longhorn fills it
)

// CompareViews compares the bytes that readers of two replicas see, as SHA-256 in hex
// by UUID. It finds differences that maps and checksums cannot prove. A source that
// has lost its image shows zeros in place of the image's bytes, so it is not compared.
func CompareViews(source, destination Replica, base Base, onSource, onDestination map[string]string) []Violation {
	if source.Hurt(base) {
		return nil
	}
	var found []Violation
	compare := func(subject string, s, d Lvol) {
		if ours, theirs := onSource[s.UUID], onDestination[d.UUID]; ours == "" || ours != theirs {
			found = append(found, Violation{Subject: subject, Rule: RuleData, Detail: fmt.Sprintf("its bytes differ from the source's: SHA-256 %q instead of %q", shortChecksum(theirs), shortChecksum(ours))})
		}
	}
	for _, s := range source.Snapshots {
		if d, ok := destination.Snapshot(s.Name); ok { // Verify reports a missing one
			compare(s.Name, s.Lvol, d.Lvol)
		}
	}
	if source.Head != nil && destination.Head != nil {
		compare("head", *source.Head, *destination.Head)
	}
	return found
}
