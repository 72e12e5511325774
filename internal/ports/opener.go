package ports

import (
	"context"
	"io"
)

// Opener is implemented by hosts whose lvols can be read and written by the
// engine itself: to import an image, and to read views back.
type Opener interface {
	// Open gives access to the bytes of an lvol, until Close, until the context
	// ends, or until the run is released. ErrNotFound where there is no such
	// lvol, ErrBusy where something else has it: a volume that is in use, or one
	// who opened it before. ErrUnsupported where this host cannot.
	Open(ctx context.Context, run Run, uuid string) (Bytes, error)
}

// Bytes are what a reader sees through an lvol: its view. They are read and
// written at any offset, any number of bytes at a time, by several goroutines at
// once where they write to different places.
type Bytes interface {
	// ReaderAt returns io.EOF at the end, as io.ReaderAt says.
	io.ReaderAt

	// WriterAt writes into a writable lvol; the rest of a cluster that was not
	// its own yet keeps what was read there. Where whole clusters are written
	// nothing is read. ErrInvalid for a snapshot, and beyond the end; then
	// nothing was written. ErrNoSpace where the store is full.
	io.WriterAt

	// Closer gives the lvol back. A second Close is no error.
	io.Closer

	// Size is in bytes.
	Size() uint64
}
