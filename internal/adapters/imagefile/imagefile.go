// Package imagefile reads disk images from files: raw ones, and qcow2.
package imagefile

import (
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/lima-vm/go-qcow2reader/image"
	"github.com/lima-vm/go-qcow2reader/image/qcow2"
)

// Format is what a file is.
type Format string

// The formats that are read.
const (
	Raw   Format = "raw"
	Qcow2 Format = "qcow2"
)

// File is an open disk image. It reads as a guest would see it.
type File struct {
	io.ReaderAt
	Format Format
	Size   uint64 // bytes of the image, which for qcow2 are not the file's

	file *os.File
	info os.FileInfo
}

// Open opens an image. Whatever is not a format that is known to be something else is
// raw, as everywhere. The error says what the file is, where that is known, and
// what was expected.
func Open(path string) (*File, error) {
	// A directory or a pipe is looked at before it is opened: to open a pipe waits.
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	switch mode := info.Mode(); {
	case mode.IsDir():
		return nil, fmt.Errorf("%s is a directory, expected a disk image, raw or qcow2", path)
	case !mode.IsRegular():
		return nil, fmt.Errorf("%s is no regular file, expected a disk image, raw or qcow2", path)
	case info.Size() == 0:
		return nil, fmt.Errorf("%s is empty, expected a disk image, raw or qcow2", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	f := &File{ReaderAt: file, Format: Raw, Size: uint64(info.Size()), file: file, info: info}
	if err := f.recognize(); err != nil {
		_ = file.Close() // nothing was written
		return nil, fmt.Errorf("%s %w", path, err)
	}
	return f, nil
}

// Close closes the file.
func (f *File) Close() error { return f.file.Close() }

// SHA512 is that of the file's own bytes, in hex digits: what sha512sum prints, and
// what is published with an image. For a raw image it is that of the content, too.
func (f *File) SHA512(ctx context.Context) (string, error) {
	sum := sha512.New()
	part := make([]byte, 4<<20)
	for offset := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return "", context.Cause(ctx)
		}
		n, err := f.file.ReadAt(part, offset)
		_, _ = sum.Write(part[:n]) // never fails
		offset += int64(n)
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(sum.Sum(nil)), nil
		}
		if err != nil {
			return "", err
		}
	}
}

// Files that are not read as what they hold. The first bytes tell.
var others = []struct{ magic, is string }{
	{"KDMV", "a VMDK image"},
	{"# Disk DescriptorFile", "a VMDK descriptor"},
	{"vhdxfile", "a VHDX image"},
	{"conectix", "a VHD image"},
	{"<<< ", "a VDI image"},
	{"WithoutFreeSpace", "a Parallels image"},
	{"WithouFreSpacExt", "a Parallels image"},
	{"QED\x00", "a QED image"},
	{"\x1f\x8b", "compressed by gzip: unpack it first"},
	{"\xfd7zXZ\x00", "compressed by xz: unpack it first"},
	{"\x28\xb5\x2f\xfd", "compressed by zstd: unpack it first"},
	{"BZh", "compressed by bzip2: unpack it first"},
	{"PK\x03\x04", "a zip archive: unpack it first"},
}

func (f *File) recognize() error {
	head := make([]byte, 512)
	n, err := f.file.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("cannot be read: %w", err)
	}
	head = head[:n]
	if bytes.HasPrefix(head, []byte(qcow2.Magic)) {
		return f.openQcow2(head)
	}
	for _, other := range others {
		if bytes.HasPrefix(head, []byte(other.magic)) {
			return fmt.Errorf("is %s; expected a disk image, raw or qcow2", other.is)
		}
	}
	return nil
}

// openQcow2 looks at the header itself for what the reader would take or misread: a
// backing file it would look for beside the image, and a table as long as the header
// says it would make room for.
func (f *File) openQcow2(head []byte) error {
	const headerSize = 72
	if len(head) < headerSize {
		return fmt.Errorf("is a qcow2 image that ends within its header")
	}
	be := binary.BigEndian
	version, backing, clusterBits := be.Uint32(head[4:]), be.Uint64(head[8:]), be.Uint32(head[20:])
	size, encryption := be.Uint64(head[24:]), be.Uint32(head[32:])
	l1Size, l1At := uint64(be.Uint32(head[36:])), be.Uint64(head[40:])
	fileSize := uint64(f.info.Size())
	switch {
	case version != 2 && version != 3:
		return fmt.Errorf("is a qcow2 image of version %d; expected 2 or 3", version)
	case encryption != 0:
		return errors.New("is an encrypted qcow2 image, which cannot be read")
	case backing != 0:
		return errors.New("is a qcow2 image with a backing file, which cannot be read: flatten it first, as by qemu-img convert -O qcow2")
	case clusterBits < 9 || clusterBits > 21:
		return fmt.Errorf("is a damaged qcow2 image: clusters of 2^%d bytes", clusterBits)
	case l1At > fileSize || l1Size*8 > fileSize-l1At:
		return errors.New("is a damaged qcow2 image: its first table lies beyond the end of the file")
	case size == 0:
		return errors.New("is a qcow2 image of a disk of no bytes")
	case size > 1<<63-1:
		return fmt.Errorf("is a damaged qcow2 image: a disk of %d bytes", size)
	}
	img, err := qcow2.Open(f.file, func(io.ReaderAt, image.Type) (image.Image, error) {
		return nil, errors.New("a backing file")
	})
	if err == nil {
		err = img.Readable()
	}
	if err != nil {
		return fmt.Errorf("is a qcow2 image that cannot be read: %w", err)
	}
	f.ReaderAt, f.Format, f.Size = img, Qcow2, size
	return nil
}
