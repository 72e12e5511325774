package app

import (
	"context"
	"errors"
	"time"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/ports"
)

// freeze does work in a freeze of the volume and notes how long that took.
func (l *liveRun) freeze(ctx context.Context, work func(ctx context.Context) error) error {
	err := l.freezer.Freeze(ctx, l.limit, func(ctx context.Context) error {
		began := time.Now()
		defer func() { l.noteFreeze(time.Since(began)) }()
		return work(ctx)
	})
	l.maybeFrozen = err != nil
	return err
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

// undoInFreeze undoes a cut after its freeze has ended too early: clients that trim while some
// members have the snapshot would make their bytes differ.
func (l *liveRun) undoInFreeze(ctx context.Context) error {
	err := l.freeze(context.WithoutCancel(ctx), l.undoCut)
	if errors.Is(err, ports.ErrNotFrozen) {
		return l.undoCut(ctx)
	}
	return err
}
