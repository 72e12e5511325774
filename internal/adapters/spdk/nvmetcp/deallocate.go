package nvmetcp

import (
	"context"
	"fmt"
)

// Deallocate tells the controller that nobody needs the bytes in a range of whole blocks. What
// they are afterwards is its own business.
func (n *Namespace) Deallocate(ctx context.Context, offset, length uint64) error {
	e := newCommand(opManage, n.id)
	e.transfers(rangeSize, sglTransport)
	e.deallocatesRanges(1)
	one := make([]byte, rangeSize)
	le.PutUint32(one[4:], uint32(length/n.blockSize))
	le.PutUint64(one[8:], offset/n.blockSize)
	return n.alone(ctx, e, one, offset, length)
}

// WriteZeroes writes zeros to a range of whole blocks, at most 65536.
func (n *Namespace) WriteZeroes(ctx context.Context, offset, length uint64) error {
	e := newCommand(opZeroes, n.id)
	e.blocks(offset/n.blockSize, int(length/n.blockSize))
	return n.alone(ctx, e, nil, offset, length)
}

// alone does one command on a range.
func (n *Namespace) alone(ctx context.Context, e *sqe, data []byte, offset, length uint64) error {
	what := func(err error) error {
		if err == nil {
			return nil
		}
		return fmt.Errorf("%s of %d bytes at %d of namespace %d of %s: %w", e.words(false), length, offset, n.id, n.session.config.NQN, err)
	}
	switch size := n.Size(); {
	case length == 0 || offset%n.blockSize != 0 || length%n.blockSize != 0 || length/n.blockSize > 1<<16:
		return what(fmt.Errorf("expected whole blocks of %d bytes, at most %d", n.blockSize, 1<<16))
	case offset > size || length > size-offset:
		return what(fmt.Errorf("it has %d bytes", size))
	case ctx.Err() != nil:
		return what(context.Cause(ctx))
	}
	stop := n.session.io.failWith(ctx)
	defer stop()
	c, err := n.session.io.start(ctx, e, nil, nil, data)
	if err != nil {
		return what(err)
	}
	<-c.done
	return what(c.err)
}

// Deallocator is an Export that can give a range back. Others ignore a deallocation.
type Deallocator interface {
	// Deallocate gives whole blocks back, offset and length in bytes.
	Deallocate(offset, length uint64) error
}

// deallocate does what the ranges of a command say.
func deallocate(export Export, ranges []byte) error {
	able, can := export.(Deallocator)
	blocks := export.Size() / export.BlockSize()
	for ; len(ranges) > 0; ranges = ranges[rangeSize:] {
		count, first := uint64(le.Uint32(ranges[4:])), le.Uint64(ranges[8:])
		if first > blocks || count > blocks-first {
			return &StatusError{Command: "deallocate", Status: StatusOutOfRange}
		}
		if !can || count == 0 {
			continue
		}
		if err := able.Deallocate(first*export.BlockSize(), count*export.BlockSize()); err != nil {
			return err
		}
	}
	return nil
}
