package spdk

import (
	"context"
	"fmt"
	"sync"

	"github.com/rootgraft/rebuild/internal/ports"
)

// locks are by name: of an lvol, for what hangs something on it or deletes it (a
// target refuses the second of two such calls at once), of a run and of a
// subsystem. A lock exists while somebody holds it or waits for it.
type locks struct {
	mu   sync.Mutex
	held map[string]*lock
}

type lock struct {
	turn  chan struct{} // holds one value while nobody has the lock
	users int
}

// take waits for the lock, or for the context's end.
func (l *locks) take(ctx context.Context, name string) (release func(), err error) {
	l.mu.Lock()
	if l.held == nil {
		l.held = make(map[string]*lock)
	}
	one := l.held[name]
	if one == nil {
		one = &lock{turn: make(chan struct{}, 1)}
		one.turn <- struct{}{}
		l.held[name] = one
	}
	one.users++
	l.mu.Unlock()

	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if one.users--; one.users == 0 {
			delete(l.held, name)
		}
	}
	select {
	case <-one.turn:
		return func() { one.turn <- struct{}{}; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, fmt.Errorf("wait for %s, which is in use: %w: %w", name, context.Cause(ctx), ports.ErrUnavailable)
	}
}
