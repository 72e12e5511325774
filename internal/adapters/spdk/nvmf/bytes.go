package nvmf

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmetcp"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Bytes are the bytes of an lvol, as a namespace.
type Bytes struct {
	ctx     context.Context //nolint:containedctx // it ends what it opened, and io.ReaderAt takes none
	exports *Exports
	name    string

	size     uint64
	cluster  uint64
	readOnly bool

	namespace *namespace
	session   *nvmetcp.Session
	remote    *nvmetcp.Namespace

	parts sync.Mutex // held while a part of a cluster is written
}

// Size is in bytes.
func (b *Bytes) Size() uint64 { return b.size }

// ReadAt implements io.ReaderAt.
func (b *Bytes) ReadAt(p []byte, offset int64) (int, error) {
	if offset < 0 {
		return 0, b.failed(fmt.Errorf("offset %d: %w", offset, ports.ErrInvalid), "read", len(p), offset)
	}
	end := error(nil)
	if rest := b.size - min(uint64(offset), b.size); uint64(len(p)) > rest {
		p, end = p[:rest], io.EOF
	}
	if len(p) > 0 {
		if err := b.read(p, uint64(offset)); err != nil {
			return 0, b.failed(b.why(err, false), "read", len(p), offset)
		}
	}
	return len(p), end
}

// read reads whole blocks, and keeps what was asked for.
func (b *Bytes) read(p []byte, offset uint64) error {
	block := b.remote.BlockSize()
	first := offset / block * block
	last := (offset + uint64(len(p)) + block - 1) / block * block
	if last-first == uint64(len(p)) {
		return b.remote.Read(b.ctx, p, offset)
	}
	whole := make([]byte, last-first)
	if err := b.remote.Read(b.ctx, whole, first); err != nil {
		return err
	}
	copy(p, whole[offset-first:])
	return nil
}

// WriteAt implements io.WriterAt. It writes whole clusters only: if the first write to a
// cluster is a part of it, upstream SPDK leaves the disk's old data in the rest.
func (b *Bytes) WriteAt(p []byte, offset int64) (int, error) {
	switch {
	case b.readOnly:
		return 0, b.failed(fmt.Errorf("it is a snapshot: %w", ports.ErrInvalid), "write", len(p), offset)
	case offset < 0 || uint64(offset) > b.size || uint64(len(p)) > b.size-uint64(offset):
		return 0, b.failed(fmt.Errorf("it has %d bytes: %w", b.size, ports.ErrInvalid), "write", len(p), offset)
	}
	for done := 0; done < len(p); {
		at := uint64(offset) + uint64(done)
		within, rest := at%b.cluster, uint64(len(p)-done)
		length := rest / b.cluster * b.cluster
		write := b.remote.Write
		if within != 0 || length == 0 {
			length = min(b.cluster-within, rest)
			write = b.writePart
		}
		if err := write(b.ctx, p[done:done+int(length)], at); err != nil {
			return 0, b.failed(b.why(err, true), "write", len(p), offset)
		}
		done += int(length)
	}
	return len(p), nil
}

// writePart writes a part of one cluster, and the rest as it reads it.
func (b *Bytes) writePart(ctx context.Context, p []byte, offset uint64) error {
	b.parts.Lock()
	defer b.parts.Unlock()
	first := offset / b.cluster * b.cluster
	whole := make([]byte, b.cluster)
	if err := b.remote.Read(ctx, whole, first); err != nil {
		return err
	}
	copy(whole[offset-first:], p)
	return b.remote.Write(ctx, whole, first)
}

func (b *Bytes) failed(err error, what string, length int, offset int64) error {
	return b.exports.store.Failed(err, "%s %d bytes at %d of lvol %s", what, length, offset, b.name)
}
