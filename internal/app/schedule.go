package app

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rootgraft/rebuild/internal/ports"
)

func (q *Queue) schedule() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.scheduleLocked()
}

// scheduleLocked starts the jobs that can run. A job that has to wait keeps its places
// from later jobs, unless it is paused.
func (q *Queue) scheduleLocked() {
	taken := newPlaces(q.limits)
	for _, job := range q.running {
		taken.take(job)
	}
	still := q.waiting[:0]
	for _, job := range q.waiting {
		if job.use.ctx.Err() != nil {
			q.end(job, Report{Outcome: OutcomeFailed}, fmt.Errorf("rebuild replica %s: ended while it waited: %w", job.request.Destination.Replica, context.Cause(job.use.ctx)))
			continue
		}
		waitsFor := ""
		if !job.paused {
			if waitsFor = taken.take(job); waitsFor == "" {
				q.start(job)
				continue
			}
		}
		still = append(still, job)
		job.waits(len(still), waitsFor)
	}
	clear(q.waiting[len(still):])
	q.waiting = still
}

func (q *Queue) start(job *Job) {
	job.begin()
	ctx, end := context.WithCancelCause(job.use.ctx)
	job.endRun = end
	q.running = append(q.running, job)
	request := q.limited(job.request)
	request.use = job.use
	request.Observer = &listener{job: job, next: request.Observer}
	q.idle.Go(func() {
		report, err := q.rebuild(ctx, request)
		end(nil)
		q.mu.Lock()
		defer q.mu.Unlock()
		job.endRun = nil
		q.running = slices.DeleteFunc(q.running, func(other *Job) bool { return other == job })
		switch ctx := job.use.ctx; {
		case !errors.Is(err, errPaused):
			q.end(job, report, err)
		case ctx.Err() != nil:
			q.end(job, report, withCause(ctx, err))
		default:
			q.waiting = slices.Insert(q.waiting, 0, job)
			q.forgetHosts(job.request.hosts())
		}
		q.scheduleLocked()
	})
}

// limited adds the limits of its hosts to a request.
func (q *Queue) limited(r Request) Request {
	r.Bandwidth = append(slices.Clone(r.Bandwidth), q.bandwidth(r.Destination.Host))
	for _, site := range r.sources() {
		r.perSource = append(r.perSource, q.bandwidth(site.Host))
	}
	return r
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
	q.forgetHosts(job.request.hosts())
	job.request, job.use, job.nodes = Request{}, nil, nil
}

// forgetHosts forgets hosts that have no limit and no running job.
func (q *Queue) forgetHosts(hosts []ports.Host) {
	used := make(map[ports.Host]bool)
	for _, running := range q.running {
		for _, host := range running.hosts() {
			used[host] = true
		}
	}
	for _, host := range hosts {
		if b := q.hosts[host]; b != nil && b.Rate() == 0 && !used[host] {
			delete(q.hosts, host)
		}
	}
}

// lines is the size of a report: lvols, operations and violations.
func (r Report) lines() int {
	return len(r.Source.Store.Lvols) + len(r.Destination.Store.Lvols) + len(r.Plan.Operations) +
		len(r.SourceViews) + len(r.DestinationViews) + len(r.Violations)
}

// places counts the jobs that use each limited thing.
type places struct {
	limits       Limits
	sources      map[ports.Host]int
	destinations map[ports.Host]int
	nodes        map[string]int
	volumes      map[any]bool
}

func newPlaces(limits Limits) *places {
	return &places{limits: limits, sources: make(map[ports.Host]int), destinations: make(map[ports.Host]int), nodes: make(map[string]int), volumes: make(map[any]bool)}
}

// take takes a job's places in any case, and returns what the job has to wait for, or "".
//
// The part of each of several sources is known only during the rebuild, and a source may
// have to take over the others' parts. So a job has a place at each source.
func (p *places) take(job *Job) (waitsFor string) {
	sources, destination, volume, nodes := hostsOf(job.use.left()), job.request.Destination.Host, job.request.volume(), job.limitedNodes()
	full := func(node string) bool { return p.nodes[node] >= p.limits.PerNode }
	switch {
	case slices.ContainsFunc(volume, func(v any) bool { return p.volumes[v] }):
		waitsFor = "another rebuild of the volume"
	case slices.ContainsFunc(sources, func(h ports.Host) bool { return p.sources[h] >= p.limits.PerSource }):
		waitsFor = "the source's host, which serves other rebuilds"
	case p.destinations[destination] >= p.limits.PerDestination:
		waitsFor = "the destination's host, which receives other rebuilds"
	case slices.ContainsFunc(nodes, full):
		waitsFor = fmt.Sprintf("node %s, which other rebuilds use", nodes[slices.IndexFunc(nodes, full)])
	}
	for _, v := range volume {
		p.volumes[v] = true
	}
	for _, host := range sources {
		p.sources[host]++
	}
	for _, node := range nodes {
		p.nodes[node]++
	}
	p.destinations[destination]++
	return waitsFor
}

// limitedNodes are the job's nodes that have a limit, each once.
func (j *Job) limitedNodes() (nodes []string) {
	if j.queue.limits.PerNode <= 0 {
		return nil
	}
	for _, host := range j.hosts() {
		if node := j.nodes[host]; node != "" && !slices.Contains(nodes, node) {
			nodes = append(nodes, node)
		}
	}
	return nodes
}

// hosts are the destination's and those of the sources that are not gone.
func (j *Job) hosts() []ports.Host { return hostsOf(append(j.use.left(), j.request.Destination)) }

func (r Request) hosts() []ports.Host { return hostsOf(append(r.sources(), r.Destination)) }

func hostsOf(sites []Site) (hosts []ports.Host) {
	for _, site := range sites {
		if !slices.Contains(hosts, site.Host) {
			hosts = append(hosts, site.Host)
		}
	}
	return hosts
}

// place identifies a replica.
type place struct {
	host    ports.Host
	replica string
}

func (s Site) place() place { return place{s.Host, s.Replica} }

// volume identifies the volume, by its name or, without one, by each source replica.
func (r Request) volume() (keys []any) {
	if r.Volume != "" {
		return []any{r.Volume}
	}
	for _, site := range r.sources() {
		keys = append(keys, site.place())
	}
	return keys
}
