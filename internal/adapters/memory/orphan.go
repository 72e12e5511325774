package memory

import (
	"context"
	"errors"
	"fmt"

	"github.com/rootgraft/rebuild/internal/ports"
)

var errOrphaned = fmt.Errorf("%w: who asked for the copy is gone", ports.ErrUnavailable)

// Orphan does to the host what the end of an engine does that could clean nothing
// up. A copy from here is a thing of its own from now on, as on a real target:
// who waits for it is told ErrUnavailable at once, and it goes on until all is
// written, its address is void, or a run of the same replica is released.
// Addresses and open bytes stay good, too.
func (h *Host) Orphan() {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.orphans)
	h.orphans = make(chan struct{})
}

// orphanage is what Orphan closes next.
func (h *Host) orphanage() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.orphans
}

// watched has the copy go on until it is over, its context ends, or nobody waits
// for it any more.
func (s *sending) watched(ctx context.Context) error {
	going, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() {
		defer stop()
		ended <- s.push(going)
	}()
	if s.fault.Unwatched {
		return errOrphaned
	}
	select {
	case err := <-ended:
		return err
	case <-s.orphaned:
		return errOrphaned
	case <-ctx.Done():
	}
	select {
	case <-s.orphaned:
		return errOrphaned
	default:
	}
	stop()
	err := <-ended
	if errors.Is(err, context.Canceled) {
		return whyEnded(ctx)
	}
	return err
}
