package guard

import (
	"context"
	"fmt"
	"time"

	"github.com/rootgraft/rebuild/internal/app/retry"
	"github.com/rootgraft/rebuild/internal/ports"
)

// The deadlines of calls. Adapters know their hosts better and give up sooner; these are
// for adapters that do not.
const (
	callTime  = time.Minute     // of a call for one lvol
	storeTime = 5 * time.Minute // of a call whose time grows with the store
)

// within ends a call after the allowed time, or when the host is no longer used.
func within[T any](ctx context.Context, g *Host, allowed time.Duration, call func(ctx context.Context) (T, error)) (T, error) {
	using, end := g.Using(ctx)
	defer end()
	bounded, cancel := context.WithTimeout(using, allowed)
	defer cancel()
	value, err := call(bounded)
	if err != nil && bounded.Err() != nil && using.Err() == nil {
		err = fmt.Errorf("%w: no answer within %v: %w: %w", ports.ErrUnavailable, allowed, context.DeadlineExceeded, err)
	}
	return value, orNotUsed(using, err)
}

// withinErr is within for a call that returns only an error.
func withinErr(ctx context.Context, g *Host, call func(ctx context.Context) error) error {
	_, err := within(ctx, g, callTime, func(ctx context.Context) (struct{}, error) { return struct{}{}, call(ctx) })
	return err
}

// patient is within for a call that waits for a busy lvol. The time is for each attempt.
func patient[T any](ctx context.Context, g *Host, allowed time.Duration, call func(ctx context.Context) (T, error)) (value T, err error) {
	using, end := g.Using(ctx)
	defer end()
	err = retry.Busy.Call(using, func() (err error) {
		value, err = within(using, g, allowed, call)
		return err
	})
	return value, orNotUsed(using, err)
}

// patientErr is patient for a call that returns only an error.
func patientErr(ctx context.Context, g *Host, allowed time.Duration, call func(ctx context.Context) error) error {
	_, err := patient(ctx, g, allowed, func(ctx context.Context) (struct{}, error) { return struct{}{}, call(ctx) })
	return err
}
