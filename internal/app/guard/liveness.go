package guard

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rootgraft/rebuild/internal/app/retry"
	"github.com/rootgraft/rebuild/internal/ports"
)

// livenessInterval is the time between two checks of a host during a transfer.
const livenessInterval = time.Second

// watch returns a context that ends when the host stops answering, and a function to stop.
// Both hosts of a copy are watched: the sender alone notices late or never that the
// receiver is gone, since writes wait while the connection stands. Two checks must fail in
// a row, since a connection can break once.
func watch(ctx context.Context, host ports.Host, uuid string) (context.Context, func()) {
	copying, cancel := context.WithCancelCause(ctx)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for failed := false; failed || retry.Wait(copying, livenessInterval) == nil; {
			_, err := host.Look(copying, uuid)
			gone := errors.Is(err, ports.ErrUnavailable) && copying.Err() == nil
			if failed && gone {
				cancel(fmt.Errorf("the host no longer answers: %w", err))
				return
			}
			failed = gone
		}
	}()
	return copying, func() {
		cancel(nil)
		<-stopped
	}
}

// WhileAnswering makes a call and ends it when the host stops answering.
func WhileAnswering(ctx context.Context, host ports.Host, uuid string, call func(ctx context.Context) error) error {
	watched, stop := watch(ctx, host, uuid)
	err := call(watched)
	if gone := context.Cause(watched); err != nil && gone != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w: %w", gone, err)
	}
	stop()
	return err
}
