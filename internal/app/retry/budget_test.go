package retry

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/ports"
)

var (
	errBusy    = fmt.Errorf("lvol: %w", ports.ErrBusy)
	errPasses  = fmt.Errorf("socket: %w", ports.ErrUnavailable)
	errInvalid = fmt.Errorf("lvol: %w", ports.ErrInvalid)
)

func TestBudgetsEndByTheKindOfFailure(t *testing.T) {
	for name, c := range map[string]struct {
		budget      Budget
		failure     error
		least, most time.Duration
	}{
		"once, busy":                  {Once, errBusy, 0, 0},
		"once, transient":             {Once, errPasses, 0, 0},
		"a step, busy":                {Step, errBusy, busyFor, busyFor + longestBusyPause*2},
		"a step, transient":           {Step, errPasses, transientFor / 2, transientFor},
		"what must not be made twice": {Busy, errPasses, 0, 0},
		"a volume uses it":            {Transient, errBusy, 0, 0},
		"for good":                    {Step, errInvalid, 0, 0},
		"a host that hangs":           {Step, fmt.Errorf("%w: %w", errPasses, context.DeadlineExceeded), 0, 0},
		"final, though busy":          {Step, fmt.Errorf("%w: %w", ErrFinal, errBusy), 0, 0},
		"final, though unavailable":   {Step, fmt.Errorf("%w: %w", ErrFinal, errPasses), 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				err := c.budget.Call(t.Context(), func() error { return c.failure })
				require.Equal(t, c.failure, err, "the last error, as it is")
				require.GreaterOrEqual(t, time.Since(began), c.least)
				require.LessOrEqual(t, time.Since(began), c.most)
			})
		})
	}
}

// What is done again learns why, and only transient failures are announced: after a busy
// answer nothing is unknown.
func TestDoTellsThePreviousError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := []error{errBusy, errPasses, errBusy, nil}
		var seen, told []error
		err := Step.Do(t.Context(), func(err error) { told = append(told, err) }, func(previous error) error {
			seen = append(seen, previous)
			return answers[len(seen)-1]
		})
		require.NoError(t, err)
		require.Equal(t, []error{nil, errBusy, errPasses, errBusy}, seen)
		require.Equal(t, []error{errPasses}, told)
	})
}

// A copy takes long by itself: only the pauses count as transient failures.
func TestTransientBudgetDoesNotCountTheCallsOwnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		err := Step.Call(t.Context(), func() error {
			time.Sleep(time.Hour)
			calls++
			if calls < 4 {
				return errPasses
			}
			return nil
		})
		require.NoError(t, err)
	})
}

// All calls of a cleanup share one budget.
func TestTidyEndsAllCallsAtOneTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, budget := time.Now(), Tidy()
		for range 5 {
			require.Error(t, budget.Call(t.Context(), func() error { return errPasses }))
			require.Error(t, budget.Call(t.Context(), func() error { return errBusy }))
		}
		require.LessOrEqual(t, time.Since(began), tidyFor)
	})
}

func TestEndOfTheContextDuringAPauseIsInTheError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("the user has had enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(why) })
		err := Busy.Call(ctx, func() error { return errBusy })
		require.ErrorIs(t, err, ports.ErrBusy)
		require.ErrorIs(t, err, why)
	})
}

func TestWaitThatTakesLongIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		ctx := OnWaiting(t.Context(), func(text string) { told = append(told, text) })
		began := time.Now()
		err := Busy.Call(ctx, func() error {
			if time.Since(began) < 40*time.Second {
				return errBusy
			}
			return nil
		})
		require.NoError(t, err)
		require.Len(t, told, 2, "after 2 seconds, and 30 seconds later")
		require.Contains(t, told[0], "for 2s now: lvol: busy")
	})
}
