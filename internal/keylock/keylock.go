// Package keylock has locks by key.
package keylock

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// Locks are locks by key. A lock exists while somebody holds it or waits for it.
// The zero value is ready.
type Locks struct {
	mu   sync.Mutex
	held map[string]*lock
}

type lock struct {
	token chan struct{} // holds one value while nobody has the lock
	users int           // who has it or waits for it
}

// Take waits until nobody else has any of the keys. They are taken in one order by
// everybody, so that nobody waits in a circle. If ctx ends before a key is free, the
// error wraps its cause, and nothing is held.
func (l *Locks) Take(ctx context.Context, keys ...string) (release func(), err error) {
	var held []func()
	release = func() {
		for _, give := range held {
			give()
		}
	}
	for _, key := range slices.Compact(slices.Sorted(slices.Values(keys))) {
		one := l.join(key)
		if !one.wait(ctx) {
			l.leave(key, one)
			release()
			return nil, fmt.Errorf("wait for %s, which is in use: %w", key, context.Cause(ctx))
		}
		held = append(held, func() { l.give(key, one) })
	}
	return release, nil
}

// wait reports whether the lock was free before the context's end.
func (one *lock) wait(ctx context.Context) bool {
	select {
	case <-one.token:
		return true
	default:
	}
	select {
	case <-one.token:
		return true
	case <-ctx.Done():
		return false
	}
}

// Try takes a key if nobody has it.
func (l *Locks) Try(key string) (release func(), ok bool) {
	one := l.join(key)
	select {
	case <-one.token:
		return func() { l.give(key, one) }, true
	default:
		l.leave(key, one)
		return nil, false
	}
}

func (l *Locks) join(key string) *lock {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held == nil {
		l.held = make(map[string]*lock)
	}
	one := l.held[key]
	if one == nil {
		one = &lock{token: make(chan struct{}, 1)}
		one.token <- struct{}{}
		l.held[key] = one
	}
	one.users++
	return one
}

func (l *Locks) give(key string, one *lock) {
	one.token <- struct{}{}
	l.leave(key, one)
}

func (l *Locks) leave(key string, one *lock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if one.users--; one.users == 0 {
		delete(l.held, key)
	}
}
