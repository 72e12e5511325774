package app

import (
	"context"
	"time"

	"github.com/rootgraft/rebuild/internal/app/executor"
)

// freeze does work in a freeze of the volume and notes how long that took.
func (l *liveRun) freeze(ctx context.Context, work func(ctx context.Context) error) error {
	err := l.freezer.Freeze(ctx, l.limit, l.timed(work))
	l.maybeFrozen = err != nil
	return err
}

// timed notes how long the work in a freeze takes.
func (l *liveRun) timed(work func(ctx context.Context) error) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		began := time.Now()
		defer func() { l.noteFreeze(time.Since(began)) }()
		return work(ctx)
	}
}

func (l *liveRun) noteFreeze(took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.freezes = append(l.freezes, took)
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
