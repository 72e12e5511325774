package rpc

import (
	"context"
	"time"
)

// Grace is how long a call that changes the store is waited for after the
// caller's context has ended. A target that works answers in 8 ms, and with the
// answer it is known what to clean up; one that hangs is not worth more.
const Grace = time.Second

// withGrace is a context that ends a while after the given one. A call that has
// not begun when that ends does not begin.
func withGrace(ctx context.Context) (context.Context, context.CancelFunc) {
	if ctx.Err() != nil {
		return ctx, func() {}
	}
	longer, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(Grace)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel(context.Cause(ctx))
		case <-longer.Done():
		}
	})
	return longer, func() {
		stop()
		cancel(context.Canceled)
	}
}
