package guard

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rootgraft/rebuild/internal/ports"
)

// Freeze has a freezer freeze the volume. Whatever the freezer does, work is done once at most, it has ended when
// Freeze returns, its error is never lost, and no error means that it was done. If work fails after its context has
// ended, clients may have gone on meanwhile, so the error wraps ports.ErrThawed.
func Freeze(ctx context.Context, freezer ports.Freezer, limit time.Duration, work func(ctx context.Context) error) error {
	w := &frozenWork{work: work}
	err := freezer.Freeze(ctx, limit, w.do)
	begun, late := w.end()
	switch {
	case !begun && err == nil:
		return fmt.Errorf("%w: its freezer did not call the work", ports.ErrNotFrozen)
	case !begun:
		return err
	case late:
		err = errors.Join(fmt.Errorf("%w: its freezer did not wait for the work", ports.ErrThawed), err)
	case errors.Is(err, ports.ErrNotFrozen): // callers take it that nothing was done
		err = fmt.Errorf("%w: its freezer failed after the work: %v", ports.ErrThawed, err) //nolint:errorlint // it is not of that kind any more
	case w.cutOff && !errors.Is(err, ports.ErrThawed):
		err = errors.Join(fmt.Errorf("%w: the work was cut off", ports.ErrThawed), err)
	}
	if w.err != nil && !errors.Is(err, w.err) {
		err = errors.Join(err, w.err)
	}
	return err
}

// frozenWork is work for one freeze.
type frozenWork struct {
	work func(ctx context.Context) error

	mu     sync.Mutex
	over   bool          // the freezer has returned
	done   chan struct{} // closed when work has returned; nil: it was not called
	err    error         // of work
	cutOff bool          // work failed after its context had ended
}

var (
	errFreezeOver = errors.New("the freeze is over")
	errNotDone    = errors.New("the work in the freeze panicked")
)

func (w *frozenWork) do(ctx context.Context) error {
	w.mu.Lock()
	over, done := w.over, w.done
	if !over && done == nil {
		w.done, w.err = make(chan struct{}), errNotDone
	}
	w.mu.Unlock()
	switch {
	case over:
		return errFreezeOver
	case done != nil: // a second call has the result of the first
		<-done
		return w.err
	}
	defer close(w.done)
	w.err = w.work(ctx)
	w.cutOff = w.err != nil && ctx.Err() != nil
	return w.err
}

// end waits for the work. late says that the freezer did not.
func (w *frozenWork) end() (begun, late bool) {
	w.mu.Lock()
	w.over = true
	done := w.done
	w.mu.Unlock()
	if done == nil {
		return false, false
	}
	select {
	case <-done:
	default:
		late = true
		<-done
	}
	return true, late
}
