package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// fakeHost is a host that nothing calls.
type fakeHost struct {
	ports.Host
	name string
}

// fakeRebuilds are rebuilds that end when a test says so.
type fakeRebuilds struct {
	mu   sync.Mutex
	runs map[string]chan error // by destination replica

	slow chan struct{} // closed: a rebuild cleans up at once; nil, too. Else it does until finish
}

func newFakeRebuilds() *fakeRebuilds { return &fakeRebuilds{runs: make(map[string]chan error)} }

func (f *fakeRebuilds) rebuild(ctx context.Context, r Request) (Report, error) {
	over := make(chan error)
	f.mu.Lock()
	f.runs[r.Destination.Replica] = over
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.runs, r.Destination.Replica)
	}()
	if r.Observer != nil {
		r.Observer.Observe(Event{Kind: EventPlanned, BytesTotal: 7})
	}
	select {
	case err := <-over:
		return Report{Outcome: OutcomeComplete, CopiedBytes: 7}, err
	case <-ctx.Done():
	}
	if f.slow != nil {
		select {
		case <-over:
		case <-f.slow:
		}
	}
	return Report{Outcome: OutcomeFailed}, context.Cause(ctx)
}

func (f *fakeRebuilds) running() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var names []string
	for name := range f.runs {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (f *fakeRebuilds) finish(name string, err error) {
	f.mu.Lock()
	over := f.runs[name]
	f.mu.Unlock()
	over <- err
	synctest.Wait()
}

func newTestQueue(limits Limits) (*Queue, *fakeRebuilds) {
	q, fake := NewQueue(New(nil), limits), newFakeRebuilds()
	q.rebuild = fake.rebuild
	return q, fake
}

// submit adds a rebuild of a volume and waits until the queue has seen it.
func submit(t require.TestingT, q *Queue, volume string, source, destination *fakeHost) *Job {
	job, err := q.Submit(context.Background(), newRequest(volume, source, destination, volume+"-r-4e5f6a7b"))
	require.NoError(t, err)
	synctest.Wait()
	return job
}

func newRequest(volume string, source, destination *fakeHost, replica string) Request {
	return Request{
		Volume: volume,
		Source: Site{Host: source, Replica: volume + "-r-0a1b2c3d"}, Destination: Site{Host: destination, Replica: replica},
	}
}

func TestQueueKeepsLimitsOfHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, c := &fakeHost{name: "a"}, &fakeHost{name: "b"}, &fakeHost{name: "c"}
		q, fake := newTestQueue(Limits{PerSource: 2, PerDestination: 1})
		for i, r := range []Request{
			newRequest("v1", a, b, "v1-r-4e5f6a7b"),
			newRequest("v2", a, b, "v2-r-4e5f6a7b"), // b is taken
			newRequest("v3", a, c, "v3-r-4e5f6a7b"), // a is kept for v2
			newRequest("v4", b, a, "v4-r-4e5f6a7b"),
		} {
			_, err := q.Submit(t.Context(), r)
			require.NoError(t, err, i)
		}
		synctest.Wait()
		require.Equal(t, []string{"v1-r-4e5f6a7b", "v4-r-4e5f6a7b"}, fake.running())
		waiting := q.Jobs()[1].Status()
		require.Equal(t, PhaseQueued, waiting.Phase)
		require.Contains(t, waiting.WaitsFor, "destination")
		fake.finish("v1-r-4e5f6a7b", nil)
		require.Equal(t, []string{"v2-r-4e5f6a7b", "v3-r-4e5f6a7b", "v4-r-4e5f6a7b"}, fake.running())
		require.NoError(t, q.Close(t.Context()))
	})
}

// A rebuild has a fakeHost on the host of each source that it may use.
func TestRebuildCountsOnEverySourceHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, c, d := &fakeHost{name: "a"}, &fakeHost{name: "b"}, &fakeHost{name: "c"}, &fakeHost{name: "d"}
		q, fake := newTestQueue(Limits{PerSource: 1, PerDestination: 9})
		several := newRequest("v1", a, d, "v1-r-4a5b6c7d")
		several.MoreSources = []Site{{Host: b, Replica: "v1-r-4e5f6a7b"}, {Host: b, Replica: "v1-r-8c9d0e1f"}} // b once
		unnamed := func(source Site, replica string) Request {
			r := newRequest("", a, d, replica)
			r.Source = source
			return r
		}
		first := unnamed(Site{Host: c, Replica: "v3-r-0a1b2c3d"}, "v3-r-4a5b6c7d")
		first.MoreSources = []Site{{Host: d, Replica: "v3-r-4e5f6a7b"}}
		for _, r := range []Request{
			several,
			newRequest("v2", b, d, "v2-r-4a5b6c7d"), // b is taken
			first,
			unnamed(Site{Host: &fakeHost{name: "e"}, Replica: "v4-r-0a1b2c3d"}, "v4-r-4a5b6c7d"),
			unnamed(Site{Host: d, Replica: "v3-r-4e5f6a7b"}, "v3-r-0c1d2e3f"), // the volume that has the source in common
		} {
			_, err := q.Submit(t.Context(), r)
			require.NoError(t, err)
		}
		synctest.Wait()
		require.Equal(t, []string{"v1-r-4a5b6c7d", "v3-r-4a5b6c7d", "v4-r-4a5b6c7d"}, fake.running())
		require.Contains(t, q.Jobs()[1].Status().WaitsFor, "source")
		require.Contains(t, q.Jobs()[4].Status().WaitsFor, "volume")
		require.Equal(t, []string{"v1-r-4e5f6a7b", "v1-r-8c9d0e1f"}, q.Jobs()[0].Status().MoreSources)
		fake.finish("v1-r-4a5b6c7d", nil)
		require.Equal(t, []string{"v2-r-4a5b6c7d", "v3-r-4a5b6c7d", "v4-r-4a5b6c7d"}, fake.running())
		uncomparableOne := newRequest("v9", a, d, "v9-r-4a5b6c7d")
		uncomparableOne.MoreSources = []Site{{Host: uncomparable{}, Replica: "v9-r-4e5f6a7b"}}
		_, err := q.Submit(t.Context(), uncomparableOne)
		require.ErrorIs(t, err, ErrRefused)
		require.NoError(t, q.Close(t.Context()))
	})
}

func TestQueueRunsOneRebuildPerVolume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, c := &fakeHost{name: "a"}, &fakeHost{name: "b"}, &fakeHost{name: "c"}
		q, fake := newTestQueue(Limits{PerSource: 9, PerDestination: 9})
		for _, r := range []Request{newRequest("v1", a, b, "v1-r-4e5f6a7b"), newRequest("v1", a, c, "v1-r-8c9d0e1f")} {
			_, err := q.Submit(t.Context(), r)
			require.NoError(t, err)
		}
		synctest.Wait()
		require.Equal(t, []string{"v1-r-4e5f6a7b"}, fake.running())
		_, err := q.Submit(t.Context(), newRequest("v1", a, c, "v1-r-8c9d0e1f"))
		require.ErrorIs(t, err, ErrRefused)
		require.ErrorContains(t, err, "v1-r-8c9d0e1f is queued already")
		fake.finish("v1-r-4e5f6a7b", errors.New("the disk is broken"))
		require.Equal(t, []string{"v1-r-8c9d0e1f"}, fake.running(), "a failure is its own volume's alone")
		_, err = q.Jobs()[0].Wait(t.Context())
		require.EqualError(t, err, "the disk is broken")
		require.NoError(t, q.Close(t.Context()))
	})
}

func TestCancelEndsWaitingAndRunningJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &fakeHost{name: "a"}, &fakeHost{name: "b"}
		q, fake := newTestQueue(Limits{PerSource: 1, PerDestination: 1})
		var jobs []*Job
		for _, v := range []string{"v1", "v2", "v3"} {
			job, err := q.Submit(t.Context(), newRequest(v, a, b, v+"-r-4e5f6a7b"))
			require.NoError(t, err)
			jobs = append(jobs, job)
		}
		synctest.Wait()
		jobs[1].Cancel()
		synctest.Wait()
		_, err := jobs[1].Wait(t.Context())
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorContains(t, err, "v2-r-4e5f6a7b")
		require.Equal(t, PhaseEnded, jobs[1].Status().Phase)
		require.Equal(t, []string{"v1-r-4e5f6a7b"}, fake.running())
		jobs[0].Cancel()
		synctest.Wait()
		require.Equal(t, []string{"v3-r-4e5f6a7b"}, fake.running())
		require.NoError(t, q.Close(t.Context()))
		_, err = q.Submit(t.Context(), newRequest("v4", a, b, "v4-r-4e5f6a7b"))
		require.ErrorIs(t, err, ErrClosed)
	})
}

func TestJobStatusIsCompleteFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &fakeHost{name: "a"}, &fakeHost{name: "b"}
		q, fake := newTestQueue(Limits{})
		r := newRequest("v1", a, b, "v1-r-4e5f6a7b")
		r.Options.Full = true
		var seen []EventKind
		r.Observer = observe(func(e Event) { seen = append(seen, e.Kind) })
		job, err := q.Submit(t.Context(), r)
		require.NoError(t, err)
		s := job.Status()
		require.Equal(t, []string{"v1", "v1-r-0a1b2c3d", "v1-r-4e5f6a7b", "full"}, []string{s.Volume, s.Source, s.Destination, s.Mode})
		require.Len(t, s.ID, 8)
		require.NotEqual(t, PhaseEnded, s.Phase)
		synctest.Wait()
		s = job.Status()
		require.Equal(t, PhaseRunning, s.Phase)
		require.Equal(t, uint64(7), s.Last.BytesTotal)
		time.Sleep(time.Minute) // of the bubble's clock
		fake.finish("v1-r-4e5f6a7b", nil)
		s = job.Status()
		require.Equal(t, time.Minute, s.Ended.Sub(s.Began))
		require.Equal(t, []EventKind{EventPlanned}, seen, "the caller's observer is told, too")
		require.NoError(t, q.Close(t.Context()))
	})
}

type observe func(Event)

func (o observe) Observe(e Event) { o(e) }

func TestQueueListsJobsThatEndedLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &fakeHost{name: "a"}, &fakeHost{name: "b"}
		q, fake := newTestQueue(Limits{PerSource: 1, PerDestination: 1})
		for i := range keptJobs + 10 {
			name := fmt.Sprint("v", i)
			_, err := q.Submit(t.Context(), newRequest(name, a, b, name+"-r-4e5f6a7b"))
			require.NoError(t, err)
		}
		synctest.Wait()
		for i := range keptJobs + 10 {
			fake.finish(fmt.Sprint("v", i, "-r-4e5f6a7b"), nil)
		}
		require.Len(t, q.Jobs(), keptJobs)
		require.Equal(t, "v10", q.Jobs()[0].Status().Volume)
	})
}

// A report tells of all lvols of two stores, which can be many.
func TestQueueForgetsLargeReportsSooner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &fakeHost{name: "a"}, &fakeHost{name: "b"}
		q, _ := newTestQueue(Limits{})
		lvols := keptLines / 4
		q.rebuild = func(_ context.Context, r Request) (report Report, err error) {
			report.Source.Store.Lvols = make([]domain.Lvol, lvols/2)
			report.Plan.Operations = make([]domain.Operation, lvols/2)
			return report, nil
		}
		run := func(volume string) Status {
			job, err := q.Submit(t.Context(), newRequest(volume, a, b, volume+"-r-4e5f6a7b"))
			require.NoError(t, err)
			_, err = job.Wait(t.Context())
			require.NoError(t, err)
			synctest.Wait()
			return job.Status()
		}
		listed := func() (volumes []string) {
			for _, job := range q.Jobs() {
				volumes = append(volumes, job.Status().Volume)
			}
			return volumes
		}
		for i := range 6 {
			require.Len(t, run(fmt.Sprint("v", i)).Report.Plan.Operations, lvols/2, "who waits for it has all of it")
		}
		require.Equal(t, []string{"v2", "v3", "v4", "v5"}, listed())
		lvols = 2 * keptLines
		run("large")
		require.Equal(t, []string{"large"}, listed(), "the last one is listed in any case")
		lvols = 0
		run("small")
		require.Equal(t, []string{"small"}, listed())
	})
}

// A process that serves many hosts, one after the other, does not keep them: not for the
// jobs that have ended, and not for limits that there are none of.
func TestQueueForgetsHostsOfEndedJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, fake := newTestQueue(Limits{})
		limited, shared := &fakeHost{name: "limited"}, &fakeHost{name: "shared"}
		q.LimitHost(limited, 1<<20)
		submit := func(volume string, from, to *fakeHost) *Job {
			job, err := q.Submit(t.Context(), newRequest(volume, from, to, volume+"-r-4e5f6a7b"))
			require.NoError(t, err)
			synctest.Wait()
			return job
		}
		first := submit("v1", limited, shared)
		second := submit("v2", &fakeHost{name: "b"}, shared)
		require.Len(t, q.hosts, 3)
		fake.finish("v1-r-4e5f6a7b", nil)
		synctest.Wait()
		require.Len(t, q.hosts, 3, "one is limited, two take part in v2")
		require.Nil(t, first.request.Source.Host)
		held := q.hosts[shared]
		q.LimitHost(shared, 1<<20)
		require.Same(t, held, q.hosts[shared], "the limit holds for what runs")
		q.LimitHost(shared, 0)
		fake.finish("v2-r-4e5f6a7b", nil)
		synctest.Wait()
		require.Len(t, q.hosts, 1)
		require.Contains(t, q.hosts, ports.Host(limited))
		require.Nil(t, second.request.Destination.Host)
	})
}

func TestForgetHostEndsItsJobsAndItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, c := &fakeHost{name: "a"}, &fakeHost{name: "b"}, &fakeHost{name: "c"}
		q, fake := newTestQueue(Limits{PerSource: 1, PerDestination: 1})
		fake.slow = make(chan struct{})
		q.LimitHost(a, 1<<20)
		running, waiting, other := submit(t, q, "v1", a, b), submit(t, q, "v2", a, b), submit(t, q, "v3", c, c)
		require.Equal(t, 2, q.ForgetHost(a, errors.New("it is drained")))
		synctest.Wait()
		require.Equal(t, PhaseRunning, running.Status().Phase, "it cleans up")
		fake.finish("v1-r-4e5f6a7b", nil)
		for _, job := range []*Job{running, waiting} {
			require.ErrorIs(t, job.Status().Err, ErrEnded)
			require.ErrorContains(t, job.Status().Err, "it is drained")
			require.Nil(t, job.use)
			require.Nil(t, job.request.Source.Host)
		}
		require.NotContains(t, q.hosts, ports.Host(a))
		require.Equal(t, PhaseRunning, other.Status().Phase)
		require.Zero(t, q.ForgetHost(a, nil), "nothing uses it")
		require.Len(t, q.uses.all.All(), 1, "what has ended is not found any more")
		close(fake.slow)
		require.NoError(t, q.Close(t.Context()))
		require.Empty(t, q.uses.all.All())
	})
}

// A host without a job is not kept for a limit that was lifted.
func TestLiftedLimitForgetsHost(t *testing.T) {
	q, _ := newTestQueue(Limits{})
	host := &fakeHost{}
	q.LimitHost(host, 1<<20)
	require.Len(t, q.hosts, 1)
	q.LimitHost(host, 0)
	require.Empty(t, q.hosts)
}

// A source that is gone gives its place to others, also of a job that runs.
func TestGoneSourceTakesNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, c := &fakeHost{name: "a"}, &fakeHost{name: "b"}, &fakeHost{name: "c"}
		q, fake := newTestQueue(Limits{PerSource: 1, PerDestination: 9})
		r := newRequest("v1", a, c, "v1-r-4e5f6a7b")
		r.MoreSources = []Site{{Host: b, Replica: "v1-r-8c9d0e1f"}}
		several, err := q.Submit(t.Context(), r)
		require.NoError(t, err)
		next := submit(t, q, "v2", a, c)
		require.Equal(t, PhaseQueued, next.Status().Phase)
		require.True(t, several.use.endUsing(Using{Host: a, Replica: "v1-r-0a1b2c3d"}, errors.New("it was deleted")))
		synctest.Wait()
		require.Equal(t, []string{"v1-r-4e5f6a7b", "v2-r-4e5f6a7b"}, fake.running())
		fake.finish("v1-r-4e5f6a7b", nil)
		fake.finish("v2-r-4e5f6a7b", nil)
		require.Empty(t, q.hosts)
		require.NoError(t, q.Close(t.Context()))
	})
}

// What ends a job while a pause ends its run is told, too.
func TestEndedWhilePausingTellsWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &fakeHost{name: "a"}, &fakeHost{name: "b"}
		q, fake := newTestQueue(Limits{})
		fake.slow = make(chan struct{})
		job := submit(t, q, "v1", a, b)
		require.NoError(t, job.Pause())
		require.Equal(t, 1, q.ForgetHost(b, errors.New("it is drained")))
		fake.finish("v1-r-4e5f6a7b", nil)
		require.ErrorIs(t, job.Status().Err, ErrEnded)
		require.NoError(t, q.Close(t.Context()))
	})
}

// uncomparable is a host that is no pointer.
type uncomparable struct {
	fakeHost
	_ []int
}

func TestQueueRefusesUncomparableHost(t *testing.T) {
	q, _ := newTestQueue(Limits{})
	for _, host := range []ports.Host{uncomparable{}, ports.SourceOnly(uncomparable{})} {
		r := newRequest("v1", &fakeHost{}, &fakeHost{}, "v1-r-4e5f6a7b")
		r.Source.Host = host
		_, err := q.Submit(t.Context(), r)
		require.ErrorIs(t, err, ErrRefused)
		require.False(t, Using{Host: host}.selects(r.Source), "nobody can tell which one it is")
	}
}
