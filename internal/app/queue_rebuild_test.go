package app_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
)

// The run that a pause ends leaves nothing in flight; the next one copies only what it
// had not finished.
func TestResumedJobCopiesOnlyTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHostSet(t, memory.Fork, "source", "destination")
		request := w.volume("own", "source", "destination")
		queue := app.NewQueue(app.New(nil), app.Limits{})
		inject(w.hosts["source"], on("copy").of("c").takes(time.Hour))
		job, err := queue.Submit(t.Context(), request)
		require.NoError(t, err)
		time.Sleep(time.Minute) // of the bubble's clock: it copies c
		require.NoError(t, job.Pause())
		synctest.Wait()
		require.Equal(t, app.PhasePaused, job.Status().Phase)
		left := list(t, w.hosts["destination"], request.Destination.Replica)
		require.Empty(t, left.InFlight)
		require.Nil(t, left.Head)
		require.Len(t, left.Snapshots, 2, "a and b")
		opened, err := w.hosts["source"].Opened(t.Context())
		require.NoError(t, err)
		require.Empty(t, opened)

		w.hosts["source"].Inject(nil)
		require.NoError(t, job.Resume())
		report, err := job.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, uint64(2*cluster), report.CopiedBytes, "c and the system snapshot")
		w.requireRebuilt(request)
		require.NoError(t, queue.Close(t.Context()))
	})
}

// An earlier run has changed something, so the job is not refused, though its last run
// was: that says nothing was changed.
func TestResumedJobIsNotRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHostSet(t, memory.Fork, "source", "destination")
		request := w.volume("own", "source", "destination")
		queue := app.NewQueue(app.New(nil), app.Limits{})
		inject(w.hosts["source"], on("copy").of("c").takes(time.Hour))
		job, err := queue.Submit(t.Context(), request)
		require.NoError(t, err)
		time.Sleep(time.Minute) // of the bubble's clock
		require.NoError(t, job.Pause())
		synctest.Wait()
		head := list(t, w.hosts["source"], request.Source.Replica).Head
		require.NoError(t, w.hosts["source"].Delete(t.Context(), head.UUID))
		require.NoError(t, job.Resume())
		report, err := job.Wait(t.Context())
		require.ErrorContains(t, err, "has no head")
		require.Equal(t, app.OutcomeFailed, report.Outcome)
		require.NoError(t, queue.Close(t.Context()))

		report, err = app.New(nil).Rebuild(t.Context(), request)
		require.ErrorIs(t, err, app.ErrRefused)
		require.Equal(t, app.OutcomeRefused, report.Outcome, "alone it is")
	})
}
