package app

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// state is a phase with the position.
type state struct {
	phase    Phase
	position int
}

func states(jobs ...*Job) (all []state) {
	for _, job := range jobs {
		s := job.Status()
		all = append(all, state{s.Phase, s.Position})
	}
	return all
}

func TestPausedJobLetsOthersPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &fakeHost{name: "a"}, &fakeHost{name: "b"}
		q, fake := newTestQueue(Limits{PerSource: 1, PerDestination: 1})
		first, second, third := submit(t, q, "v1", a, b), submit(t, q, "v2", a, b), submit(t, q, "v3", a, b)
		require.Equal(t, []state{{PhaseRunning, 0}, {PhaseQueued, 1}, {PhaseQueued, 2}}, states(first, second, third))
		require.NoError(t, second.Pause())
		require.NoError(t, second.Pause(), "again")
		require.Equal(t, []state{{PhasePaused, 1}, {PhaseQueued, 2}}, states(second, third))
		require.Empty(t, second.Status().WaitsFor)
		fake.finish("v1-r-4e5f6a7b", nil)
		require.Equal(t, []state{{PhaseEnded, 0}, {PhasePaused, 1}, {PhaseRunning, 0}}, states(first, second, third))
		require.ErrorIs(t, first.Pause(), ErrRefused)
		require.ErrorIs(t, first.Resume(), ErrRefused)
		require.NoError(t, second.Resume())
		require.Equal(t, []state{{PhaseQueued, 1}}, states(second))
		require.Contains(t, second.Status().WaitsFor, "source")
		fake.finish("v3-r-4e5f6a7b", nil)
		require.Equal(t, []state{{PhaseRunning, 0}}, states(second))
		require.NoError(t, q.Close(t.Context()))
	})
}

// A run cannot stand still: it ends, and another one keeps what it has finished.
func TestPauseEndsRunAndRepeatsItLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &fakeHost{name: "a"}, &fakeHost{name: "b"}
		q, fake := newTestQueue(Limits{PerSource: 1, PerDestination: 1})
		fake.slow = make(chan struct{})
		first, second, third := submit(t, q, "v1", a, b), submit(t, q, "v2", a, b), submit(t, q, "v3", a, b)
		began := first.Status().Began
		time.Sleep(time.Minute) // of the bubble's clock
		require.NoError(t, first.Pause())
		synctest.Wait()
		require.Equal(t, []state{{PhasePausing, 0}, {PhaseQueued, 1}}, states(first, second))
		fake.finish("v1-r-4e5f6a7b", nil)
		require.Equal(t, []state{{PhasePaused, 1}, {PhaseRunning, 0}, {PhaseQueued, 2}}, states(first, second, third))
		require.NoError(t, first.Status().Err)
		require.Equal(t, uint64(7), first.Status().Last.BytesTotal, "what is known of it stays")
		_, err := q.Submit(t.Context(), newRequest("v1", a, b, "v1-r-4e5f6a7b"))
		require.ErrorIs(t, err, ErrRefused, "it is still queued")

		require.NoError(t, first.Resume())
		fake.finish("v2-r-4e5f6a7b", nil)
		require.Equal(t, []state{{PhaseRunning, 0}, {PhaseQueued, 1}}, states(first, third))
		require.Greater(t, first.Status().Began, began)
		require.NoError(t, first.Pause())
		require.NoError(t, first.Resume(), "before it has cleaned up")
		require.Equal(t, []state{{PhasePausing, 0}}, states(first))
		fake.finish("v1-r-4e5f6a7b", nil)
		require.Equal(t, []state{{PhaseRunning, 0}, {PhaseQueued, 1}}, states(first, third), "it is first again")
		fake.finish("v1-r-4e5f6a7b", nil)
		report, err := first.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, OutcomeComplete, report.Outcome)
		close(fake.slow)
		require.NoError(t, q.Close(t.Context()))
	})
}

// A run that completes or fails by itself at the moment of a pause is not repeated.
func TestPauseKeepsOutcomeOfEndedRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &fakeHost{name: "a"}, &fakeHost{name: "b"}
		q, _ := newTestQueue(Limits{})
		broken := errors.New("the disk is broken")
		q.rebuild = func(ctx context.Context, r Request) (Report, error) {
			<-ctx.Done()
			if r.Volume == "complete" {
				return Report{Outcome: OutcomeComplete}, nil
			}
			return Report{Outcome: OutcomeFailed}, broken
		}
		complete, failed := submit(t, q, "complete", a, b), submit(t, q, "failed", a, b)
		require.NoError(t, complete.Pause())
		require.NoError(t, failed.Pause())
		synctest.Wait()
		require.Equal(t, []state{{PhaseEnded, 0}, {PhaseEnded, 0}}, states(complete, failed))
		require.Equal(t, OutcomeComplete, complete.Status().Report.Outcome)
		require.ErrorIs(t, failed.Status().Err, broken)
		require.NoError(t, q.Close(t.Context()))
	})
}

func TestPausedAndPausingJobsCanBeCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &fakeHost{name: "a"}, &fakeHost{name: "b"}
		q, fake := newTestQueue(Limits{PerSource: 1, PerDestination: 1})
		fake.slow = make(chan struct{})
		pausing, paused := submit(t, q, "v1", a, b), submit(t, q, "v2", a, b)
		require.NoError(t, pausing.Pause())
		require.NoError(t, paused.Pause())
		pausing.Cancel()
		paused.Cancel()
		synctest.Wait()
		require.Equal(t, []state{{PhasePausing, 0}, {PhaseEnded, 0}}, states(pausing, paused))
		fake.finish("v1-r-4e5f6a7b", nil)
		require.Equal(t, []state{{PhaseEnded, 0}}, states(pausing))
		require.Error(t, pausing.Status().Err)
		require.ErrorIs(t, paused.Status().Err, context.Canceled)
		require.NoError(t, q.Close(t.Context()))
	})
}

func TestMoveChangesTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &fakeHost{name: "a"}, &fakeHost{name: "b"}
		q, fake := newTestQueue(Limits{PerSource: 1, PerDestination: 1})
		var jobs []*Job
		for _, volume := range []string{"v1", "v2", "v3", "v4"} {
			jobs = append(jobs, submit(t, q, volume, a, b))
		}
		require.ErrorIs(t, jobs[0].Move(1), ErrRefused, "it runs")
		require.ErrorIs(t, jobs[1].Move(0), ErrRefused)
		require.NoError(t, jobs[3].Move(1))
		require.Equal(t, []state{{PhaseQueued, 2}, {PhaseQueued, 3}, {PhaseQueued, 1}}, states(jobs[1:]...))
		require.NoError(t, jobs[3].Move(99))
		require.Equal(t, []state{{PhaseQueued, 1}, {PhaseQueued, 2}, {PhaseQueued, 3}}, states(jobs[1:]...))
		require.NoError(t, jobs[1].Move(2))
		require.Equal(t, []state{{PhaseQueued, 2}, {PhaseQueued, 1}, {PhaseQueued, 3}}, states(jobs[1:]...))
		for _, next := range []string{"v3", "v2", "v4"} {
			fake.finish(fake.running()[0], nil)
			require.Equal(t, []string{next + "-r-4e5f6a7b"}, fake.running())
		}
		require.NoError(t, q.Close(t.Context()))
	})
}

// A job that is moved to where a place is free for it starts at once.
func TestMovedJobCanStartAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, c := &fakeHost{name: "a"}, &fakeHost{name: "b"}, &fakeHost{name: "c"}
		q, fake := newTestQueue(Limits{PerSource: 1, PerDestination: 1})
		submit(t, q, "v1", a, b)
		submit(t, q, "v2", c, b) // waits for b, and keeps c
		third := submit(t, q, "v3", c, a)
		require.Equal(t, []state{{PhaseQueued, 2}}, states(third))
		require.NoError(t, third.Move(1))
		synctest.Wait()
		require.Equal(t, []string{"v1-r-4e5f6a7b", "v3-r-4e5f6a7b"}, fake.running())
		require.NoError(t, q.Close(t.Context()))
	})
}

func TestQueueKeepsLimitsOfNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, c, d := &fakeHost{name: "n1/a"}, &fakeHost{name: "n1/b"}, &fakeHost{name: "n2/c"}, &fakeHost{name: ""}
		q, fake := newTestQueue(Limits{PerSource: 9, PerDestination: 9, PerNode: 2, NodeOf: nodeOf})
		submit(t, q, "v1", a, b) // one rebuild on its node, though it has both ends there
		submit(t, q, "v2", a, c)
		third, fourth := submit(t, q, "v3", d, b), submit(t, q, "v4", c, d)
		require.Equal(t, []string{"v1-r-4e5f6a7b", "v2-r-4e5f6a7b", "v4-r-4e5f6a7b"}, fake.running())
		require.Contains(t, third.Status().WaitsFor, "node n1")
		require.Equal(t, PhaseRunning, fourth.Status().Phase)
		for _, volume := range []string{"v5", "v6", "v7"} {
			require.Equal(t, PhaseRunning, submit(t, q, volume, d, d).Status().Phase, "its host has no node")
		}
		fake.finish("v1-r-4e5f6a7b", nil)
		require.Equal(t, PhaseRunning, third.Status().Phase)
		require.NoError(t, q.Close(t.Context()))
	})
}
