// Package imagefile reads disk images from files: raw ones, and qcow2.
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

	// Warnings say in words what about the image may be wrong.
	Warnings []string

	file *os.File
	info os.FileInfo

	extents func(offset uint64) (length uint64, zero bool, err error)
}

// Open opens an image of that format; "" finds the format out. A file that is
// neither qcow2 nor known to be something else is raw. The error says what the
// file is, where that is known, and what was expected. A file that is cut short is
// refused, too. With Raw nothing of this is looked at: the file is taken as it is.
func Open(ctx context.Context, path string, as Format) (*File, error) {
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

// Extent tells, without reading it, whether the image is known to read as zeros
// from an offset on, and for how many bytes that answer holds.
func (f *File) Extent(offset uint64) (length uint64, zero bool, err error) {
	return f.extents(offset)
}

// Unchanged returns an error when the file was written to since it was opened.
func (f *File) Unchanged() error {
	now, err := f.file.Stat()
	if err != nil {
		return err
	}
	if now.Size() != f.info.Size() || !now.ModTime().Equal(f.info.ModTime()) {
		return fmt.Errorf("%s was written to meanwhile", f.file.Name())
	}
	return nil
}

// SHA512 is that of the file's own bytes, in hex digits: what sha512sum prints, and
// what is published with an image. For a raw image it is that of the content, too.
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

// recognize finds out what the file is, and makes f read as that.
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

// lookAtDisk compares the image with what the disk says of itself.
func (f *File) lookAtDisk(head []byte) error {
	d := recognizeDisk(head)
	if d.is == "" {
		f.Warnings = append(f.Warnings, "it does not look like a disk: there is no partition table, file system or boot sector that is known")
	}
	if d.ends <= f.Size {
		return nil
	}
	short := fmt.Sprintf("its %s reaches to byte %d, the image ends after %d", d.is, d.ends, f.Size)
	if f.Format == Raw {
		return &DoubtError{fmt.Errorf("is cut short by %d bytes: %s", d.ends-f.Size, short)}
	}
	f.Warnings = append(f.Warnings, short) // the file itself is whole: somebody has made the disk smaller
	return nil
}

// DoubtError is why a file is not taken for a raw image. Opened as Raw it is one.
type DoubtError struct{ error }

func (d *DoubtError) Unwrap() error { return d.error }

// firstBytes reads as much as it takes to recognize a disk.
func firstBytes(r io.ReaderAt, size uint64) ([]byte, error) {
	head := make([]byte, min(headBytes, size))
	n, err := r.ReadAt(head, 0)
	if n == len(head) {
		err = nil
	}
	return head, err
}
