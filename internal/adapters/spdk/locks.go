package spdk

import (
	"context"
	"fmt"
	"sync"

	"github.com/rootgraft/rebuild/internal/ports"
)

// locks are one lock per lvol, for what hangs something on it or deletes it: a
// target refuses the second of two such calls at once. A lock exists while
// somebody holds it or waits for it.
type locks struct {
	mu   sync.Mutex
	held map[string]*lock
}

type lock struct {
	turn  chan struct{} // holds one value while nobody has the lock
	users int
}

// take waits for the lvol's lock, or for the context's end.
func (l *locks) take(ctx context.Context, uuid string) (release func(), err error) {
	l.mu.Lock()
	if l.held == nil {
		l.held = make(map[string]*lock)
	}
	one := l.held[uuid]
	if one == nil {
		one = &lock{turn: make(chan struct{}, 1)}
		one.turn <- struct{}{}
		l.held[uuid] = one
	}
	one.users++
	l.mu.Unlock()

	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if one.users--; one.users == 0 {
			delete(l.held, uuid)
		}
	}
	select {
	case <-one.turn:
		return func() { one.turn <- struct{}{}; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, fmt.Errorf("wait for lvol %s, which is in use: %w: %w", uuid, context.Cause(ctx), ports.ErrUnavailable)
	}
}
