package nvmetcp

import (
	"context"
	"errors"
	"time"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmetcp/wire"
)

// Initiator is a client of a volume. It repeats commands to a namespace that is not accessible at the moment, as hosts
// with native multipath do, or not there, as while upstream's RAID is made again.
type Initiator struct {
	Context   context.Context //nolint:containedctx // it ends the repetitions
	Namespace *Namespace
}

func (i Initiator) repeat(do func() error) error {
	for {
		err := do()
		var status *wire.StatusError
		if !errors.As(err, &status) || status.Status != wire.StatusInaccessible && status.Status != wire.StatusInvalidNamespace {
			return err
		}
		select {
		case <-i.Context.Done():
			return err
		case <-time.After(time.Millisecond):
		}
	}
}

// ReadAt implements io.ReaderAt.
func (i Initiator) ReadAt(p []byte, offset int64) (int, error) {
	return allOrNone(len(p), i.repeat(func() error { return i.Namespace.Read(i.Context, p, uint64(offset)) }))
}

// WriteAt implements io.WriterAt.
func (i Initiator) WriteAt(p []byte, offset int64) (int, error) {
	return allOrNone(len(p), i.repeat(func() error { return i.Namespace.Write(i.Context, p, uint64(offset)) }))
}

func allOrNone(n int, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	return n, nil
}

// WriteZeroes writes zeros.
func (i Initiator) WriteZeroes(offset, length int64) error {
	return i.repeat(func() error { return i.Namespace.WriteZeroes(i.Context, uint64(offset), uint64(length)) })
}

// Trim deallocates a range.
func (i Initiator) Trim(offset, length int64) error {
	return i.repeat(func() error { return i.Namespace.Deallocate(i.Context, uint64(offset), uint64(length)) })
}
