package nvmetcp

import (
	"context"
	"fmt"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmetcp/wire"
)

// Deallocate tells the controller that nobody needs the bytes in a range of whole blocks. What
// they are afterwards is its own business.
func (n *Namespace) Deallocate(ctx context.Context, offset, length uint64) error {
	e := wire.NewCommand(wire.OpManage, n.id)
	e.Transfers(wire.RangeSize, wire.SGLTransport)
	e.DeallocatesRanges(1)
	one := make([]byte, wire.RangeSize)
	le.PutUint32(one[4:], uint32(length/n.blockSize))
	le.PutUint64(one[8:], offset/n.blockSize)
	return n.alone(ctx, e, one, offset, length)
}

// WriteZeroes writes zeros to a range of whole blocks, at most 65536.
func (n *Namespace) WriteZeroes(ctx context.Context, offset, length uint64) error {
	e := wire.NewCommand(wire.OpZeroes, n.id)
	e.Blocks(offset/n.blockSize, int(length/n.blockSize))
	return n.alone(ctx, e, nil, offset, length)
}

// alone does one command on a range.
func (n *Namespace) alone(ctx context.Context, e *wire.Entry, data []byte, offset, length uint64) error {
	what := func(err error) error {
		if err == nil {
			return nil
		}
		return fmt.Errorf("%s of %d bytes at %d of namespace %d of %s: %w", e.Words(false), length, offset, n.id, n.session.config.NQN, err)
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
