package app

import (
	"slices"
	"sync"

	"github.com/rootgraft/rebuild/internal/ports"
)

// leases are the leases of the runs of this process, also for hosts that are no
// ports.Claimer. The zero value is ready.
type leases struct {
	mu   sync.Mutex
	held map[string][]*ports.Lease
}

// take leases a name. If others hold it, the error is a *ports.HeldError.
func (l *leases) take(name string, lease ports.Lease) (release func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if held := l.held[name]; len(held) > 0 && !(lease.Shared && held[0].Shared) {
		err := &ports.HeldError{}
		for _, other := range held {
			err.Holders = append(err.Holders, other.Holder)
		}
		return nil, err
	}
	if l.held == nil {
		l.held = make(map[string][]*ports.Lease)
	}
	l.held[name] = append(l.held[name], &lease)
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		left := slices.DeleteFunc(l.held[name], func(other *ports.Lease) bool { return other == &lease })
		if l.held[name] = left; len(left) == 0 {
			delete(l.held, name)
		}
	}), nil
}
