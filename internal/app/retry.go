package app

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"
	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// An operation that fails for a passing reason is done again, it alone: what
// other operations have finished stays (longhorn/longhorn#5682, #9705). A host
// that is gone is not waited for: the rebuild ends, and the next one goes on
// from what is there.
const (
	firstRetry   = 50 * time.Millisecond
	longestRetry = time.Second
	retryFor     = 5 * time.Second // since the operation began, a copy's own time not counted
)

// transient tells a failure that may pass from one that will not. A host that
// gave no answer in all the time that it had is not asked again: one that hangs
// would take that time at each call.
func transient(err error) bool {
	return errors.Is(err, ports.ErrUnavailable) && !errors.Is(err, errPlanAgain) && !errors.Is(err, context.DeadlineExceeded)
}

// busy tells that something else is at work there: nothing was done.
func busy(err error) bool { return errors.Is(err, ports.ErrBusy) && !errors.Is(err, errPlanAgain) }

// insist does something until it works, fails for good, or has failed for too
// long. Between two attempts it backs off, longer and longer, and not in step
// with others that failed at the same time. What is busy is waited for as long as
// anywhere (patience), if it is called by insist and not by insistUnlessBusy.
func insist(ctx context.Context, again func(error), do func(attempt int) error) error {
	return insistWith(ctx, patience, again, do)
}

func insistUnlessBusy(ctx context.Context, again func(error), do func(attempt int) error) error {
	return insistWith(ctx, 0, again, do)
}

func insistWith(ctx context.Context, patience time.Duration, again func(error), do func(attempt int) error) error {
	pace := backoff.NewExponentialBackOff()
	pace.InitialInterval, pace.MaxInterval = firstRetry, longestRetry
	var waited time.Duration
	waits := beginWaiting(ctx)
	for began, attempt := time.Now(), 0; ; attempt++ {
		err := do(attempt)
		if err == nil || ctx.Err() != nil {
			return err
		}
		pause := pace.NextBackOff()
		switch {
		case busy(err) && time.Since(began) < patience:
		case !transient(err):
			return err
		default:
			if waited += pause; waited > retryFor {
				return err
			}
		}
		again(err)
		waits.goesOn(err.Error())
		if wait(ctx, pause) != nil {
			return err
		}
	}
}

// persist carries an operation out, again if need be. A call whose answer was
// lost may have taken effect: before the next attempt the store is looked at.
// reached is called when what comes after it can begin, if that is before its end.
func (x *execution) persist(ctx context.Context, i int, o domain.Operation, reached func()) error {
	again := func(err error) {
		x.engine.log.Info("again after a failure", zap.String("replica", x.run.Replica), zap.String("run", x.run.ID),
			zap.String("verb", string(o.Verb)), zap.String("of", x.describe(i)), zap.Error(err))
		x.progress.retry(o, x.subject[i], err)
	}
	for first := true; ; first = false {
		failure := insist(ctx, again, func(attempt int) error {
			if attempt > 0 || !first {
				if done, err := x.settle(ctx, o); done || err != nil {
					return err
				}
			}
			return x.perform(ctx, i, o, reached)
		})
		if failure == nil {
			return nil
		}
		if another, err := x.handOver(ctx, o, failure); !another {
			return err
		}
	}
}

// insistOn is insist for what is not an operation of the plan.
func (r *rebuild) insistOn(ctx context.Context, what string, do func() error) error {
	again := func(err error) {
		r.engine.log.Info("again after a failure", zap.String("replica", r.run.Replica), zap.String("run", r.run.ID), zap.String("step", what), zap.Error(err))
	}
	return insist(ctx, again, func(int) error { return do() })
}

// quietly is for what is done again without a word.
func quietly(error) {}
