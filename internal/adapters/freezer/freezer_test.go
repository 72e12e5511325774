package freezer_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/freezer"
	"github.com/rootgraft/rebuild/internal/ports"
)

const limit = 5 * time.Second

var errTorn = errors.New("wire torn")

// clients remembers whether clients are stopped, and since when they are not.
type clients struct {
	begun time.Time

	mu     sync.Mutex
	frozen bool
	n      int           // of thaws
	at     time.Duration // after begun, when they went on

	freezing func(ctx context.Context) error // before they are stopped
	thawing  func(n int) error               // before they go on
}

func newClients() *clients {
	return &clients{
		begun:    time.Now(),
		freezing: func(context.Context) error { return nil },
		thawing:  func(int) error { return nil },
	}
}

func (c *clients) freezer() *freezer.Freezer {
	return freezer.Func(func(ctx context.Context) error {
		err := c.freezing(ctx)
		c.stop()
		return err
	}, c.thaw)
}

func (c *clients) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.frozen = true
}

func (c *clients) thaw(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	if err := c.thawing(c.n); err != nil {
		return err
	}
	if c.frozen {
		c.at = time.Since(c.begun)
	}
	c.frozen = false
	return ctx.Err()
}

func (c *clients) stopped() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.frozen
}

func (c *clients) thaws() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

func (c *clients) freed() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func sleeps(d time.Duration) func(context.Context) error {
	return func(context.Context) error {
		time.Sleep(d)
		return nil
	}
}

func bubble(t *testing.T, name string, test func(t *testing.T, c *clients)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { test(t, newClients()) })
	})
}

func TestFreeze(t *testing.T) {
	bubble(t, "clients stand still while work is done", func(t *testing.T, c *clients) {
		require.NoError(t, c.freezer().Freeze(t.Context(), limit, func(context.Context) error {
			require.True(t, c.stopped())
			time.Sleep(time.Second)
			return nil
		}))
		require.False(t, c.stopped())
		require.Equal(t, time.Second, c.freed())
	})
	bubble(t, "the error of work", func(t *testing.T, c *clients) {
		err := c.freezer().Freeze(t.Context(), limit, func(context.Context) error { return errTorn })
		require.Equal(t, errTorn, err)
		require.False(t, c.stopped())
	})
	bubble(t, "work that panics", func(t *testing.T, c *clients) {
		require.PanicsWithValue(t, "oh", func() {
			_ = c.freezer().Freeze(t.Context(), limit, func(context.Context) error { panic("oh") })
		})
		require.False(t, c.stopped())
		require.Equal(t, 1, c.thaws())
	})
	bubble(t, "work that exits its goroutine", func(t *testing.T, c *clients) {
		over := make(chan struct{})
		go func() {
			defer close(over)
			_ = c.freezer().Freeze(t.Context(), limit, func(context.Context) error {
				runtime.Goexit()
				return nil
			})
			t.Error("it goes on")
		}()
		<-over
		require.False(t, c.stopped())
	})
	bubble(t, "work that ends with its context at the limit", func(t *testing.T, c *clients) {
		err := c.freezer().Freeze(t.Context(), limit, func(ctx context.Context) error {
			<-ctx.Done()
			return errTorn
		})
		require.ErrorIs(t, err, ports.ErrThawed)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, errTorn)
		require.Equal(t, limit, c.freed())
	})
	bubble(t, "work that ignores its context", func(t *testing.T, c *clients) {
		err := c.freezer().Freeze(t.Context(), limit, sleeps(time.Minute))
		require.ErrorIs(t, err, ports.ErrThawed)
		require.Equal(t, limit, c.freed())
		require.Equal(t, time.Minute, time.Since(c.begun), "it waits for work")
	})
	bubble(t, "the context ends", func(t *testing.T, c *clients) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, c.freezer().Freeze(ctx, limit, sleeps(2*time.Second)), ports.ErrThawed)
		require.Equal(t, time.Second, c.freed())
	})
	bubble(t, "the time of freezing is part of the limit", func(t *testing.T, c *clients) {
		c.freezing = sleeps(2 * time.Second)
		require.ErrorIs(t, c.freezer().Freeze(t.Context(), limit, sleeps(4*time.Second)), ports.ErrThawed)
		require.Equal(t, limit, c.freed())
	})
	bubble(t, "without anybody to stop the limit holds all the same", func(t *testing.T, c *clients) {
		require.NoError(t, freezer.None().Freeze(t.Context(), limit, sleeps(time.Second)))
		require.ErrorIs(t, freezer.None().Freeze(t.Context(), limit, sleeps(time.Minute)), ports.ErrThawed)
	})
}

func notCalled(t *testing.T) func(context.Context) error {
	return func(context.Context) error {
		t.Error("work was called")
		return nil
	}
}

func TestFreezeFails(t *testing.T) {
	bubble(t, "with an error, when it is half done", func(t *testing.T, c *clients) {
		c.freezing = func(context.Context) error { return errTorn }
		err := c.freezer().Freeze(t.Context(), limit, notCalled(t))
		require.ErrorIs(t, err, ports.ErrNotFrozen)
		require.ErrorIs(t, err, errTorn)
		require.False(t, c.stopped())
	})
	bubble(t, "as the context has ended before", func(t *testing.T, c *clients) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, c.freezer().Freeze(ctx, limit, notCalled(t)), ports.ErrNotFrozen)
		require.Zero(t, c.thaws())
	})
	bubble(t, "as it hangs until its context ends", func(t *testing.T, c *clients) {
		c.freezing = func(ctx context.Context) error {
			<-ctx.Done()
			return nil
		}
		err := c.freezer().Freeze(t.Context(), limit, notCalled(t))
		require.ErrorIs(t, err, ports.ErrNotFrozen)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.EqualError(t, err, "the volume was not frozen: the limit of 5s was over")
		synctest.Wait()
		require.False(t, c.stopped())
		require.Equal(t, limit, time.Since(c.begun))
	})
	bubble(t, "as it takes too long, and freezes them in the end", func(t *testing.T, c *clients) {
		c.freezing = sleeps(time.Minute)
		f := c.freezer()
		require.ErrorIs(t, f.Freeze(t.Context(), limit, notCalled(t)), ports.ErrNotFrozen)
		require.Equal(t, limit, time.Since(c.begun))
		require.ErrorIs(t, f.Freeze(t.Context(), limit, notCalled(t)), ports.ErrNotFrozen, "the first one still hangs")
		require.Equal(t, 2*limit, time.Since(c.begun))
		time.Sleep(time.Minute)
		synctest.Wait()
		require.False(t, c.stopped())
		require.Equal(t, time.Minute, c.freed())
		c.freezing = sleeps(0)
		require.NoError(t, f.Freeze(t.Context(), limit, sleeps(0)))
	})
	bubble(t, "with a panic", func(t *testing.T, c *clients) {
		c.freezing = func(context.Context) error { panic("oh") }
		f := c.freezer()
		require.PanicsWithValue(t, "oh", func() { _ = f.Freeze(t.Context(), limit, notCalled(t)) })
		require.Equal(t, 1, c.thaws())
		require.NoError(t, f.Thaw(t.Context()), "it is not held any more")
	})
}

func TestThaw(t *testing.T) {
	bubble(t, "is repeated", func(t *testing.T, c *clients) {
		c.thawing = func(n int) error {
			if n < 3 {
				return errTorn
			}
			return nil
		}
		require.NoError(t, c.freezer().Freeze(t.Context(), limit, sleeps(0)))
		require.Equal(t, 3, c.thaws())
		require.False(t, c.stopped())
	})
	bubble(t, "never works", func(t *testing.T, c *clients) {
		c.thawing = func(int) error { return errTorn }
		err := c.freezer().Freeze(t.Context(), limit, sleeps(0))
		require.ErrorContains(t, err, "clients may still be frozen, thaw them: wire torn")
		require.Equal(t, time.Minute, time.Since(c.begun))
	})
	bubble(t, "is given up soon if the volume's host is gone", func(t *testing.T, c *clients) {
		c.thawing = func(int) error { return ports.ErrGone }
		require.ErrorIs(t, c.freezer().Freeze(t.Context(), limit, sleeps(0)), ports.ErrNotThawed)
		require.Equal(t, 2*time.Second, time.Since(c.begun))
	})
	bubble(t, "ends the freeze of a process that died", func(t *testing.T, c *clients) {
		c.stop()
		require.NoError(t, c.freezer().Thaw(t.Context()))
		require.False(t, c.stopped())
		require.NoError(t, c.freezer().Thaw(t.Context()), "nobody is stopped")
	})
	bubble(t, "is not repeated after the end of its context", func(t *testing.T, c *clients) {
		c.thawing = func(int) error { return errTorn }
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		require.ErrorIs(t, c.freezer().Thaw(ctx), ports.ErrNotThawed)
		require.Equal(t, 10*time.Second, time.Since(c.begun))
	})
	bubble(t, "waits for a freeze of this process", func(t *testing.T, c *clients) {
		f := c.freezer()
		frozen := make(chan error)
		go func() { frozen <- f.Freeze(t.Context(), limit, sleeps(2*time.Second)) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, f.Thaw(ctx), context.DeadlineExceeded)
		require.True(t, c.stopped())
		require.NoError(t, <-frozen)
		require.NoError(t, f.Thaw(t.Context()))
	})
	bubble(t, "does not wait for a freeze function that hangs", func(t *testing.T, c *clients) {
		c.freezing = sleeps(time.Hour)
		f := c.freezer()
		frozen := make(chan error)
		go func() { frozen <- f.Freeze(t.Context(), limit, notCalled(t)) }()
		synctest.Wait()
		for range 2 {
			require.NoError(t, f.Thaw(t.Context()))
			require.Equal(t, limit, time.Since(c.begun))
		}
		require.ErrorIs(t, <-frozen, ports.ErrNotFrozen)
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Equal(t, 4, c.thaws(), "once more when it has ended")
		c.freezing = sleeps(0)
		require.NoError(t, f.Freeze(t.Context(), limit, sleeps(0)))
	})
	bubble(t, "two freezes follow each other", func(t *testing.T, c *clients) {
		f := c.freezer()
		first := make(chan error)
		go func() { first <- f.Freeze(t.Context(), limit, sleeps(2*time.Second)) }()
		synctest.Wait()
		require.NoError(t, f.Freeze(t.Context(), limit, func(context.Context) error {
			require.True(t, c.stopped())
			return nil
		}))
		require.NoError(t, <-first)
		require.Equal(t, 2, c.thaws())
	})
}
