package app

import (
	"cmp"
	"context"
	"errors"
	"reflect"
	"slices"
	"sync"

	"github.com/rootgraft/rebuild/internal/ports"
)

// Limits of a host that Limits leaves at 0. Without them, hundreds of rebuilds would
// start at once after the reboot of a node and starve the volumes that still serve
// (longhorn/longhorn#2460). docs/reliability.md has the measurements.
const (
	DefaultPerSource      = 2
	DefaultPerDestination = 2
)

// A Queue keeps up to keptJobs ended jobs, fewer if their reports have more than
// keptLines lvols and operations together: a report has all lvols of two stores. It
// always keeps the job that ended last.
const (
	keptJobs  = 256
	keptLines = 1 << 20
)

// Limits are the numbers of rebuilds of a Queue that run at once.
type Limits struct {
	PerSource      int // rebuilds that have one host as a source; 0: DefaultPerSource
	PerDestination int // rebuilds that write to one host; 0: DefaultPerDestination

	// PerNode limits the rebuilds that use a node as source or as destination, if a node
	// has several hosts. 0 is no limit.
	PerNode int

	// NodeOf returns the name of a host's node, or "" for a host without a PerNode limit.
	// Submit calls it for each host of a request.
	NodeOf func(ports.Host) string
}

// ErrClosed is returned by a Queue that is closed.
var ErrClosed = errors.New("the queue is closed")

// Queue runs many rebuilds: as many at once as its Limits allow, and one of each volume at
// a time. It is first in, first out: a rebuild never waits for a later one with which it
// shares a host, a node or the volume. Job.Move changes the order, and a paused job lets
// all others pass.
//
// Hosts are compared with ==, so a process uses one ports.Host for a store in all
// requests.
type Queue struct {
	rebuild func(context.Context, Request) (Report, error)
	uses    *uses // of the engine
	limits  Limits

	mu      sync.Mutex
	hosts   map[ports.Host]*Bandwidth
	made    uint64 // jobs so far
	waiting []*Job // in their order, the paused ones included
	running []*Job
	ended   []*Job
	lines   int // of the reports of the ended jobs
	closed  bool
	idle    sync.WaitGroup // of the running jobs
}

// NewQueue makes an empty queue.
func NewQueue(engine *Engine, limits Limits) *Queue {
	if limits.PerSource <= 0 {
		limits.PerSource = DefaultPerSource
	}
	if limits.PerDestination <= 0 {
		limits.PerDestination = DefaultPerDestination
	}
	return &Queue{rebuild: engine.Rebuild, uses: &engine.uses, limits: limits, hosts: make(map[ports.Host]*Bandwidth)}
}

// SubmitOnline is Submit for a rebuild under a live volume. Rebuilds of several replicas of one
// volume run one after the other.
func (q *Queue) SubmitOnline(ctx context.Context, request OnlineRequest) (*Job, error) {
	if err := request.check(); err != nil {
		return nil, err
	}
	online := request
	request.online = &online
	return q.Submit(ctx, request.Request)
}

// Submit adds a rebuild, which starts when its turn comes and is cancelled when ctx ends.
// ErrRefused: the request is not valid, or the destination is in the queue already.
func (q *Queue) Submit(ctx context.Context, request Request) (*Job, error) {
	if err := request.guarded().check(); err != nil {
		return nil, err
	}
	for _, site := range append(request.sources(), request.Destination) {
		if !reflect.ValueOf(site.Host).Comparable() {
			return nil, refusef("hosts of type %T cannot be compared with each other: expected a pointer", site.Host)
		}
	}
	job := newJob(ctx, q, request)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		q.uses.remove(job.use)
		return nil, ErrClosed
	}
	for _, other := range slices.Concat(q.waiting, q.running) {
		if other.request.Destination.place() == request.Destination.place() {
			q.uses.remove(job.use)
			return nil, refusef("replica %s is queued already, as rebuild %s", request.Destination.Replica, other.id)
		}
	}
	q.made++
	job.number = q.made
	q.waiting = append(q.waiting, job)
	// One that is cancelled while it waits does not wait for its turn, and a source that
	// is gone takes no place.
	context.AfterFunc(job.use.ctx, q.schedule)
	for _, source := range job.use.sources {
		context.AfterFunc(source.used, q.schedule)
	}
	q.scheduleLocked()
	return job, nil
}

// LimitHost limits the bytes per second that all rebuilds of the queue together read from
// and write to a host, from now on; 0 is no limit. For a rebuild with several sources it
// limits the part that is copied from or to that host. To limit one rebuild, use
// Request.Bandwidth.
func (q *Queue) LimitHost(host ports.Host, bytesPerSecond uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.bandwidth(host).Set(bytesPerSecond)
	q.forgetHosts([]ports.Host{host})
}

// ForgetHost ends the jobs that use a host, as Engine.EndRebuilds does, and lifts the
// limit of the host. It returns at once with the number of these jobs. After the last of
// them has ended, the queue keeps nothing of the host. LimitHost with 0 forgets a host
// that no job uses.
func (q *Queue) ForgetHost(host ports.Host, why error) (found int) {
	if host == nil || !reflect.ValueOf(host).Comparable() {
		return 0 // no job has it
	}
	q.mu.Lock()
	for _, job := range slices.Concat(q.waiting, q.running) {
		if job.use.endUsing(Using{Host: host}, why) {
			found++
		}
	}
	q.mu.Unlock()
	q.LimitHost(host, 0)
	return found
}

// bandwidth is the limit of a host that its rebuilds share.
func (q *Queue) bandwidth(host ports.Host) *Bandwidth {
	b := q.hosts[host]
	if b == nil {
		b = NewBandwidth(0)
		q.hosts[host] = b
	}
	return b
}

// Jobs returns the jobs that wait, run, or ended recently, in the order of submission.
func (q *Queue) Jobs() []*Job {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := slices.Concat(q.ended, q.running, q.waiting)
	slices.SortFunc(all, func(a, b *Job) int { return cmp.Compare(a.number, b.number) })
	return all
}

// Close cancels all jobs and returns when they have ended, or with the cause of ctx.
func (q *Queue) Close(ctx context.Context) error {
	q.mu.Lock()
	q.closed = true
	all := slices.Concat(q.waiting, q.running)
	q.mu.Unlock()
	for _, job := range all {
		job.Cancel()
	}
	for _, job := range all {
		select {
		case <-job.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	q.idle.Wait()
	return nil
}
