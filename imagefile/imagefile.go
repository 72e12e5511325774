// Package imagefile reads disk images from files, raw or qcow2, as a guest would see
// them. A File is the content of a rebuild.ImageRequest:
//
//	file, err := imagefile.Open(ctx, "debian.qcow2", "")
//	if err != nil {
//		return err
//	}
//	defer file.Close()
//	report, err := engine.ImportImage(ctx, rebuild.ImageRequest{Host: host, Name: "debian", Content: file, Size: file.Size})
//
// Holes of the file are not read, and a file that changes during an import is an error:
// File is a rebuild.Sparse and a rebuild.Changing.
package imagefile

import (
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
)

// Format is the format of a file.
type Format string

// The supported formats.
const (
	Raw   Format = "raw"
	Qcow2 Format = "qcow2"
)

// File is an open disk image. ReadAt reads what a guest would see; several goroutines may
// call it at once.
type File struct {
	io.ReaderAt
	Format Format
	Size   uint64 // of the disk in bytes; a qcow2 file itself has another size

	// Warnings are sentences about what may be wrong with the image.
	Warnings []string

	file *os.File
	info os.FileInfo

	extents func(offset uint64) (length uint64, zero bool, err error)
}

// Open opens an image of that format; "" detects the format: a file that is neither qcow2
// nor recognized as something else is raw. The error says what the file is, if that is
// known, and what was expected. A truncated file is an error, too. With Raw nothing is
// checked, and any file is taken as it is.
func Open(ctx context.Context, path string, as Format) (*File, error) {
	// Stat comes first: opening a pipe blocks.
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
	holes := &sparseFile{file, uint64(info.Size())}
	f := &File{ReaderAt: file, Format: Raw, Size: holes.size, file: file, info: info, extents: holes.extent}
	if as != Raw {
		err = f.recognize(ctx, as, holes)
	}
	if err != nil {
		_ = file.Close() // nothing was written
		if ctx.Err() != nil {
			return nil, fmt.Errorf("read %s: %w", path, context.Cause(ctx))
		}
		return nil, fmt.Errorf("%s %w", path, err)
	}
	return f, nil
}

// Close closes the file.
func (f *File) Close() error { return f.file.Close() }

// Extent implements rebuild.Sparse: it reports whether the image is known to read as
// zeros from an offset on, and for how many bytes that holds.
func (f *File) Extent(offset uint64) (length uint64, zero bool, err error) {
	return f.extents(offset)
}

// Unchanged implements rebuild.Changing: it returns an error if the file was changed since
// it was opened.
func (f *File) Unchanged() error {
	now, err := f.file.Stat()
	if err != nil {
		return err
	}
	if now.Size() != f.info.Size() || !now.ModTime().Equal(f.info.ModTime()) {
		return fmt.Errorf("%s was changed meanwhile", f.file.Name())
	}
	return nil
}

// SHA512 returns the SHA-512 of the file itself in hex digits, as sha512sum prints it and
// as it is published with images. For a raw image it is also that of the content. If ctx
// ends, the error is its cause.
func (f *File) SHA512(ctx context.Context) (string, error) {
	sum := sha512.New()
	part := make([]byte, 4<<20)
	holes := &sparseFile{f.file, uint64(f.info.Size())}
	for offset := uint64(0); offset < holes.size; {
		if err := ctx.Err(); err != nil {
			return "", context.Cause(ctx)
		}
		length, zero, err := holes.extent(offset)
		if err != nil {
			return "", err
		}
		p := part[:min(uint64(len(part)), length)]
		if zero {
			clear(p)
		} else if _, err := f.file.ReadAt(p, int64(offset)); err != nil {
			return "", err
		}
		_, _ = sum.Write(p) // never fails
		offset += uint64(len(p))
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// recognize detects the format and sets up f to read it.
func (f *File) recognize(ctx context.Context, as Format, holes *sparseFile) error {
	head, err := firstBytes(f.file, f.Size)
	if err != nil {
		return fmt.Errorf("cannot be read: %w", err)
	}
	switch {
	case bytes.HasPrefix(head, []byte(qcow2Magic)):
		q, err := openQcow2(ctx, holes, head)
		if err != nil {
			return err
		}
		f.ReaderAt, f.Format, f.Size, f.extents, f.Warnings = q, Qcow2, q.size, q.extent, q.warnings
		if head, err = firstBytes(q, q.size); err != nil {
			return fmt.Errorf("is a qcow2 image that cannot be read: %w", err)
		}
	case as == Qcow2:
		return errors.New("is not a qcow2 image")
	default:
		tail := make([]byte, min(512, f.Size))
		if _, err := f.file.ReadAt(tail, int64(f.Size)-int64(len(tail))); err != nil {
			return fmt.Errorf("cannot be read: %w", err)
		}
		if is := otherFormat(head, tail); is != "" {
			return &DoubtError{fmt.Errorf("is %s; expected a disk image, raw or qcow2", is)}
		}
	}
	return f.lookAtDisk(head)
}

// lookAtDisk compares the size of the image with what the disk's own structures say.
func (f *File) lookAtDisk(head []byte) error {
	d := recognizeDisk(head)
	if d.is == "" {
		f.Warnings = append(f.Warnings, "it does not look like a disk: no known partition table, file system or boot sector found")
	}
	if d.ends <= f.Size {
		return nil
	}
	short := fmt.Sprintf("its %s reaches to byte %d, the image ends after %d", d.is, d.ends, f.Size)
	if f.Format == Raw {
		return &DoubtError{fmt.Errorf("is truncated by %d bytes: %s", d.ends-f.Size, short)}
	}
	f.Warnings = append(f.Warnings, short) // the file itself is complete: somebody has shrunk the disk
	return nil
}

// DoubtError says why Open does not take a file for a raw image. As Raw it opens.
type DoubtError struct{ error }

// Unwrap returns the reason.
func (d *DoubtError) Unwrap() error { return d.error }

// firstBytes reads as much as is needed to recognize a disk.
func firstBytes(r io.ReaderAt, size uint64) ([]byte, error) {
	head := make([]byte, min(headBytes, size))
	n, err := r.ReadAt(head, 0)
	if n == len(head) {
		err = nil
	}
	return head, err
}
