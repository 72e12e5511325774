package app

import (
	"context"
	"time"

	"github.com/rootgraft/rebuild/internal/app/executor"
)

// freeze does work in a freeze of the volume.
func (l *liveRun) freeze(ctx context.Context, work func(ctx context.Context) error) error {
	err := l.freezer.Freeze(ctx, l.limit, work)
	l.maybeFrozen = err != nil
	return err
}

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
