package rebuild

import (
	"context"

	"github.com/rootgraft/rebuild/internal/app"
)

// Queue runs many rebuilds: as many at once as its Limits allow, and one of each volume
// at a time. It is first in, first out: a rebuild never waits for one that is behind it
// and shares a host, a node or the volume with it. [Job.Move] changes the order, and a
// paused job lets all others pass.
//
// Hosts are compared with ==, so use one [Host] value for a store in all requests. The
// methods may be called from several goroutines at once.
type Queue struct {
	app *app.Queue
}

// NewQueue makes an empty queue. Its rebuilds run on the engine.
func NewQueue(engine *Engine, limits Limits) *Queue {
	return &Queue{app: app.NewQueue(engine.app, limits)}
}

// Submit adds a rebuild to the queue and returns at once. The rebuild starts when its
// turn comes and is cancelled when ctx ends. It is an [ErrRefused] error if the request
// is not valid or the destination is in the queue already, and [ErrClosed] if the queue
// is closed.
func (q *Queue) Submit(ctx context.Context, request Request) (Job, error) {
	job, err := q.app.Submit(ctx, request.internal())
	return Job{job}, err
}

// SubmitOnline is Submit for a rebuild under a live volume. Rebuilds of several replicas of one
// volume run one after the other.
func (q *Queue) SubmitOnline(ctx context.Context, request OnlineRequest) (Job, error) {
	job, err := q.app.SubmitOnline(ctx, request.internal())
	return Job{job}, err
}

// Jobs returns all jobs that wait or run, and the last ones that ended, in the order in
// which they were submitted. Up to 256 ended jobs are kept, fewer if their reports are
// large.
func (q *Queue) Jobs() []Job {
	var jobs []Job
	for _, job := range q.app.Jobs() {
		jobs = append(jobs, Job{job})
	}
	return jobs
}

// LimitHost limits what all rebuilds of the queue together read from and write to a
// host, in bytes per second, from now on; 0 is no limit. Of a rebuild with several
// sources it limits only what comes from that host or goes to it. To limit one rebuild,
// use Request.Bandwidth.
func (q *Queue) LimitHost(host Host, bytesPerSecond uint64) { q.app.LimitHost(host, bytesPerSecond) }

// ForgetHost ends the jobs that use a host, as [Engine.EndRebuilds] does, and lifts the
// limit of the host. It returns at once how many jobs use the host. The queue keeps
// nothing of the host once these have ended. LimitHost with 0 is for a host that no job
// uses.
func (q *Queue) ForgetHost(host Host, why error) (found int) { return q.app.ForgetHost(host, why) }

// Close cancels all jobs and returns when they have ended and cleaned up. If ctx ends
// before that, Close returns its cause.
func (q *Queue) Close(ctx context.Context) error { return q.app.Close(ctx) }
