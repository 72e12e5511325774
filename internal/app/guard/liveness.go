package guard

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rootgraft/rebuild/internal/app/retry"
	"github.com/rootgraft/rebuild/internal/ports"
)

// livenessInterval is how often the receiving host of a copy is asked whether it is
// still there.
const livenessInterval = time.Second

// watch is a context that ends when a host does not answer any more, and how to end
// the watch. Of a copy both hosts are watched: the sender alone notices late, or
// never, that the receiver is gone, since what it sends is waited for while the
// connection stands. Two answers have to fail, since a connection can break once.
func watch(ctx context.Context, host ports.Host, uuid string) (context.Context, func()) {
	copying, cancel := context.WithCancelCause(ctx)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for failed := false; failed || retry.Wait(copying, livenessInterval) == nil; {
			_, err := host.Look(copying, uuid)
			gone := errors.Is(err, ports.ErrUnavailable) && copying.Err() == nil
			if failed && gone {
				cancel(fmt.Errorf("the host does not answer any more: %w", err))
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

// WhileAnswering has a call go on for as long as the host answers looks at an lvol.
func WhileAnswering(ctx context.Context, host ports.Host, uuid string, call func(ctx context.Context) error) error {
	watched, stop := watch(ctx, host, uuid)
	err := call(watched)
	if gone := context.Cause(watched); err != nil && gone != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w: %w", gone, err)
	}
	stop()
	return err
}
