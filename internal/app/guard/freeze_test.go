package guard_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/app/guard"
	"github.com/rootgraft/rebuild/internal/ports"
)

type work = func(ctx context.Context) error

// freezerFunc is a freezer of one function.
type freezerFunc func(work work) error

func (f freezerFunc) Freeze(_ context.Context, _ time.Duration, work work) error { return f(work) }
func (f freezerFunc) Thaw(context.Context) error                                 { return nil }

// cutsOff is a freezer that ends the work's context at once.
func cutsOff(w work) error {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	return w(ended)
}

// TestFreezersThatDoOtherThanTheyShould do work twice, never, or after the freeze.
func TestFreezersThatDoOtherThanTheyShould(t *testing.T) {
	errWork := errors.New("the work failed")
	for name, test := range map[string]struct {
		freezer freezerFunc
		work    error
		calls   int
		want    error
		not     error
	}{
		"right":              {freezer: func(w work) error { return w(t.Context()) }, calls: 1},
		"work fails":         {freezer: func(w work) error { return w(t.Context()) }, work: errWork, calls: 1, want: errWork},
		"work is not called": {freezer: func(work) error { return nil }, want: ports.ErrNotFrozen},
		"it is called twice": {freezer: func(w work) error { return errors.Join(w(t.Context()), w(t.Context())) }, calls: 1},
		"its error is lost":  {freezer: func(w work) error { _ = w(t.Context()); return nil }, work: errWork, calls: 1, want: errWork},
		"a thaw that failed": {freezer: func(w work) error { _ = w(t.Context()); return ports.ErrNotThawed }, calls: 1, want: ports.ErrNotThawed},
		"done though not frozen": {
			freezer: func(w work) error { _ = w(t.Context()); return ports.ErrNotFrozen }, calls: 1, want: ports.ErrThawed, not: ports.ErrNotFrozen,
		},
		"it does not wait": {
			freezer: func(w work) error {
				go func() { _ = w(t.Context()) }()
				time.Sleep(time.Second / 2)
				return nil
			}, calls: 1, want: ports.ErrThawed,
		},
		"a thaw that failed hides the work's error": {
			freezer: func(w work) error { _ = w(t.Context()); return ports.ErrNotThawed }, work: errWork, calls: 1, want: errWork,
		},
		"the work is cut off":                  {freezer: cutsOff, work: errWork, calls: 1, want: ports.ErrThawed},
		"the work is done as its context ends": {freezer: cutsOff, calls: 1},
		"it works later": {
			freezer: func(w work) error {
				time.AfterFunc(time.Hour, func() { _ = w(t.Context()) })
				return ports.ErrNotFrozen
			}, want: ports.ErrNotFrozen,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				err := guard.Freeze(t.Context(), test.freezer, time.Second, func(ctx context.Context) error {
					calls++
					time.Sleep(time.Second)
					return test.work
				})
				time.Sleep(2 * time.Hour)
				require.Equal(t, test.calls, calls)
				if test.want == nil {
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, err, test.want)
				}
				if test.not != nil {
					require.NotErrorIs(t, err, test.not)
				}
			})
		})
	}
}

func TestFreezerThatLosesAPanic(t *testing.T) {
	err := guard.Freeze(t.Context(), freezerFunc(func(w work) error {
		defer func() { _ = recover() }()
		return w(t.Context())
	}), time.Second, func(context.Context) error { panic("work") })
	require.ErrorContains(t, err, "panicked")
}
