package ports

import (
	"context"
	"io"
)

// Opener is implemented by hosts whose lvols the engine can read and write itself: to
// import an image and to verify bytes.
type Opener interface {
	// Open gives access to the bytes of an lvol until Close, until the context ends, or
	// until the run is released. ErrNotFound if there is no such lvol, ErrBusy if it is in
	// use or already open, ErrUnsupported if this host cannot open lvols.
	Open(ctx context.Context, run Run, uuid string) (Bytes, error)
}

// Bytes gives access to the bytes that a reader of an lvol sees: its own clusters and
// those of its ancestors. Any offset and length is possible. Several goroutines may use
// it at once if they write to different ranges.
type Bytes interface {
	// ReaderAt returns io.EOF at the end, as io.ReaderAt requires.
	io.ReaderAt

	// WriterAt writes into a writable lvol. If a cluster is allocated by a partial
	// write, its other bytes are read from the parent; whole clusters are written
	// without a read. ErrInvalid for a snapshot and beyond the end; then nothing was
	// written. ErrNoSpace if the store is full.
	io.WriterAt

	// Closer releases the lvol. A second Close is no error.
	io.Closer

	// Size is in bytes.
	Size() uint64
}
