package app

import (
	"context"
	"fmt"
	"slices"

	"github.com/rootgraft/rebuild/internal/app/retry"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/keylock"
)

// locks make the runs of one process wait for each other instead of finding an lvol busy.
// Grafts onto one parent (such as a shared image) and copies of one snapshot come one
// after the other. The zero value is ready.
type locks struct{ keylock.Locks }

// acquire waits for the lock of a key. forWhat describes the wait for people. A worker
// holds one such lock at a time, so there is no deadlock.
func (l *locks) acquire(ctx context.Context, key string, forWhat func() string) (release func(), err error) {
	release, ok := l.Try(key)
	if ok {
		return release, nil
	}
	err = retry.While(ctx, forWhat, func() (err error) {
		release, err = l.Take(ctx, key)
		return err
	})
	if err != nil {
		return nil, context.Cause(ctx)
	}
	return release, nil
}

// lockLvol locks an lvol that other runs of this process may use.
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
