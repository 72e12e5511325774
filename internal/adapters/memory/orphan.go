package memory

import (
	"context"
	"errors"
	"fmt"

	"github.com/rootgraft/rebuild/internal/ports"
)

var errOrphaned = fmt.Errorf("%w: the engine that requested the copy has ended", ports.ErrUnavailable)

// Orphan simulates the sudden end of an engine, without any cleanup. As on a real target,
// copies from this host go on by themselves: their callers get ErrUnavailable at once, and
// they end when all is written, when their address becomes invalid, or when a run of the
// same replica is released. Addresses and open bytes stay valid, too.
func (h *Host) Orphan() {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.orphans)
	h.orphans = make(chan struct{})
}

// orphanSignal is closed by the next Orphan.
func (h *Host) orphanSignal() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.orphans
}

// run pushes until the copy is done, its context ends, or it is orphaned.
func (s *sending) run(ctx context.Context) error {
	going, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended, over := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(over)
		defer stop()
		ended <- s.push(going)
	}()
	if s.fault.Unwatched {
		// A copy that nothing delays is over before anybody can look: how far it is must
		// not depend on the scheduler.
		if rate, _ := s.receiver.rateOf(s.id); rate == 0 && s.fault.Delay == 0 {
			<-over
		}
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
		return contextError(ctx)
	}
	return err
}
