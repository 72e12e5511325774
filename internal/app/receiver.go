package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rootgraft/rebuild/internal/ports"
)

// lookEvery is how often the receiving host of a copy is asked whether it is
// still there.
const lookEvery = time.Second

// watch is a context that ends when a host does not answer any more, and how to end
// the watch. Of a copy both hosts are watched: the sender alone notices late, or
// never, that the receiver is gone, since what it sends is waited for while the
// connection stands. Two answers have to fail, since a connection can break once.
func watch(ctx context.Context, host ports.Host, uuid string) (context.Context, func()) {
	copying, cancel := context.WithCancelCause(ctx)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for failed := false; failed || wait(copying, lookEvery) == nil; {
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
