package spdk

import (
	"context"
	"errors"
	"time"

	"github.com/rootgraft/rebuild/internal/ports"
)

// backOff waits longer and longer, as long as the context and its limit allow.
type backOff struct {
	pause, longest time.Duration
	last           time.Duration // the pause before this one
	until          time.Time     // zero: no limit
}

// next waits. It is false when waiting on is of no use.
func (b *backOff) next(ctx context.Context) bool {
	if !b.until.IsZero() && !time.Now().Add(b.pause).Before(b.until) {
		return false
	}
	timer := time.NewTimer(b.pause)
	defer timer.Stop()
	b.last, b.pause = b.pause, min(2*b.pause, b.longest)
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// busyFor is how long a busy lvol is asked again. A graft or a snapshot by
// another process is over by then; a copy may not be, and the caller hears
// ErrBusy.
const busyFor = 2 * time.Second

// whileBusy does a call again until its lvol is free.
func whileBusy(ctx context.Context, do func() error) error {
	wait := backOff{pause: 2 * time.Millisecond, longest: 100 * time.Millisecond, until: time.Now().Add(busyFor)}
	for {
		err := do()
		if !errors.Is(err, ports.ErrBusy) || !wait.next(ctx) {
			return err
		}
	}
}
