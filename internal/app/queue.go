package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/rootgraft/rebuild/internal/ports"
)

// How many rebuilds a host takes part in at once, if Limits do not say. After
// a node's reboot hundreds begin at once otherwise, and starve the volumes that
// still serve (longhorn/longhorn#2460). docs/reliability.md has the measurements.
const (
	DefaultPerSource      = 2
	DefaultPerDestination = 2
)

// A queue still lists so many that have ended, as long as their reports together tell
// of no more lvols and operations than that: a report has all of two stores. The last
// one that has ended is listed in any case.
const (
	keptJobs  = 256
	keptLines = 1 << 20
)

// Limits bound what a Queue's rebuilds do to one host.
type Limits struct {
	PerSource      int // rebuilds that read from it, or may, at once; 0: DefaultPerSource
	PerDestination int // rebuilds that write to it at once; 0: DefaultPerDestination
}

// ErrClosed is what a Queue answers once it was closed.
var ErrClosed = errors.New("the queue is closed")

// Queue runs many rebuilds, as many at once as the limits of their hosts
// allow and at most one of each volume. Who came first goes first: a rebuild
// never waits for one that was submitted later and shares a host or the volume
// with it.
//
// Hosts are told apart by their values: a process has one ports.Host for a
// store, and gives the same one to each Request.
type Queue struct {
	rebuild func(context.Context, Request) (Report, error)
	limits  Limits

	mu      sync.Mutex
	hosts   map[ports.Host]*Bandwidth
	made    uint64 // jobs so far
	waiting []*Job // the oldest first
	running []*Job
	ended   []*Job
	lines   int // of the reports of those
	closed  bool
	idle    sync.WaitGroup // of what runs
}

// NewQueue makes an empty queue.
func NewQueue(engine *Engine, limits Limits) *Queue {
	if limits.PerSource <= 0 {
		limits.PerSource = DefaultPerSource
	}
	if limits.PerDestination <= 0 {
		limits.PerDestination = DefaultPerDestination
	}
	return &Queue{rebuild: engine.Rebuild, limits: limits, hosts: make(map[ports.Host]*Bandwidth)}
}

// Submit adds a rebuild, which begins as soon as its turn has come and is
// cancelled when the context ends. An ErrRefused says that the request cannot
// be carried out, or that the destination is queued already.
func (q *Queue) Submit(ctx context.Context, request Request) (*Job, error) {
	if err := request.check(); err != nil {
		return nil, err
	}
	for _, host := range append(request.sourceHosts(), request.Destination.Host) {
		if !reflect.TypeOf(host).Comparable() {
			return nil, refusef("a host of type %T cannot be told from another one: expected a pointer", host)
		}
	}
	job := newJob(ctx, request)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		job.cancel()
		return nil, ErrClosed
	}
	for _, other := range slices.Concat(q.waiting, q.running) {
		if other.request.Destination == request.Destination {
			job.cancel()
			return nil, refusef("replica %s is queued already, as rebuild %s", request.Destination.Replica, other.id)
		}
	}
	q.made++
	job.number = q.made
	q.waiting = append(q.waiting, job)
	// One that is cancelled while it waits does not wait for its turn.
	context.AfterFunc(job.ctx, func() { q.schedule() })
	q.scheduleLocked()
	return job, nil
}

// LimitHost has all of the queue's rebuilds together read from and write to a
// host no more than that many bytes per second, from now on; 0 lifts it. Of one
// with several sources it holds back what comes from that host, or goes to it. A
// limit of one rebuild stands in its Request.
func (q *Queue) LimitHost(host ports.Host, bytesPerSecond uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.bandwidth(host).Set(bytesPerSecond)
}

// bandwidth is a host's, which its rebuilds share.
func (q *Queue) bandwidth(host ports.Host) *Bandwidth {
	b := q.hosts[host]
	if b == nil {
		b = NewBandwidth(0)
		q.hosts[host] = b
	}
	return b
}

// Jobs are all that wait, run, or have ended not long ago, in the order in
// which they were submitted.
func (q *Queue) Jobs() []*Job {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := slices.Concat(q.ended, q.running, q.waiting)
	slices.SortFunc(all, func(a, b *Job) int { return cmp.Compare(a.number, b.number) })
	return all
}

// Close cancels what waits and what runs, and returns when all of it has ended
// and is cleaned up, or with the context's error.
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

func (q *Queue) schedule() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.scheduleLocked()
}

// scheduleLocked starts what can start. What cannot keeps its places: nobody
// behind it takes them.
func (q *Queue) scheduleLocked() {
	taken := newPlaces(q.limits)
	for _, job := range q.running {
		taken.take(job)
	}
	still := q.waiting[:0]
	for _, job := range q.waiting {
		switch {
		case job.ctx.Err() != nil:
			q.end(job, Report{Outcome: OutcomeFailed}, fmt.Errorf("rebuild replica %s: cancelled while it waited: %w", job.request.Destination.Replica, context.Cause(job.ctx)))
		case taken.take(job) == "":
			q.start(job)
		default:
			still = append(still, job)
		}
	}
	clear(q.waiting[len(still):])
	q.waiting = still
}

func (q *Queue) start(job *Job) {
	job.begin()
	destination := q.bandwidth(job.request.Destination.Host)
	job.request.Bandwidth = append(slices.Clone(job.request.Bandwidth), destination)
	job.request.perSource = nil
	for _, site := range job.request.sources() {
		job.request.perSource = append(job.request.perSource, q.bandwidth(site.Host))
	}
	q.running = append(q.running, job)
	q.idle.Go(func() {
		report, err := q.rebuild(job.ctx, job.observed())
		q.mu.Lock()
		defer q.mu.Unlock()
		q.running = slices.DeleteFunc(q.running, func(other *Job) bool { return other == job })
		q.end(job, report, err)
		q.scheduleLocked()
	})
}

func (q *Queue) end(job *Job, report Report, err error) {
	job.end(report, err)
	job.lines = report.lines()
	q.ended = append(q.ended, job)
	q.lines += job.lines
	dropped := 0
	for ; len(q.ended)-dropped > keptJobs || q.lines > keptLines && len(q.ended)-dropped > 1; dropped++ {
		q.lines -= q.ended[dropped].lines
	}
	q.ended = slices.Delete(q.ended, 0, dropped)
	q.forgetHosts(append(job.request.sourceHosts(), job.request.Destination.Host))
	job.request = Request{} // and its hosts
}

// forgetHosts forgets those of an ended job that have no limit and take part in nothing.
func (q *Queue) forgetHosts(hosts []ports.Host) {
	for _, running := range q.running {
		hosts = slices.DeleteFunc(hosts, func(h ports.Host) bool {
			return h == running.request.Destination.Host || slices.Contains(running.request.sourceHosts(), h)
		})
	}
	for _, host := range hosts {
		if b := q.hosts[host]; b != nil && b.Rate() == 0 {
			delete(q.hosts, host)
		}
	}
}

// lines is how much a report tells.
func (r Report) lines() int {
	return len(r.Source.Store.Lvols) + len(r.Destination.Store.Lvols) + len(r.Plan.Operations) +
		len(r.SourceViews) + len(r.DestinationViews) + len(r.Violations)
}

// places are what rebuilds share, and how much of it is taken.
type places struct {
	limits       Limits
	sources      map[ports.Host]int
	destinations map[ports.Host]int
	volumes      map[any]bool
}

func newPlaces(limits Limits) *places {
	return &places{limits: limits, sources: make(map[ports.Host]int), destinations: make(map[ports.Host]int), volumes: make(map[any]bool)}
}

// take takes a job's places in any case, and says what it has to wait for, ""
// for nothing.
func (p *places) take(job *Job) (waitsFor string) {
	sources, destination, volume := job.request.sourceHosts(), job.request.Destination.Host, job.request.volume()
	switch {
	case slices.ContainsFunc(volume, func(v any) bool { return p.volumes[v] }):
		waitsFor = "another rebuild of the volume"
	case slices.ContainsFunc(sources, func(h ports.Host) bool { return p.sources[h] >= p.limits.PerSource }):
		waitsFor = "the source's host, which others are rebuilt from"
	case p.destinations[destination] >= p.limits.PerDestination:
		waitsFor = "the destination's host, which others are rebuilt to"
	}
	for _, v := range volume {
		p.volumes[v] = true
	}
	// Which of several sources serves how much, only the rebuild finds out, and
	// when one fails the others take over its part. So it has a place at each,
	// which is at most one too many for a while, and never one too few.
	for _, host := range sources {
		p.sources[host]++
	}
	p.destinations[destination]++
	job.waitFor(waitsFor)
	return waitsFor
}

// sourceHosts are the hosts of all sources, each once.
func (r Request) sourceHosts() (hosts []ports.Host) {
	seen := make(map[ports.Host]bool)
	for _, site := range r.sources() {
		if !reflect.TypeOf(site.Host).Comparable() {
			hosts = append(hosts, site.Host) // it is refused
		} else if !seen[site.Host] {
			seen[site.Host] = true
			hosts = append(hosts, site.Host)
		}
	}
	return hosts
}

// volume is what has one rebuild at a time: the volume, or if that is not named,
// each replica that it is rebuilt from.
func (r Request) volume() (keys []any) {
	if r.Volume != "" {
		return []any{r.Volume}
	}
	for _, site := range r.sources() {
		keys = append(keys, site)
	}
	return keys
}

// Phase is where a Job is.
type Phase string

// The phases.
const (
	PhaseQueued  Phase = "queued"
	PhaseRunning Phase = "running"
	PhaseEnded   Phase = "ended"
)

// Status is what is known of a Job at a moment. It is there from the first
// moment on.
type Status struct {
	ID          string // 8 hex digits
	Volume      string
	Source      string // replica, of several the first
	MoreSources []string
	Destination string // replica
	Mode        string // "fast" or "full"
	Phase       Phase
	WaitsFor    string // queued: in words

	Submitted, Began, Ended time.Time // zero: not yet

	Last Event // running and ended: the newest; bytes, rate and time left are in it

	Report Report // ended
	Err    error  // ended; nil: complete
}
