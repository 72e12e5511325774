package app

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/rootgraft/rebuild/internal/ports"
)

// A store lets an lvol take part in one operation at a time and queues
// nothing: what another rebuild, or another process, is doing with a shared
// image or a shared source makes ours fail at once. It is waited out. A copy
// of a large image is the longest that one can hold another up.
const (
	firstPause = 2 * time.Millisecond
	longPause  = 250 * time.Millisecond
	patience   = 10 * time.Minute
)

// patiently asks again while the answer is "busy".
func patiently(ctx context.Context, ask func() error) error {
	pace := backoff.NewExponentialBackOff()
	pace.InitialInterval, pace.MaxInterval, pace.Multiplier = firstPause, longPause, 2
	waits := beginWaiting(ctx)
	for end := time.Now().Add(patience); ; {
		err := ask()
		if !errors.Is(err, ports.ErrBusy) || time.Now().After(end) {
			return err
		}
		waits.goesOn(err.Error())
		if err := wait(ctx, pace.NextBackOff()); err != nil {
			return err
		}
	}
}

func wait(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
