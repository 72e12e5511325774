package app

import (
	"context"
	"sync"
	"time"
)

// Job is one rebuild of a Queue.
type Job struct {
	id      string
	number  uint64 // in the order of submission
	lines   int    // of its report, once it has ended
	request Request
	ctx     context.Context
	cancel  context.CancelFunc
	done    chan struct{} // closed when it has ended

	mu     sync.Mutex
	status Status
}

func newJob(ctx context.Context, request Request) *Job {
	j := &Job{id: drawID(), request: request, done: make(chan struct{})}
	j.ctx, j.cancel = context.WithCancel(ctx)
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

// ID is 8 hex digits, its own among all jobs of the process.
func (j *Job) ID() string { return j.id }

// Status is how it is going.
func (j *Job) Status() Status {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.status
}

// Cancel ends it soon, if it has not ended yet: what is finished stays, and
// the next rebuild goes on from there.
func (j *Job) Cancel() { j.cancel() }

// Done is closed when it has ended.
func (j *Job) Done() <-chan struct{} { return j.done }

// Wait waits for its end. The error is the rebuild's, or the context's if that
// ends first.
func (j *Job) Wait(ctx context.Context) (Report, error) {
	select {
	case <-j.done:
		s := j.Status()
		return s.Report, s.Err
	case <-ctx.Done():
		return Report{}, context.Cause(ctx)
	}
}

func (j *Job) change(do func(*Status)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	do(&j.status)
}

func (j *Job) waitFor(what string) { j.change(func(s *Status) { s.WaitsFor = what }) }

func (j *Job) begin() {
	j.change(func(s *Status) { s.Phase, s.Began, s.WaitsFor = PhaseRunning, time.Now(), "" })
}

func (j *Job) end(report Report, err error) {
	j.change(func(s *Status) {
		s.Phase, s.Ended, s.WaitsFor, s.Report, s.Err = PhaseEnded, time.Now(), "", report, err
	})
	j.cancel()
	close(j.done)
}

// observed is the request, with the job listening in.
func (j *Job) observed() Request {
	r := j.request
	r.Observer = &listener{job: j, next: j.request.Observer}
	return r
}

// listener keeps the newest event, and passes all of them on.
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
