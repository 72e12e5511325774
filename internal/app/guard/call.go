package guard

import (
	"context"
	"fmt"
	"time"

	"github.com/rootgraft/rebuild/internal/app/retry"
	"github.com/rootgraft/rebuild/internal/ports"
)

// The deadlines of calls. Adapters know their hosts better and give up sooner; these are
// for those that do not.
const (
	callTime  = time.Minute     // of one lvol
	storeTime = 5 * time.Minute // what takes longer the more there is
)

// within ends a call after that time.
func within[T any](ctx context.Context, allowed time.Duration, call func(ctx context.Context) (T, error)) (T, error) {
	bounded, cancel := context.WithTimeout(ctx, allowed)
	defer cancel()
	value, err := call(bounded)
	if err != nil && bounded.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w: no answer within %v: %w: %w", ports.ErrUnavailable, allowed, context.DeadlineExceeded, err)
	}
	return value, err
}

// endWithin is within for a call that returns nothing but an error.
func endWithin(ctx context.Context, allowed time.Duration, call func(ctx context.Context) error) error {
	_, err := within(ctx, allowed, func(ctx context.Context) (struct{}, error) { return struct{}{}, call(ctx) })
	return err
}

// patient is within for a call that waits for what is busy; each attempt has that time.
func patient[T any](ctx context.Context, allowed time.Duration, call func(ctx context.Context) (T, error)) (value T, err error) {
	err = retry.Busy.Call(ctx, func() (err error) {
		value, err = within(ctx, allowed, call)
		return err
	})
	return value, err
}

// endPatiently is patient for a call that returns nothing but an error.
func endPatiently(ctx context.Context, allowed time.Duration, call func(ctx context.Context) error) error {
	return retry.Busy.Call(ctx, func() error { return endWithin(ctx, allowed, call) })
}
