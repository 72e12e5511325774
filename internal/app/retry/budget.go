package retry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/rootgraft/rebuild/internal/ports"
)

// Budget says how long a failed call is repeated.
type Budget struct {
	// Busy is for ports.ErrBusy: the call did nothing. It counts from the first attempt.
	Busy time.Duration

	// Transient is for ports.ErrUnavailable: the call may have taken effect. Only the
	// pauses count, since a copy itself takes long.
	Transient time.Duration

	// Until ends both; zero: no limit.
	Until time.Time
}

// A store lets an lvol take part in one operation at a time and has no queue: while
// another rebuild or another process uses a shared image or a shared source, our call
// fails at once. The longest such wait is for the copy of a large image.
//
// After a transient failure only the failed call is repeated, and finished work stays
// (longhorn/longhorn#5682, #9705). A host that is gone is not waited for: the
// rebuild ends, and the next one keeps the finished work.
const (
	busyFor      = 10 * time.Minute
	transientFor = 5 * time.Second
	tidyFor      = 2 * time.Second
	goneFor      = 2 * time.Second // of Transient, for ports.ErrGone
)

// The budgets.
var (
	Once      = Budget{}
	Busy      = Budget{Busy: busyFor}                          // a call that must not be repeated if it may have taken effect
	Transient = Budget{Transient: transientFor}                // a call whose lvol a volume may use for long
	Step      = Budget{Busy: busyFor, Transient: transientFor} // everything else of a rebuild
)

// Tidy is the budget of all calls of one cleanup together. A host that is gone needs no
// cleanup.
func Tidy() Budget {
	return Budget{Busy: tidyFor, Transient: tidyFor, Until: time.Now().Add(tidyFor)}
}

// Pauses grow from the first to the longest, with random jitter, so that calls that
// fail together are not repeated together.
const (
	firstBusyPause, longestBusyPause           = 2 * time.Millisecond, 250 * time.Millisecond
	firstTransientPause, longestTransientPause = 50 * time.Millisecond, time.Second
)

// ErrFinal marks errors that a retry cannot resolve, whatever else they wrap.
var ErrFinal = errors.New("final")

// Final marks an error as ErrFinal and keeps its text.
func Final(err error) error { return final{err} }

type final struct{ error }

func (e final) Unwrap() error      { return e.error }
func (final) Is(target error) bool { return target == ErrFinal }

// IsBusy reports whether a call did nothing because the lvol was busy.
func IsBusy(err error) bool { return errors.Is(err, ports.ErrBusy) && !errors.Is(err, ErrFinal) }

// IsTransient reports whether a failure may be temporary. A host that let a call reach its
// deadline is not retried: if it hangs, every retry would take that time again.
func IsTransient(err error) bool {
	return errors.Is(err, ports.ErrUnavailable) && !errors.Is(err, ErrFinal) && !errors.Is(err, context.DeadlineExceeded)
}

// Do calls do until it succeeds, fails finally, or exceeds the budget, and returns the
// last error. do gets the error of the previous attempt, nil in the first. again may be
// nil; it is called before each retry of a transient failure. OnWaiting reports long waits
// for a busy lvol. If ctx ends during a pause, the error also wraps its cause.
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
			if paused += pause; paused > b.Transient || paused > goneFor && errors.Is(err, ports.ErrGone) {
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

// Call is Do for a call that is simply repeated.
func (b Budget) Call(ctx context.Context, call func() error) error {
	return b.Do(ctx, nil, func(error) error { return call() })
}

func pace(first, longest time.Duration) *backoff.ExponentialBackOff {
	pace := backoff.NewExponentialBackOff()
	pace.InitialInterval, pace.MaxInterval = first, longest
	return pace
}

// Wait waits for the given time, or returns the cause of ctx if that ends first.
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
