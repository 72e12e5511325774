package memory

import (
	"context"
	"time"

	"github.com/rootgraft/rebuild/internal/ports"
)

var _ ports.Limiter = (*Host)(nil)

// Limit implements ports.Limiter exactly. It limits copies, not WriteAt.
func (h *Host) Limit(ctx context.Context, uuid string, bytesPerSecond uint64) error {
	return h.perform(ctx, h.onLvol("limit", uuid), "limit "+h.nameOrUUID(uuid), func() error {
		l, err := h.findWritable(uuid)
		if err != nil {
			return err
		}
		l.rate = bytesPerSecond
		close(h.rateChanged)
		h.rateChanged = make(chan struct{})
		return nil
	})
}

// pace delays a copy until that many more bytes may be written into the reception's
// lvol.
func (h *Host) pace(ctx context.Context, id uint64, op *operation, bytes uint64) error {
	for left := float64(bytes); left > 0; {
		rate, changed := h.rateOf(id)
		if rate == 0 {
			return nil
		}
		began := time.Now()
		timer := time.NewTimer(time.Duration(left / float64(rate) * float64(time.Second)))
		select {
		case <-timer.C:
			return op.wait(ctx, 0)
		case <-changed:
		case <-ctx.Done():
		case <-op.stopped:
		}
		timer.Stop()
		if err := op.wait(ctx, 0); err != nil {
			return err
		}
		left -= time.Since(began).Seconds() * float64(rate)
	}
	return nil
}

// rateOf is the limit of a reception's lvol, 0 for none, and a channel that is closed when
// any limit changes.
func (h *Host) rateOf(id uint64) (rate uint64, changed <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r, ok := h.receptions[id]; ok {
		rate = r.into.rate
	}
	return rate, h.rateChanged
}
