package rpc

import (
	"context"
	"errors"
	"time"

	"github.com/rootgraft/rebuild/internal/ports"
)

// BackOff waits longer and longer, as long as the context and its limit allow.
type BackOff struct {
	Pause, Longest time.Duration
	Last           time.Duration // the pause before this one
	Until          time.Time     // zero: no limit
}

// Next waits. It is false if the limit or the context does not allow it.
func (b *BackOff) Next(ctx context.Context) bool {
	if !b.Until.IsZero() && !time.Now().Add(b.Pause).Before(b.Until) {
		return false
	}
	timer := time.NewTimer(b.Pause)
	defer timer.Stop()
	b.Last, b.Pause = b.Pause, min(2*b.Pause, b.Longest)
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// busyFor is how long calls to a busy lvol are repeated. A graft or a snapshot by another
// process is over by then; a copy may not be, and the caller gets ErrBusy.
const busyFor = 2 * time.Second

// WhileBusy does a call again until its lvol is free, or for two seconds.
func WhileBusy(ctx context.Context, do func() error) error {
	wait := BackOff{Pause: 2 * time.Millisecond, Longest: 100 * time.Millisecond, Until: time.Now().Add(busyFor)}
	for {
		err := do()
		if !errors.Is(err, ports.ErrBusy) || !wait.Next(ctx) {
			return err
		}
	}
}
