package app

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/rootgraft/rebuild/internal/app/retry"
	"github.com/rootgraft/rebuild/internal/domain"
)

// locks let the rebuilds of one process wait for each other instead of running
// into a busy lvol: grafts under one parent (the shared image!) come one after
// the other, and so do copies of one snapshot. The zero value is ready.
type locks struct {
	mu   sync.Mutex
	held map[string]*lock
}

type lock struct {
	token chan struct{} // holds one value while nobody has the lock
	users int           // who has it or waits for it
}

// acquire waits until nobody else has the lock on the thing, and returns how
// to give it back; forWhat says for people what is waited for. A hand holds one such lock at a time, so none waits for
// another in a circle.
func (l *locks) acquire(ctx context.Context, thing string, forWhat func() string) (release func(), err error) {
	k := l.join(thing)
	if err := retry.Until(ctx, forWhat, k.token); err != nil {
		l.leave(thing)
		return nil, err
	}
	return func() { k.token <- struct{}{}; l.leave(thing) }, nil
}

// tryAcquire is acquire without the wait.
func (l *locks) tryAcquire(thing string) (release func(), ok bool) {
	k := l.join(thing)
	select {
	case <-k.token:
		return func() { k.token <- struct{}{}; l.leave(thing) }, true
	default:
		l.leave(thing)
		return nil, false
	}
}

func (l *locks) join(thing string) *lock {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held == nil {
		l.held = make(map[string]*lock)
	}
	k, ok := l.held[thing]
	if !ok {
		k = &lock{token: make(chan struct{}, 1)}
		k.token <- struct{}{}
		l.held[thing] = k
	}
	k.users++
	return k
}

func (l *locks) leave(thing string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.held[thing]
	if k.users--; k.users == 0 {
		delete(l.held, thing)
	}
}

// lockLvol keeps the other runs of this process off an lvol that they may share.
func (e *Engine) lockLvol(ctx context.Context, on domain.Listing, uuid string) (release func(), err error) {
	forWhat := func() string {
		name := uuid
		if i := slices.IndexFunc(on.Lvols, func(l domain.Lvol) bool { return l.UUID == uuid }); i >= 0 {
			name = on.Lvols[i].Name
		}
		return fmt.Sprintf("another run of this process, which uses lvol %s on lvstore %s", name, on.Name)
	}
	return e.locks.acquire(ctx, "lvol "+on.UUID+"/"+uuid, forWhat)
}
