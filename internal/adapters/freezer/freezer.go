package freezer

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/rootgraft/rebuild/internal/ports"
)

// Freezer freezes the clients of one volume. It implements ports.Freezer. One freeze
// takes place at a time: another one waits, and so does Thaw, unless its freeze function hangs.
type Freezer struct {
	freeze, thaw func(ctx context.Context) error
	check        func(ctx context.Context) error // nil: nothing is known
	turn         chan struct{}                   // holds a token while there is a freeze
	hangs        chan struct{}                   // holds a token while a freeze function has not ended in time
}

var (
	_ ports.Freezer       = (*Freezer)(nil)
	_ ports.FreezeChecker = (*Freezer)(nil)
)

// Func makes a Freezer of two functions. freeze stops the clients and waits for their reads
// and writes in flight; its context ends with the limit of the freeze. thaw lets clients
// go on, also after a freeze that failed or while one hangs, and is no error if they were not
// stopped. It is repeated for a minute until it works, for two seconds if it fails with
// ports.ErrGone.
func Func(freeze, thaw func(ctx context.Context) error) *Freezer {
	return &Freezer{freeze: freeze, thaw: thaw, turn: make(chan struct{}, 1), hangs: make(chan struct{}, 1)}
}

// Checked makes the freezer call check before anything is changed. It returns an
// ErrUnsupported if freeze can never work.
func (f *Freezer) Checked(check func(ctx context.Context) error) *Freezer {
	f.check = check
	return f
}

// None makes a Freezer that stops nobody: its caller guarantees that no client reads or
// writes during a freeze.
func None() *Freezer {
	nothing := func(context.Context) error { return nil }
	return Func(nothing, nothing)
}

// Freeze implements ports.Freezer. The limit includes the time that freezing takes.
func (f *Freezer) Freeze(ctx context.Context, limit time.Duration, work func(ctx context.Context) error) error {
	frozen, cancel := context.WithTimeoutCause(ctx, limit, overLimit(limit))
	defer cancel()
	if err := f.begin(frozen); err != nil {
		return fmt.Errorf("%w: %w", ports.ErrNotFrozen, err)
	}
	defer f.end()
	it := start(frozen, work)
	select {
	case <-it.over:
	case <-frozen.Done():
	}
	early := context.Cause(frozen)
	thawed := f.letGoOn(ctx)
	<-it.over
	err := it.result()
	switch {
	case early != nil:
		return errors.Join(fmt.Errorf("%w: %w", ports.ErrThawed, early), err, thawed)
	case thawed != nil:
		return errors.Join(err, thawed)
	}
	return err
}

// Thaw implements ports.Freezer.
func (f *Freezer) Thaw(ctx context.Context) error {
	select {
	case f.turn <- struct{}{}:
		defer f.end()
	case hangs := <-f.hangs:
		f.hangs <- hangs
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ports.ErrUnavailable, ctx.Err())
	}
	if err := f.thaw(ctx); err == nil {
		return nil
	} else if errors.Is(err, errNoCommand) { // no repetition helps
		return fmt.Errorf("%w: %w", ports.ErrNotThawed, err)
	}
	return f.thawAgain(ctx)
}

// CheckFreeze implements ports.FreezeChecker.
func (f *Freezer) CheckFreeze(ctx context.Context) error {
	if f.check == nil {
		return nil
	}
	return f.check(ctx)
}

// begin freezes. If that fails or takes too long, clients go on.
func (f *Freezer) begin(ctx context.Context) error {
	select {
	case f.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := context.Cause(ctx); err != nil {
		f.end()
		return err
	}
	it := start(ctx, f.freeze)
	select {
	case <-it.over:
		if it.err == nil && !it.panicked && !it.exited && ctx.Err() == nil {
			return nil
		}
		defer f.end()
		thawed := f.letGoOn(ctx)
		return errors.Join(it.result(), context.Cause(ctx), thawed)
	case <-ctx.Done():
	}
	// It may freeze the clients later, so they are let go on once more when it has ended.
	thawed := f.letGoOn(ctx)
	f.hangs <- struct{}{}
	go func() {
		defer f.end()
		<-it.over
		_ = f.letGoOn(ctx)
		<-f.hangs
	}()
	return errors.Join(context.Cause(ctx), thawed)
}

// overLimit is why the context of a freeze ends that takes longer than its limit.
type overLimit time.Duration

func (limit overLimit) Error() string {
	return fmt.Sprintf("the limit of %s was over", time.Duration(limit))
}
func (overLimit) Unwrap() error { return context.DeadlineExceeded }

func (f *Freezer) end() { <-f.turn }

// The repetitions of a thaw that fails.
const (
	thawFor   = time.Minute
	goneFor   = 2 * time.Second // if the volume's host is gone, and its clients with it
	thawPause = 100 * time.Millisecond
)

// letGoOn thaws, also after ctx has ended.
func (f *Freezer) letGoOn(ctx context.Context) error {
	return f.thawAgain(context.WithoutCancel(ctx))
}

// thawAgain thaws until that works, ctx ends, or a minute is over.
func (f *Freezer) thawAgain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, thawFor)
	defer cancel()
	for began := time.Now(); ; {
		err := f.thaw(ctx)
		if err == nil {
			return nil
		}
		if errors.Is(err, ports.ErrGone) && time.Since(began) >= goneFor {
			return fmt.Errorf("%w: %w", ports.ErrNotThawed, err)
		}
		pause := time.NewTimer(thawPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return fmt.Errorf("%w: %w", ports.ErrNotThawed, err)
		}
	}
}

// running is a function that runs in a goroutine of its own.
type running struct {
	over     chan struct{} // closed when it has ended, after the following are set
	err      error
	panicked bool
	reason   any  // of the panic
	exited   bool // by runtime.Goexit
}

func start(ctx context.Context, do func(ctx context.Context) error) *running {
	it := &running{over: make(chan struct{}), exited: true}
	go func() {
		defer close(it.over)
		defer func() {
			if reason := recover(); reason != nil {
				it.panicked, it.reason, it.exited = true, reason, false
			}
		}()
		it.err = do(ctx)
		it.exited = false
	}()
	return it
}

// result is the error of the function. It panics or exits as the function did.
func (it *running) result() error {
	switch {
	case it.panicked:
		panic(it.reason)
	case it.exited:
		runtime.Goexit()
	}
	return it.err
}
