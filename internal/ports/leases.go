package ports

import (
	"slices"
	"sync"
)

// Leases are the leases of one process. The zero value is ready.
type Leases struct {
	mu   sync.Mutex
	held map[string][]*Lease
}

// Take leases a name. If others hold it, the error is a *HeldError, which names those that
// said who they are.
func (l *Leases) Take(name string, lease Lease) (release func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if held := l.held[name]; len(held) > 0 && !(lease.Shared && held[0].Shared) {
		err := &HeldError{}
		for _, other := range held {
			if other.Holder != "" {
				err.Holders = append(err.Holders, other.Holder)
			}
		}
		return nil, err
	}
	if l.held == nil {
		l.held = make(map[string][]*Lease)
	}
	l.held[name] = append(l.held[name], &lease)
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		left := slices.DeleteFunc(l.held[name], func(other *Lease) bool { return other == &lease })
		if l.held[name] = left; len(left) == 0 {
			delete(l.held, name)
		}
	}), nil
}
