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

// imageBase is the base of a volume with that image, or without one.
func imageBase(image *BackingImage) domain.Base {
	if image == nil {
		return domain.NoBase()
	}
	return domain.ImageBase(image.Name)
}

// addImage adds the image that a field describes, if there is one.
func (s *Scenario) addImage(l *layout, image *BackingImage, field string) (err error) {
	if image == nil {
		return nil
	}
	if err := checkName(image.Name, domain.CheckImageName); err != nil {
		return s.errorAt(field+".name", "%v", err)
	}
	size, from := image.Size, content{writes: image.Writes}
	sizeField := field + ".size"
	if image.File != "" {
		sizeField = field + ".file"
		from = content{file: &diskFile{sizeField, image.File, s.origin.path(image.File)}}
		if image.Size != 0 || image.Writes != nil {
			return s.errorAt(sizeField, "expected either file, or size and writes, got both")
		}
		if size, err = s.imageFileSize(*from.file); err != nil {
			return err
		}
		size = roundUp(size, s.clusterSize())
	}
	if err := s.checkSizeInVolume(sizeField, size); err != nil {
		return err
	}
	v := l.imageLvol(field, image.Name, size, from)
	v.seal.Image.UUID = ImageUUID(image.Name)
	l.base, err = l.add(s, v, field+".name")
	return err
}

// diskFile is the file of an image.
type diskFile struct{ field, given, path string }

// imageFileSize checks the file of an image and returns the size of the image.
func (s *Scenario) imageFileSize(f diskFile) (uint64, error) {
	shown := quote(f.given)
	info, err := os.Stat(f.path)
	switch {
	case err != nil:
		return 0, s.errorAt(f.field, "%s cannot be read: %v", shown, withoutPath(err))
	case info.IsDir():
		return 0, s.errorAt(f.field, "expected a file, but %s is a directory", shown)
	case !info.Mode().IsRegular():
		return 0, s.errorAt(f.field, "expected a file, but %s is not a regular file", shown)
	case info.Size() == 0:
		return 0, s.errorAt(f.field, "expected a file that is not empty, but %s is empty", shown)
	case info.Size() > maxWritten:
		return 0, s.errorAt(f.field, "expected a file of at most %s, but %s has %s", formatSize(maxWritten), shown, formatSize(uint64(info.Size())))
	}
	file, err := s.openImageFile(f)
	if err != nil {
		return 0, err
	}
	defer func() { _ = file.Close() }() // it was only read
	if file.Size > maxWritten {
		return 0, s.errorAt(f.field, "expected an image of at most %s, but %s has %s", formatSize(maxWritten), shown, formatSize(file.Size))
	}
	return file.Size, nil
}

// openImageFile opens the file of an image as engine image import does: qcow2 is decoded.
func (s *Scenario) openImageFile(f diskFile) (*imagefile.File, error) {
	file, err := imagefile.Open(context.Background(), f.path, "")
	switch _, unreadable := errors.AsType[*os.PathError](err); {
	case unreadable:
		return nil, s.errorAt(f.field, "%s cannot be read: %v", quote(f.given), withoutPath(err))
	case err != nil:
		return nil, s.errorAt(f.field, "%s %v", quote(f.given), errors.Unwrap(err)) // without the path
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
	original := &source.lvols[source.base]
	v := l.imageLvol("destination.image", s.Image.Name, original.size, content{like: original})
	v.seal.Image = original.seal.Image
	if other != nil {
		if v, err = s.otherImage(v, *other, l.clusterSize); err != nil {
			return err
		}
	}
	l.base, err = l.add(s, v, "backingImage.name")
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

// imageLvol is an image on the host, which rounds up to its own clusters.
func (l *layout) imageLvol(field, name string, size uint64, from content) lvol {
	return lvol{
		field:    field,
		label:    name,
		name:     domain.ImageLvolName(name, l.storeUUID),
		parent:   noLvol,
		size:     roundUp(size, l.clusterSize),
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
