package app_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/ports"
)

// A rebuild that was whole failed, and a cancelled one left lvols behind, for one
// answer that did not come in its clean-up.
func TestCleanupRetriesTransientFailures(t *testing.T) {
	for _, lost := range []bool{false, true} {
		fault := memory.Fault{Before: ports.ErrUnavailable}
		if lost {
			fault = memory.Fault{After: ports.ErrUnavailable}
		}
		t.Run(map[bool]string{false: "a call is not done", true: "an answer is lost"}[lost], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, request := newPlainFixture(t)
				releases := on("release").between(2, 3).gets(fault) // the first one begins the run
				inject(b.destination, releases)
				_, err := app.New(nil).Rebuild(t.Context(), request)
				require.NoError(t, err)
				require.Equal(t, 4, releases.calls())

				b, request = newPlainFixture(t)
				failFirst(b.source, "copy", 1000, memory.Fault{Before: ports.ErrInvalid})
				deletes := on("delete").upTo(2).gets(fault)
				inject(b.destination, on("withdraw").upTo(2).gets(fault), deletes)
				_, err = app.New(nil).Rebuild(t.Context(), request)
				require.ErrorIs(t, err, ports.ErrInvalid)
				require.NotErrorIs(t, err, app.ErrCleanUp)
				require.Positive(t, deletes.calls(), "it had something to tidy up")
				require.Empty(t, list(t, b.destination, copyName).InFlight)
			})
		})
	}
}

// A host that is gone has nothing to tidy up, and is not waited for.
func TestCleanupDoesNotWaitForDeadHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, request := newPlainFixture(t)
		copies := on("copy").fails(ports.ErrInvalid)
		inject(b.source, copies)
		inject(b.destination, on("").after(copies).fails(ports.ErrUnavailable))
		request.Parallel = 1
		began := time.Now()
		_, err := app.New(nil).Rebuild(t.Context(), request)
		require.ErrorIs(t, err, app.ErrCleanUp, "it says that something may be left")
		require.Less(t, time.Since(began), 3*time.Second)
	})
}

func TestBusyWithdrawLeavesTimeForCleanup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, request := newPlainFixture(t)
		inject(b.source, on("copy").takes(time.Hour))
		inject(b.destination, on("withdraw").fails(errLvolBusy))
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Minute, func() { cancel(errEnough) })
		began := time.Now()
		_, err := app.New(nil).Rebuild(ctx, request)
		require.ErrorIs(t, err, errEnough)
		require.Less(t, time.Since(began), time.Minute+10*time.Second)
		b.destination.Inject(nil)
		require.Empty(t, list(t, b.destination, copyName).InFlight)
	})
}
