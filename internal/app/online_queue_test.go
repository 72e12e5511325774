package app_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
)

// openebs/mayastor#1806: a limit turned a partial rebuild into a full one. Two replicas of one volume
// are rebuilt one after the other, and the second still keeps what it has. It has the first as a
// source, since the cut is taken of every whole member.
func TestField_Mayastor1806_QueuedRebuildStaysPartial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		b.start(time.Millisecond)
		defer b.clients.Stop()
		b.slowly(nil)
		newBuilder(t, b.to, "vol-1-r-5e5e5e5e", "").build("snap1 0=1 1=2\n  snap2 1=3 4=4\n  snap3 2=6\n")
		queue := app.NewQueue(app.New(nil), app.Limits{PerDestination: 1})
		first, err := queue.SubmitOnline(t.Context(), b.request())
		require.NoError(t, err)
		_, err = queue.SubmitOnline(t.Context(), b.request())
		require.ErrorIs(t, err, app.ErrRefused, "it is queued already")
		second := b.request()
		second.MoreSources = append(second.MoreSources, second.Destination)
		second.Destination = app.Site{Host: b.to, Replica: "vol-1-r-5e5e5e5e"}
		next, err := queue.SubmitOnline(t.Context(), second)
		require.NoError(t, err)
		report, err := first.Wait(t.Context())
		require.NoError(t, err)
		require.Len(t, report.Online.Members, 3)
		report, err = next.Wait(t.Context())
		require.NoError(t, err)
		require.Len(t, report.Online.Members, 4)
		require.Equal(t, []string{"snap1", "snap2", "snap3"}, keptOf(report.Plan))
		require.NoError(t, queue.Close(t.Context()))
		b.stop()
		b.requireWhole()
		bad := b.request()
		bad.Freezer = nil
		_, err = app.NewQueue(app.New(nil), app.Limits{}).SubmitOnline(t.Context(), bad)
		require.ErrorContains(t, err, "no freezer")
	})
}

// TestPausedOnlineRebuild gives the live head up, and the next run cuts again.
func TestPausedOnlineRebuild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		b.start(20 * time.Millisecond)
		defer b.clients.Stop()
		queue := app.NewQueue(app.New(nil), app.Limits{})
		sealing := make(chan struct{})
		b.slowly(onceAt(partyDestination, "seal", func() { close(sealing) }))
		job, err := queue.SubmitOnline(t.Context(), b.request())
		require.NoError(t, err)
		<-sealing
		require.NoError(t, job.Pause())
		synctest.Wait()
		for job.Status().Phase != app.PhasePaused {
			time.Sleep(100 * time.Millisecond)
		}
		volume, err := b.mirror.Volume(t.Context())
		require.NoError(t, err)
		require.Len(t, volume.Members, 2)
		require.NoError(t, job.Resume())
		_, err = job.Wait(t.Context())
		require.NoError(t, err)
		b.stop()
		b.requireWhole()
		require.NoError(t, queue.Close(t.Context()))
	})
}
