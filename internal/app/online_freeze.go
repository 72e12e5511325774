package app

import (
	"context"
	"errors"
	"time"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/ports"
)

// freeze does work in a freeze of the volume. If only the thaw fails after it, another one is tried.
func (l *liveRun) freeze(ctx context.Context, work func(ctx context.Context) error) error {
	called, failed := false, error(nil)
	err := l.freezer.Freeze(ctx, l.limit, func(ctx context.Context) error {
		called, l.frozen = true, ctx
		failed = work(ctx)
		return failed
	})
	l.maybeFrozen = err != nil
	switch {
	case !called || !errors.Is(err, ports.ErrNotThawed) || errors.Is(err, ports.ErrThawed):
		return err
	case failed == nil && l.thawAgain(ctx) != nil:
		return errNotThawedInTime
	}
	return failed // end thaws once more, and tells if that fails
}

// errNotThawedInTime says that all was done in a freeze but to end it.
var errNotThawedInTime = errors.New("clients could not be let go on in time")

func (l *liveRun) noteFreeze(stopped time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.freezes = append(l.freezes, stopped)
}

// thawAgain thaws the volume if that may have failed.
func (l *liveRun) thawAgain(ctx context.Context) error {
	if !l.maybeFrozen {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), executor.CleanUpTime)
	defer cancel()
	err := thaw(ctx, l.freezer)
	l.maybeFrozen = err != nil
	return err
}
