package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rootgraft/rebuild/internal/ports"
)

// nodeOf is the node of a fakeHost that is called NODE/HOST.
func nodeOf(host ports.Host) string {
	node, _, _ := strings.Cut(host.(*fakeHost).name, "/")
	return node
}

// modelJob is a job as the model has it.
type modelJob struct {
	*Job

	name                       string // of the destination replica
	request                    Request
	paused, pausing, cancelled bool
	sourceGone                 bool
}

// queueModel says of each job what it has to be.
type queueModel struct {
	limits                  Limits
	waiting, running, ended []*modelJob
}

// schedule plays it by the book: the first goes first, each with what those before it
// leave.
func (m *queueModel) schedule(t *rapid.T) {
	sources, destinations, nodes, volumes := make(map[ports.Host]int), make(map[ports.Host]int), make(map[string]int), make(map[string]bool)
	take := func(job *modelJob) bool {
		from, to, volume := job.request.Source.Host, job.request.Destination.Host, job.request.Volume
		ok := destinations[to] < m.limits.PerDestination && !volumes[volume]
		destinations[to]++
		volumes[volume] = true
		used := []string{nodeOf(to)}
		if !job.sourceGone {
			ok = ok && sources[from] < m.limits.PerSource
			sources[from]++
			used = append(used, nodeOf(from))
		}
		for _, node := range slices.Compact(used) {
			ok = ok && (node == "" || m.limits.PerNode == 0 || nodes[node] < m.limits.PerNode)
			nodes[node]++
		}
		return ok
	}
	for _, job := range m.running {
		if !take(job) {
			t.Fatalf("%s runs: over a limit", job.name)
		}
	}
	m.waiting = slices.DeleteFunc(m.waiting, func(job *modelJob) bool {
		starts := !job.paused && take(job)
		if starts {
			job.pausing = false
			m.running = append(m.running, job)
		}
		return starts
	})
}

// leave takes a job out of a list.
func leave(from *[]*modelJob, job *modelJob) {
	*from = slices.DeleteFunc(*from, func(other *modelJob) bool { return other == job })
}

func (m *queueModel) pause(job *modelJob) {
	job.paused = true
	job.pausing = slices.Contains(m.running, job)
}

func (m *queueModel) cancel(job *modelJob) {
	job.cancelled = true
	if slices.Contains(m.waiting, job) {
		leave(&m.waiting, job)
		m.ended = append(m.ended, job)
	}
}

// finish is the end of a run.
func (m *queueModel) finish(job *modelJob) {
	leave(&m.running, job)
	if job.pausing && !job.cancelled {
		m.waiting = slices.Insert(m.waiting, 0, job)
	} else {
		m.ended = append(m.ended, job)
	}
}

func (m *queueModel) move(job *modelJob, position int) {
	leave(&m.waiting, job)
	m.waiting = slices.Insert(m.waiting, min(position-1, len(m.waiting)), job)
}

// requireSame compares the queue with the model.
func (m *queueModel) requireSame(t *rapid.T, fake *fakeRebuilds) {
	same := func(job *modelJob, phase Phase, position int) {
		if s := job.Status(); s.Phase != phase || s.Position != position || (s.WaitsFor != "") != (phase == PhaseQueued) {
			t.Fatalf("%s is %s at %d and waits for %q: expected %s at %d", job.name, s.Phase, s.Position, s.WaitsFor, phase, position)
		}
	}
	for i, job := range m.waiting {
		phase := PhaseQueued
		if job.paused {
			phase = PhasePaused
		}
		same(job, phase, i+1)
	}
	names := []string{}
	for _, job := range m.running {
		names = append(names, job.name)
		phase := PhaseRunning
		if job.pausing {
			phase = PhasePausing
		}
		same(job, phase, 0)
	}
	for _, job := range m.ended {
		same(job, PhaseEnded, 0)
	}
	slices.Sort(names)
	if running := fake.running(); !slices.Equal(names, running) {
		t.Fatalf("%v run: expected %v", running, names)
	}
}

// At any moment no limit is exceeded, no job starts while one before it waits for
// something that the two share, and no job waits though everything is free.
func TestQueueMatchesModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits := Limits{
			PerSource: rapid.IntRange(1, 3).Draw(t, "per source"), PerDestination: rapid.IntRange(1, 3).Draw(t, "per destination"),
			PerNode: rapid.IntRange(0, 3).Draw(t, "per node"), NodeOf: nodeOf,
		}
		synctest.Test(new(testing.T), func(*testing.T) {
			q, fake := newTestQueue(limits)
			fake.slow = make(chan struct{})
			operations := &queueOperations{queue: q, fake: fake, model: &queueModel{limits: limits}, hosts: []*fakeHost{{name: "n1/a"}, {name: "n1/b"}, {name: "n2/c"}, {name: ""}}}
			for range rapid.IntRange(1, 40).Draw(t, "operations") {
				operations.one(t)
				synctest.Wait()
				operations.model.schedule(t)
				operations.model.requireSame(t, fake)
			}
			close(fake.slow)
			require.NoError(t, q.Close(context.Background()))
		})
	})
}

// queueOperations draws operations and does them to a queue and to the model of it.
type queueOperations struct {
	queue *Queue
	fake  *fakeRebuilds
	model *queueModel
	hosts []*fakeHost
	made  int
}

func (o *queueOperations) one(t *rapid.T) {
	m := o.model
	waiting, running := slices.Clone(m.waiting), slices.Clone(m.running)
	all := slices.Concat(waiting, running)
	kind := rapid.SampledFrom([]string{"submit", "finish", "finish", "pause", "resume", "cancel", "move", "forget"}).Draw(t, "operation")
	switch {
	case kind == "finish" && len(running) > 0:
		job := rapid.SampledFrom(running).Draw(t, "job")
		o.fake.finish(job.name, nil)
		m.finish(job)
	case kind == "pause" && len(all) > 0:
		job := rapid.SampledFrom(all).Draw(t, "job")
		require.NoError(t, job.Pause())
		m.pause(job)
	case kind == "resume" && len(all) > 0:
		job := rapid.SampledFrom(all).Draw(t, "job")
		require.NoError(t, job.Resume())
		job.paused = false
	case kind == "cancel" && len(all) > 0:
		job := rapid.SampledFrom(all).Draw(t, "job")
		job.Cancel()
		m.cancel(job)
	case kind == "move" && len(waiting) > 0:
		job, position := rapid.SampledFrom(waiting).Draw(t, "job"), rapid.IntRange(1, 9).Draw(t, "position")
		require.NoError(t, job.Move(position))
		m.move(job, position)
	case kind == "forget" && rapid.Bool().Draw(t, "really"): // it ends many
		host, found := rapid.SampledFrom(o.hosts).Draw(t, "host"), 0
		for _, job := range all {
			from, to := job.request.Source.Host == host, job.request.Destination.Host == host
			if (from || to) && !job.cancelled {
				job.sourceGone = from && !to
				m.cancel(job)
				found++
			}
		}
		require.Equal(t, found, o.queue.ForgetHost(host, errors.New("it is gone")))
	default:
		o.submit(t)
	}
}

func (o *queueOperations) submit(t *rapid.T) {
	o.made++
	volume := fmt.Sprint("v", rapid.IntRange(1, 6).Draw(t, "volume"))
	source, destination := rapid.SampledFrom(o.hosts).Draw(t, "source"), rapid.SampledFrom(o.hosts).Draw(t, "destination")
	name := fmt.Sprintf("%s-r-%08d", volume, o.made)
	r := newRequest(volume, source, destination, name)
	job, err := o.queue.Submit(context.Background(), r)
	require.NoError(t, err)
	o.model.waiting = append(o.model.waiting, &modelJob{Job: job, name: name, request: r})
}
