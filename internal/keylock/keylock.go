// Package keylock has locks by key.
package keylock

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/semaphore"
)

// Locks are locks by key. A lock exists while somebody holds it or waits for it.
// The zero value is ready.
type Locks struct {
	mu   sync.Mutex
	held map[string]*lock
}

type lock struct {
	*semaphore.Weighted // of weight 1

	users int // who has it or waits for it
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
		if !one.TryAcquire(1) && one.Acquire(ctx, 1) != nil {
			l.leave(key, one)
			release()
			return nil, fmt.Errorf("wait for %s, which is in use: %w", key, context.Cause(ctx))
		}
		held = append(held, func() { l.give(key, one) })
	}
	return release, nil
}

// Try takes a key if nobody has it.
func (l *Locks) Try(key string) (release func(), ok bool) {
	one := l.join(key)
	if !one.TryAcquire(1) {
		l.leave(key, one)
		return nil, false
	}
	return func() { l.give(key, one) }, true
}

func (l *Locks) join(key string) *lock {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held == nil {
		l.held = make(map[string]*lock)
	}
	one := l.held[key]
	if one == nil {
		one = &lock{Weighted: semaphore.NewWeighted(1)}
		l.held[key] = one
	}
	one.users++
	return one
}

func (l *Locks) give(key string, one *lock) {
	one.Release(1)
	l.leave(key, one)
}

func (l *Locks) leave(key string, one *lock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if one.users--; one.users == 0 {
		delete(l.held, key)
	}
}
