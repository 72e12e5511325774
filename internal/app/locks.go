package app

import (
	"context"
	"fmt"
	"slices"

	"github.com/rootgraft/rebuild/internal/app/retry"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/keylock"
)

// locks let the rebuilds of one process wait for each other instead of running
// into a busy lvol: grafts onto one parent (the shared image!) come one after
// the other, and so do copies of one snapshot. The zero value is ready.
type locks struct{ keylock.Locks }

// acquire waits until nobody else has the key, and returns how to give it back; forWhat
// says for people what is waited for. A worker holds one such lock at a time, so none
// waits for another in a circle.
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
