package app

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Job is one rebuild of a Queue.
type Job struct {
	queue  *Queue
	id     string
	number uint64 // order of submission
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when it has ended

	// Under the lock of the queue. An ended job has no host.
	request Request
	use     *use
	nodes   map[ports.Host]string // "": no limit
	paused  bool
	endRun  context.CancelCauseFunc // ends the run; nil: not running
	lines   int                     // size of its report, after its end

	mu     sync.Mutex
	status Status
}

// errPaused is the cause with which a pause ends a run.
var errPaused = errors.New("paused")

func newJob(ctx context.Context, queue *Queue, request Request) *Job {
	j := &Job{queue: queue, id: executor.NewID(), request: request, use: queue.uses.add(ctx, request), done: make(chan struct{})}
	j.cancel = j.use.end
	if nodeOf := queue.limits.NodeOf; nodeOf != nil {
		j.nodes = make(map[ports.Host]string)
		for _, site := range append(request.sources(), request.Destination) {
			j.nodes[site.Host] = nodeOf(site.Host)
		}
	}
	mode := "fast"
	if request.Options.Full {
		mode = "full"
	}
	j.status = Status{
		ID: j.id, Volume: request.Volume, Source: request.Source.Replica, Destination: request.Destination.Replica,
		Mode: mode, Phase: PhaseQueued, Submitted: time.Now(),
	}
	for _, site := range request.MoreSources {
		j.status.MoreSources = append(j.status.MoreSources, site.Replica)
	}
	return j
}

// ID returns 8 hex digits that no other job of the process has.
func (j *Job) ID() string { return j.id }

// Status returns the state of the job.
func (j *Job) Status() Status {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.status
}

// Cancel ends the job soon, unless it has ended.
func (j *Job) Cancel() { j.cancel(nil) }

// Done returns a channel that is closed when the job has ended.
func (j *Job) Done() <-chan struct{} { return j.done }

// Wait waits for the end of the job. The error is the rebuild's, or the cause of ctx if
// that ends first.
func (j *Job) Wait(ctx context.Context) (Report, error) {
	select {
	case <-j.done:
		s := j.Status()
		return s.Report, s.Err
	case <-ctx.Done():
		return Report{}, context.Cause(ctx)
	}
}

// Pause keeps the job from running until Resume. It keeps its position, and later jobs may
// pass. A running job is ended as Cancel does, cleans up (PhasePausing), and becomes the
// first waiting job. Its next run keeps the finished snapshots and copies the others from
// the start. A job that completes or fails before the pause takes effect has ended.
// ErrRefused: it has ended already.
func (j *Job) Pause() error { return j.setPaused(true) }

// Resume lets a paused job run when its turn comes. A job that is still PhasePausing runs
// again after its cleanup. ErrRefused: it has ended.
func (j *Job) Resume() error { return j.setPaused(false) }

func (j *Job) setPaused(paused bool) error {
	j.queue.mu.Lock()
	defer j.queue.mu.Unlock()
	if j.Status().Phase == PhaseEnded {
		return refusef("rebuild %s of replica %s has ended", j.id, j.Status().Destination)
	}
	j.paused = paused
	if paused && j.endRun != nil {
		j.endRun(errPaused)
		j.change(func(s *Status) { s.Phase = PhasePausing })
	}
	j.queue.scheduleLocked()
	return nil
}

// Move gives a waiting job another position among the waiting jobs: 1 is the first, and a
// number that is too large means the last. ErrRefused: the job does not wait, or the
// position is less than 1.
func (j *Job) Move(position int) error {
	q := j.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	at := slices.Index(q.waiting, j)
	if at < 0 {
		return refusef("rebuild %s of replica %s cannot be moved: it is %s", j.id, j.Status().Destination, j.Status().Phase)
	}
	if position < 1 {
		return refusef("position %d in the queue: expected at least 1", position)
	}
	q.waiting = slices.Delete(q.waiting, at, at+1)
	q.waiting = slices.Insert(q.waiting, min(position-1, len(q.waiting)), j)
	q.scheduleLocked()
	return nil
}

func (j *Job) change(do func(*Status)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	do(&j.status)
}

func (j *Job) waits(position int, waitsFor string) {
	phase := PhaseQueued
	if j.paused {
		phase, waitsFor = PhasePaused, ""
	}
	j.change(func(s *Status) { s.Phase, s.Position, s.WaitsFor = phase, position, waitsFor })
}

func (j *Job) begin() {
	j.change(func(s *Status) { s.Phase, s.Began, s.Position, s.WaitsFor = PhaseRunning, time.Now(), 0, "" })
}

func (j *Job) end(report Report, err error) {
	j.change(func(s *Status) {
		s.Phase, s.Ended, s.Position, s.WaitsFor, s.Report, s.Err = PhaseEnded, time.Now(), 0, "", report, err
	})
	j.queue.uses.remove(j.use)
	close(j.done)
}

// listener keeps the newest event and passes all events on.
type listener struct {
	job  *Job
	next Observer
}

// Observe implements Observer.
func (l *listener) Observe(e Event) {
	l.job.mu.Lock()
	l.job.status.Last = e
	l.job.mu.Unlock()
	if l.next != nil {
		l.next.Observe(e)
	}
}
