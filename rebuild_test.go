package rebuild_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild"
	"github.com/rootgraft/rebuild/memhost"
)

var (
	_ rebuild.Host     = (*memhost.Host)(nil)
	_ rebuild.Prover   = (*memhost.Host)(nil)
	_ rebuild.Recorder = (*memhost.Host)(nil)
)

// Example runs the code of the package comment, which stays short.
func TestPackageCommentShowsExample(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	_, use, ok := strings.Cut(string(doc), "# Use\n//\n")
	require.True(t, ok)
	examples, err := os.ReadFile("example_test.go")
	require.NoError(t, err)
	_, run, ok := strings.Cut(string(examples), "\nfunc Example() {\n")
	require.True(t, ok)

	lines := 0
	for line := range strings.Lines(use) {
		line, shown := strings.CutPrefix(line, "//\t")
		if !shown {
			break
		}
		lines++
		_, run, ok = strings.Cut(run, "\t"+line)
		require.True(t, ok, "Example does not run, in this order: %s", line)
	}
	require.NotZero(t, lines)
	require.LessOrEqual(t, lines, 15)
}

func TestObserverFunc(t *testing.T) {
	var seen []rebuild.EventKind
	var o rebuild.Observer = rebuild.ObserverFunc(func(e rebuild.Event) { seen = append(seen, e.Kind) })
	o.Observe(rebuild.Event{Kind: rebuild.EventBegan})
	require.Equal(t, []rebuild.EventKind{rebuild.EventBegan}, seen)
}

func TestQueueReturnsEqualJobs(t *testing.T) {
	queue := rebuild.NewQueue(rebuild.New(), rebuild.Limits{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	job, err := queue.Submit(ctx, lostReplica())
	require.NoError(t, err)
	<-job.Done()
	require.Equal(t, []rebuild.Job{job}, queue.Jobs())
	require.True(t, job == queue.Jobs()[0])
	require.Equal(t, job.ID(), job.Status().ID)
	_, err = job.Wait(t.Context())
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, err, job.Status().Err)

	require.NoError(t, queue.Close(t.Context()))
	job, err = queue.Submit(t.Context(), lostReplica())
	require.ErrorIs(t, err, rebuild.ErrClosed)
	require.Zero(t, job)
}

func TestCancelledJobFails(t *testing.T) {
	queue := rebuild.NewQueue(rebuild.New(), rebuild.Limits{})
	request := lostReplica()
	planned, cancelled := make(chan struct{}), make(chan struct{})
	request.Observer = rebuild.ObserverFunc(func(e rebuild.Event) {
		if e.Kind == rebuild.EventPlanned {
			close(planned)
			<-cancelled
		}
	})
	job, err := queue.Submit(t.Context(), request)
	require.NoError(t, err)
	<-planned
	job.Cancel()
	close(cancelled)
	report, err := job.Wait(t.Context())
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, rebuild.OutcomeFailed, report.Outcome)
}

func TestRebuildRefusesMissingBandwidth(t *testing.T) {
	request := lostReplica()
	request.Bandwidth = []*rebuild.Bandwidth{nil}
	_, err := rebuild.New().Rebuild(t.Context(), request)
	require.ErrorIs(t, err, rebuild.ErrRefused)
}
