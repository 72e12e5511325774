package memory

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/rootgraft/rebuild/internal/ports"
)

var errBytesClosed = fmt.Errorf("%w: the lvol's bytes were closed", ports.ErrInvalid)

// opening is an lvol that is open, guarded by its host's mutex.
type opening struct {
	run    ports.Run
	lvol   *lvol
	reason error // why it has ended; nil: it is open
}

// openBytes implements ports.Bytes.
type openBytes struct {
	ctx  context.Context //nolint:containedctx // it ends what it opened, and io.ReaderAt takes none
	host *Host
	uuid string
	size uint64
	it   *opening
}

// Open implements ports.Opener.
func (h *Host) Open(ctx context.Context, run ports.Run, uuid string) (ports.Bytes, error) {
	var b *openBytes
	err := h.perform(ctx, h.onLvol("open", uuid), "open "+h.nameOrUUID(uuid), func() error {
		l, err := h.find(uuid)
		if err != nil {
			return err
		}
		if l.opening != nil {
			return fmt.Errorf("%s is already open: %w", l.name, ports.ErrBusy)
		}
		l.opening = &opening{run: run, lvol: l}
		h.openings[l.opening] = struct{}{}
		b = &openBytes{ctx: ctx, host: h, uuid: uuid, size: l.size, it: l.opening}
		return nil
	})
	return unlessLost[ports.Bytes](b, err)
}

// endOpening ends an opening, unless it is nil.
func (h *Host) endOpening(o *opening, reason error) {
	if o == nil || o.reason != nil {
		return
	}
	o.reason = reason
	o.lvol.opening = nil
	delete(h.openings, o)
}

// Size is in bytes.
func (b *openBytes) Size() uint64 { return b.size }

// Close releases the lvol.
func (b *openBytes) Close() error {
	b.host.mu.Lock()
	defer b.host.mu.Unlock()
	b.host.endOpening(b.it, errBytesClosed)
	return nil
}

// ReadAt implements io.ReaderAt.
func (b *openBytes) ReadAt(p []byte, offset int64) (int, error) {
	if offset < 0 {
		return 0, b.host.wrap("read "+b.uuid, fmt.Errorf("offset %d: %w", offset, ports.ErrInvalid))
	}
	end := error(nil)
	if rest := b.size - min(uint64(offset), b.size); uint64(len(p)) > rest {
		p, end = p[:rest], io.EOF
	}
	if err := b.use("read", func() error { return b.host.ReadAt(b.uuid, p, min(uint64(offset), b.size)) }); err != nil {
		return 0, err
	}
	return len(p), end
}

// WriteAt implements io.WriterAt.
func (b *openBytes) WriteAt(p []byte, offset int64) (int, error) {
	if offset < 0 {
		return 0, b.host.wrap("write "+b.uuid, fmt.Errorf("offset %d: %w", offset, ports.ErrInvalid))
	}
	if err := b.use("write", func() error { return b.host.WriteAt(b.uuid, p, uint64(offset)) }); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (b *openBytes) use(method string, do func() error) error {
	fault, err := b.host.admit(b.ctx, b.host.onLvol(method, b.uuid))
	if err == nil {
		err = b.alive()
	}
	if err == nil {
		err = fault.wait(b.ctx)
	}
	if err == nil {
		err = fault.Before
	}
	if err != nil {
		return b.host.wrap(method+" "+b.uuid, err)
	}
	if err := do(); err != nil {
		if errors.Is(err, ports.ErrNotFound) { // it was deleted
			err = fmt.Errorf("%w: %s", ports.ErrUnavailable, err.Error())
		}
		return err
	}
	return b.host.wrap(method+" "+b.uuid, fault.After)
}

func (b *openBytes) alive() error {
	b.host.mu.Lock()
	defer b.host.mu.Unlock()
	return b.it.reason
}
