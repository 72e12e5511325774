package retry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/rootgraft/rebuild/internal/ports"
)

// Budget says for how long a call that failed is made again.
type Budget struct {
	// Busy is for ports.ErrBusy: the call did nothing. It counts from the first attempt.
	Busy time.Duration

	// Transient is for ports.ErrUnavailable: the call may have taken effect. The pauses
	// alone count, for a copy takes long by itself.
	Transient time.Duration

	// Until ends both; zero: nothing does.
	Until time.Time
}

// A store lets an lvol take part in one operation at a time and queues nothing: while
// another rebuild, or another process, uses a shared image or a shared source, our call
// fails at once. The copy of a large image is the longest that one can hold another up.
//
// After a transient failure only that call is made again, and what others have finished
// stays (longhorn/longhorn#5682, #9705). A host that is gone is not waited for: the
// rebuild ends, and the next one goes on from what is there.
const (
	busyFor      = 10 * time.Minute
	transientFor = 5 * time.Second
	tidyFor      = 2 * time.Second
)

// The budgets.
var (
	Once      = Budget{}
	Busy      = Budget{Busy: busyFor}                          // a call that must not be made twice
	Transient = Budget{Transient: transientFor}                // where busy means that a volume uses it, for long
	Step      = Budget{Busy: busyFor, Transient: transientFor} // everything else of a rebuild
)

// Tidy is the budget of all calls of one cleanup together. A host that is gone has
// nothing to clean up.
func Tidy() Budget {
	return Budget{Busy: tidyFor, Transient: tidyFor, Until: time.Now().Add(tidyFor)}
}

// Pauses grow from the first to the longest, and differ at random, so that calls that
// failed at the same time are not repeated at the same time.
const (
	firstBusyPause, longestBusyPause           = 2 * time.Millisecond, 250 * time.Millisecond
	firstTransientPause, longestTransientPause = 50 * time.Millisecond, time.Second
)

// ErrFinal marks errors that no other attempt can mend, whatever else they wrap.
var ErrFinal = errors.New("final")

// IsBusy reports whether a call did nothing since something else is at work there.
func IsBusy(err error) bool { return errors.Is(err, ports.ErrBusy) && !errors.Is(err, ErrFinal) }

// IsTransient reports whether a failure may pass. A host that gave no answer in all the
// time that it had is not asked again: one that hangs would take that time at each call.
func IsTransient(err error) bool {
	return errors.Is(err, ports.ErrUnavailable) && !errors.Is(err, ErrFinal) && !errors.Is(err, context.DeadlineExceeded)
}

// Do calls do until it works, fails for good, or has used up the budget, and returns the
// last error. do gets the error of the attempt before, nil in the first. again, if it is
// not nil, is called before another attempt after a transient failure; what is busy is
// told by OnWaiting once it takes long. If ctx ends during a pause, the error wraps its
// cause, too.
func (b Budget) Do(ctx context.Context, again func(error), do func(previous error) error) error {
	busy, transient := pace(firstBusyPause, longestBusyPause), pace(firstTransientPause, longestTransientPause)
	began, waits := time.Now(), beginWaiting(ctx)
	var paused time.Duration
	var previous error
	for {
		err := do(previous)
		if err == nil || ctx.Err() != nil {
			return err
		}
		var pause time.Duration
		switch {
		case IsBusy(err) && time.Since(began) < b.Busy:
			pause = busy.NextBackOff()
		case IsTransient(err):
			pause = transient.NextBackOff()
			if paused += pause; paused > b.Transient {
				return err
			}
			if again != nil {
				again(err)
			}
		default:
			return err
		}
		if !b.Until.IsZero() && time.Now().Add(pause).After(b.Until) {
			return err
		}
		waits.tellIfLong(err.Error())
		if ended := Wait(ctx, pause); ended != nil {
			return fmt.Errorf("%w: %w", err, ended)
		}
		previous = err
	}
}

// Call is Do for a call that is simply made again.
func (b Budget) Call(ctx context.Context, call func() error) error {
	return b.Do(ctx, nil, func(error) error { return call() })
}

func pace(first, longest time.Duration) *backoff.ExponentialBackOff {
	pace := backoff.NewExponentialBackOff()
	pace.InitialInterval, pace.MaxInterval = first, longest
	return pace
}

// Wait waits for that long, or until ctx ends: then it returns the cause.
func Wait(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
