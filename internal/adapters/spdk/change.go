package spdk

import (
	"context"
	"time"
)

// grace is how long a call that changes the store is waited for after the
// caller's context has ended. A target that works answers in 8 ms, and with the
// answer it is known what to clean up; one that hangs is not worth more.
const grace = time.Second

// change does a call that changes something. One that has begun is not given up
// at once when the context ends.
func (h *Host) change(ctx context.Context, method string, params, into any) error {
	one := newCall(method, params, into)
	h.changeAll(ctx, one)
	return one.err
}

// changeAll is change for calls that do not depend on each other.
func (h *Host) changeAll(ctx context.Context, calls ...*call) {
	if ctx.Err() == nil {
		var end context.CancelFunc
		ctx, end = withGrace(ctx)
		defer end()
	}
	h.rpc.do(ctx, calls...)
}

// withGrace is a context that ends a while after the given one.
func withGrace(ctx context.Context) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(grace)
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
