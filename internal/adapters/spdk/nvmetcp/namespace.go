package nvmetcp

import (
	"context"
	"fmt"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmetcp/wire"
)

// Namespace is one of a subsystem's, seen through a session.
type Namespace struct {
	session   *Session
	id        uint32
	blocks    uint64
	blockSize uint64
	nguid     [16]byte
}

// Namespace asks for a namespace. It need not have been there when the session
// began.
func (s *Session) Namespace(ctx context.Context, id uint32) (*Namespace, error) {
	n, err := s.namespace(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("namespace %d of %s: %w", id, s.config.NQN, err)
	}
	return n, nil
}

func (s *Session) namespace(ctx context.Context, id uint32) (*Namespace, error) {
	p, err := s.identify(ctx, wire.IdentifyNamespace, id)
	if err != nil {
		return nil, err
	}
	n := &Namespace{session: s, id: id, blocks: le.Uint64(p)}
	if n.blocks == 0 {
		return nil, &wire.StatusError{Command: "identify", Status: wire.StatusInvalidNamespace}
	}
	format := p[128+4*int(p[26]&0xf):] // its low four bits say which of the formats is in use
	metadata, power := le.Uint16(format), format[2]
	if metadata != 0 || power < 9 || power > 16 {
		return nil, fmt.Errorf("blocks of 2^%d bytes with %d of metadata: expected 512 to 65536 and none", power, metadata)
	}
	n.blockSize = 1 << power
	if n.blocks > (1<<63-1)>>power {
		return nil, wire.Violated("a namespace of %d blocks", n.blocks)
	}
	copy(n.nguid[:], p[104:])
	return n, nil
}

// Size is in bytes.
func (n *Namespace) Size() uint64 { return n.blocks * n.blockSize }

// BlockSize is in bytes.
func (n *Namespace) BlockSize() uint64 { return n.blockSize }

// NGUID is the namespace's globally unique identifier, zeros where it has none.
func (n *Namespace) NGUID() [16]byte { return n.nguid }

// Read fills p from that offset. Both are whole blocks. It takes as many commands
// as the controller's limit wants, several of them at once.
func (n *Namespace) Read(ctx context.Context, p []byte, offset uint64) error {
	return n.each(ctx, wire.OpRead, p, offset)
}

// Write writes p at that offset. Both are whole blocks. It takes several commands
// as Read does, so that after an error nobody knows which blocks were written.
func (n *Namespace) Write(ctx context.Context, p []byte, offset uint64) error {
	return n.each(ctx, wire.OpWrite, p, offset)
}

func (n *Namespace) each(ctx context.Context, op wire.Opcode, p []byte, offset uint64) error {
	name := wire.NewCommand(op, n.id).Words(false)
	what := func(err error) error {
		return fmt.Errorf("%s %d bytes at %d of namespace %d of %s: %w", name, len(p), offset, n.id, n.session.config.NQN, err)
	}
	if size, length := n.Size(), uint64(len(p)); offset%n.blockSize != 0 || length%n.blockSize != 0 {
		return what(fmt.Errorf("expected whole blocks of %d bytes", n.blockSize))
	} else if offset > size || length > size-offset {
		return what(fmt.Errorf("it has %d bytes", size))
	}
	if err := ctx.Err(); err != nil {
		return what(context.Cause(ctx))
	}
	q := n.session.io
	stop := q.failWith(ctx)
	defer stop()
	most := max(n.session.transfer/int(n.blockSize), 1) * int(n.blockSize)
	most = min(most, int(n.blockSize)<<16) // a command has 16 bits for blocks
	var all []*command
	var failure error
	for done := 0; done < len(p) && failure == nil; {
		part := p[done:min(done+most, len(p))]
		e := wire.NewCommand(op, n.id)
		e.Transfers(len(part), wire.SGLTransport)
		e.Blocks((offset+uint64(done))/n.blockSize, len(part)/int(n.blockSize))
		into, from := part, []byte(nil)
		if op == wire.OpWrite {
			into, from = nil, part
		}
		c, err := q.start(ctx, e, nil, into, from)
		if err != nil {
			failure = err
			break
		}
		all = append(all, c)
		done += len(part)
		select {
		case <-all[0].done: // once one has failed the others are of no use
			failure = all[0].err
			all = all[1:]
		default:
		}
	}
	for _, c := range all { // each uses a part of p until it is done
		<-c.done
		if failure == nil {
			failure = c.err
		}
	}
	if failure != nil {
		return what(failure)
	}
	return nil
}
