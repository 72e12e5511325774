package scenario

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rootgraft/rebuild/imagefile"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// ImageUUID is the UUID of the volume's backing image of that name, on every host.
func ImageUUID(name string) string { return derivedUUID("backing image " + name) }

// otherImageUUID is the UUID of another image of the same name.
func otherImageUUID(name string) string { return derivedUUID("another backing image " + name) }

// derivedUUID is a UUID of version 8 (custom) that depends on the text only.
func derivedUUID(from string) string {
	b := sha256.Sum256([]byte(from))
	b[6] = b[6]&0x0f | 0x80
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// addSourceImage adds the volume's image to the source's host.
func (s *Scenario) addSourceImage(l *layout) (err error) {
	if s.Image == nil {
		if s.Source.Hurt {
			return s.errorAt("source.hurt", "expected false, since there is no backingImage to lose")
		}
		return nil
	}
	if err := checkName(s.Image.Name, domain.CheckImageName); err != nil {
		return s.errorAt("backingImage.name", "%v", err)
	}
	size, from := s.Image.Size, content{writes: s.Image.Writes}
	field := "backingImage.size"
	if s.Image.File != "" {
		field = "backingImage.file"
		from = content{file: s.origin.path(s.Image.File)}
		if size, err = s.imageFileSize(from.file); err != nil {
			return err
		}
		size = roundUp(size, l.clusterSize)
	}
	if err := checkSize(size, l.clusterSize, "cluster size"); err != nil {
		return s.errorAt(field, "%v", err)
	}
	if size > s.Volume.Size {
		return s.errorAt(field, "expected at most the volume's size %s, got %s", formatSize(s.Volume.Size), formatSize(size))
	}
	l.image, err = l.add(s, s.imageLvol("backingImage", SourceStoreUUID, size, from), "backingImage.name")
	if err == nil {
		l.lvols[l.image].seal.Image.UUID = ImageUUID(s.Image.Name)
	}
	return err
}

// imageFileSize checks the file of an image and returns the size of the image.
func (s *Scenario) imageFileSize(path string) (uint64, error) {
	const field = "backingImage.file"
	shown := quote(s.Image.File)
	if s.Image.Size != 0 || s.Image.Writes != nil {
		return 0, s.errorAt(field, "expected either file, or size and writes, got both")
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return 0, s.errorAt(field, "%s cannot be read: %v", shown, withoutPath(err))
	case info.IsDir():
		return 0, s.errorAt(field, "expected a file, but %s is a directory", shown)
	case !info.Mode().IsRegular():
		return 0, s.errorAt(field, "expected a file, but %s is not a regular file", shown)
	case info.Size() == 0:
		return 0, s.errorAt(field, "expected a file that is not empty, but %s is empty", shown)
	case info.Size() > maxWritten:
		return 0, s.errorAt(field, "expected a file of at most %s, but %s has %s", formatSize(maxWritten), shown, formatSize(uint64(info.Size())))
	}
	file, err := s.openImageFile(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = file.Close() }() // it was only read
	if file.Size > maxWritten {
		return 0, s.errorAt(field, "expected an image of at most %s, but %s has %s", formatSize(maxWritten), shown, formatSize(file.Size))
	}
	return file.Size, nil
}

// openImageFile opens the file of an image as engine image import does: qcow2 is decoded.
func (s *Scenario) openImageFile(path string) (*imagefile.File, error) {
	file, err := imagefile.Open(context.Background(), path, "")
	switch _, unreadable := errors.AsType[*os.PathError](err); {
	case unreadable:
		return nil, s.errorAt("backingImage.file", "%s cannot be read: %v", quote(s.Image.File), withoutPath(err))
	case err != nil:
		return nil, s.errorAt("backingImage.file", "%s %v", quote(s.Image.File), errors.Unwrap(err)) // without the path
	}
	return file, nil
}

// addDestinationImage adds the volume's image, or another one of the same name, to the
// destination's host.
func (s *Scenario) addDestinationImage(l, source *layout) (err error) {
	other := s.Destination.OtherImage
	switch {
	case other != nil && s.Destination.ImageAbsent:
		return s.errorAt("destination.image", "expected either no image or another one, got both")
	case other != nil && s.Image == nil:
		return s.errorAt("destination.image", "expected present or absent, since there is no backingImage")
	case s.Image == nil || s.Destination.ImageAbsent:
		return nil
	}
	original := &source.lvols[source.image]
	// A host rounds up to its own clusters, which may be larger.
	v := s.imageLvol("destination.image", DestinationStoreUUID, roundUp(original.size, l.clusterSize), content{like: original})
	v.seal.Image = original.seal.Image
	if other != nil {
		if v, err = s.otherImage(v, *other, l.clusterSize); err != nil {
			return err
		}
	}
	l.image, err = l.add(s, v, "backingImage.name")
	return err
}

// otherImage turns the lvol of the volume's image into that of another one.
func (s *Scenario) otherImage(v lvol, other OtherImage, clusterSize uint64) (lvol, error) {
	if err := checkImageUUID(other.UUID); err != nil {
		return v, s.errorAt("destination.image.uuid", "%v", err)
	}
	if other.UUID == "" {
		other.UUID = otherImageUUID(s.Image.Name)
	}
	v.seal.Image = &domain.ImageRecord{UUID: other.UUID}
	if other.Size != 0 {
		v.size = other.Size
	}
	if err := checkSize(v.size, clusterSize, "destination's cluster size"); err != nil {
		return v, s.errorAt("destination.image.size", "%v", err)
	}
	if other.Writes != nil {
		v.content = content{writes: other.Writes}
	}
	return v, nil
}

func (s *Scenario) imageLvol(field, storeUUID string, size uint64, from content) lvol {
	return lvol{
		field:    field,
		label:    s.Image.Name,
		name:     domain.ImageLvolName(s.Image.Name, storeUUID),
		parent:   noLvol,
		size:     size,
		readOnly: true,
		seal:     ports.SealRecord{Image: &domain.ImageRecord{}},
		content:  from,
	}
}

// path resolves a path in the file.
func (o origin) path(given string) string {
	if filepath.IsAbs(given) {
		return given
	}
	return filepath.Join(o.dir, given)
}
