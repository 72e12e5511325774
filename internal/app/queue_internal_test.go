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
	"pgregory.net/rapid"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// place is a host that is never asked anything.
type place struct {
	ports.Host
	name string
}

// theater plays rebuilds that end when they are told to.
type theater struct {
	mu      sync.Mutex
	playing map[string]chan error // by destination replica
	order   []string              // as they began
}

func newTheater() *theater { return &theater{playing: make(map[string]chan error)} }

func (th *theater) play(ctx context.Context, r Request) (Report, error) {
	over := make(chan error)
	th.mu.Lock()
	th.playing[r.Destination.Replica] = over
	th.order = append(th.order, r.Destination.Replica)
	th.mu.Unlock()
	defer func() {
		th.mu.Lock()
		defer th.mu.Unlock()
		delete(th.playing, r.Destination.Replica)
	}()
	if r.Observer != nil {
		r.Observer.Observe(Event{Kind: EventPlanned, BytesTotal: 7})
	}
	select {
	case err := <-over:
		return Report{Outcome: OutcomeComplete, CopiedBytes: 7}, err
	case <-ctx.Done():
		return Report{Outcome: OutcomeFailed}, context.Cause(ctx)
	}
}

func (th *theater) now() []string {
	th.mu.Lock()
	defer th.mu.Unlock()
	var names []string
	for name := range th.playing {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (th *theater) finish(name string, err error) {
	th.mu.Lock()
	over := th.playing[name]
	th.mu.Unlock()
	over <- err
	synctest.Wait()
}

func newTestQueue(limits Limits) (*Queue, *theater) {
	q, th := NewQueue(New(nil), limits), newTheater()
	q.rebuild = th.play
	return q, th
}

func request(volume string, source, destination *place, replica string) Request {
	return Request{
		Volume: volume,
		Source: Site{Host: source, Replica: volume + "-r-0a1b2c3d"}, Destination: Site{Host: destination, Replica: replica},
	}
}

func TestAHostTakesPartInAsManyRebuildsAsItsLimitSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, c := &place{name: "a"}, &place{name: "b"}, &place{name: "c"}
		q, th := newTestQueue(Limits{PerSource: 2, PerDestination: 1})
		for i, r := range []Request{
			request("v1", a, b, "v1-r-4e5f6a7b"),
			request("v2", a, b, "v2-r-4e5f6a7b"), // b is taken
			request("v3", a, c, "v3-r-4e5f6a7b"), // a is kept for v2
			request("v4", b, a, "v4-r-4e5f6a7b"),
		} {
			_, err := q.Submit(t.Context(), r)
			require.NoError(t, err, i)
		}
		synctest.Wait()
		require.Equal(t, []string{"v1-r-4e5f6a7b", "v4-r-4e5f6a7b"}, th.now())
		waiting := q.Jobs()[1].Status()
		require.Equal(t, PhaseQueued, waiting.Phase)
		require.Contains(t, waiting.WaitsFor, "destination")
		th.finish("v1-r-4e5f6a7b", nil)
		require.Equal(t, []string{"v2-r-4e5f6a7b", "v3-r-4e5f6a7b", "v4-r-4e5f6a7b"}, th.now())
		require.NoError(t, q.Close(t.Context()))
	})
}

// A rebuild has a place on the host of each source that it may use.
func TestARebuildTakesAPlaceOnEachSourcesHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, c, d := &place{name: "a"}, &place{name: "b"}, &place{name: "c"}, &place{name: "d"}
		q, th := newTestQueue(Limits{PerSource: 1, PerDestination: 9})
		several := request("v1", a, d, "v1-r-4a5b6c7d")
		several.MoreSources = []Site{{Host: b, Replica: "v1-r-4e5f6a7b"}, {Host: b, Replica: "v1-r-8c9d0e1f"}} // b once
		unnamed := func(source Site, replica string) Request {
			r := request("", a, d, replica)
			r.Source = source
			return r
		}
		first := unnamed(Site{Host: c, Replica: "v3-r-0a1b2c3d"}, "v3-r-4a5b6c7d")
		first.MoreSources = []Site{{Host: d, Replica: "v3-r-4e5f6a7b"}}
		for _, r := range []Request{
			several,
			request("v2", b, d, "v2-r-4a5b6c7d"), // b is taken
			first,
			unnamed(Site{Host: &place{name: "e"}, Replica: "v4-r-0a1b2c3d"}, "v4-r-4a5b6c7d"),
			unnamed(Site{Host: d, Replica: "v3-r-4e5f6a7b"}, "v3-r-0c1d2e3f"), // the volume that has the source in common
		} {
			_, err := q.Submit(t.Context(), r)
			require.NoError(t, err)
		}
		synctest.Wait()
		require.Equal(t, []string{"v1-r-4a5b6c7d", "v3-r-4a5b6c7d", "v4-r-4a5b6c7d"}, th.now())
		require.Contains(t, q.Jobs()[1].Status().WaitsFor, "source")
		require.Contains(t, q.Jobs()[4].Status().WaitsFor, "volume")
		require.Equal(t, []string{"v1-r-4e5f6a7b", "v1-r-8c9d0e1f"}, q.Jobs()[0].Status().MoreSources)
		th.finish("v1-r-4a5b6c7d", nil)
		require.Equal(t, []string{"v2-r-4a5b6c7d", "v3-r-4a5b6c7d", "v4-r-4a5b6c7d"}, th.now())
		uncomparableOne := request("v9", a, d, "v9-r-4a5b6c7d")
		uncomparableOne.MoreSources = []Site{{Host: uncomparable{}, Replica: "v9-r-4e5f6a7b"}}
		_, err := q.Submit(t.Context(), uncomparableOne)
		require.ErrorIs(t, err, ErrRefused)
		require.NoError(t, q.Close(t.Context()))
	})
}

func TestAVolumeHasOneRebuildAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, c := &place{name: "a"}, &place{name: "b"}, &place{name: "c"}
		q, th := newTestQueue(Limits{PerSource: 9, PerDestination: 9})
		for _, r := range []Request{request("v1", a, b, "v1-r-4e5f6a7b"), request("v1", a, c, "v1-r-8c9d0e1f")} {
			_, err := q.Submit(t.Context(), r)
			require.NoError(t, err)
		}
		synctest.Wait()
		require.Equal(t, []string{"v1-r-4e5f6a7b"}, th.now())
		_, err := q.Submit(t.Context(), request("v1", a, c, "v1-r-8c9d0e1f"))
		require.ErrorIs(t, err, ErrRefused)
		require.ErrorContains(t, err, "v1-r-8c9d0e1f is queued already")
		th.finish("v1-r-4e5f6a7b", errors.New("the disk is broken"))
		require.Equal(t, []string{"v1-r-8c9d0e1f"}, th.now(), "a failure is its own volume's alone")
		_, err = q.Jobs()[0].Wait(t.Context())
		require.EqualError(t, err, "the disk is broken")
		require.NoError(t, q.Close(t.Context()))
	})
}

func TestAJobCanBeCancelledWhileItWaitsAndWhileItRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &place{name: "a"}, &place{name: "b"}
		q, th := newTestQueue(Limits{PerSource: 1, PerDestination: 1})
		var jobs []*Job
		for _, v := range []string{"v1", "v2", "v3"} {
			job, err := q.Submit(t.Context(), request(v, a, b, v+"-r-4e5f6a7b"))
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
		require.Equal(t, []string{"v1-r-4e5f6a7b"}, th.now())
		jobs[0].Cancel()
		synctest.Wait()
		require.Equal(t, []string{"v3-r-4e5f6a7b"}, th.now())
		require.NoError(t, q.Close(t.Context()))
		_, err = q.Submit(t.Context(), request("v4", a, b, "v4-r-4e5f6a7b"))
		require.ErrorIs(t, err, ErrClosed)
	})
}

func TestTheStateOfAJobIsThereFromTheFirstMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &place{name: "a"}, &place{name: "b"}
		q, th := newTestQueue(Limits{})
		r := request("v1", a, b, "v1-r-4e5f6a7b")
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
		th.finish("v1-r-4e5f6a7b", nil)
		s = job.Status()
		require.Equal(t, time.Minute, s.Ended.Sub(s.Began))
		require.Equal(t, []EventKind{EventPlanned}, seen, "the caller's observer is told, too")
		require.NoError(t, q.Close(t.Context()))
	})
}

type observe func(Event)

func (o observe) Observe(e Event) { o(e) }

func TestWhatEndedIsListedForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &place{name: "a"}, &place{name: "b"}
		q, th := newTestQueue(Limits{PerSource: 1, PerDestination: 1})
		for i := range keptJobs + 10 {
			name := fmt.Sprint("v", i)
			_, err := q.Submit(t.Context(), request(name, a, b, name+"-r-4e5f6a7b"))
			require.NoError(t, err)
		}
		synctest.Wait()
		for i := range keptJobs + 10 {
			th.finish(fmt.Sprint("v", i, "-r-4e5f6a7b"), nil)
		}
		require.Len(t, q.Jobs(), keptJobs)
		require.Equal(t, "v10", q.Jobs()[0].Status().Volume)
	})
}

// A report tells of all lvols of two stores, which can be many.
func TestQueueForgetsLargeReportsSooner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &place{name: "a"}, &place{name: "b"}
		q, _ := newTestQueue(Limits{})
		lvols := keptLines / 4
		q.rebuild = func(_ context.Context, r Request) (report Report, err error) {
			report.Source.Store.Lvols = make([]domain.Lvol, lvols/2)
			report.Plan.Operations = make([]domain.Operation, lvols/2)
			return report, nil
		}
		run := func(volume string) Status {
			job, err := q.Submit(t.Context(), request(volume, a, b, volume+"-r-4e5f6a7b"))
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
func TestQueueForgetsHostsOfWhatHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, th := newTestQueue(Limits{})
		limited, shared := &place{name: "limited"}, &place{name: "shared"}
		q.LimitHost(limited, 1<<20)
		submit := func(volume string, from, to *place) *Job {
			job, err := q.Submit(t.Context(), request(volume, from, to, volume+"-r-4e5f6a7b"))
			require.NoError(t, err)
			synctest.Wait()
			return job
		}
		first := submit("v1", limited, shared)
		second := submit("v2", &place{name: "b"}, shared)
		require.Len(t, q.hosts, 3)
		th.finish("v1-r-4e5f6a7b", nil)
		synctest.Wait()
		require.Len(t, q.hosts, 3, "one is limited, two take part in v2")
		require.Nil(t, first.request.Source.Host)
		held := q.hosts[shared]
		q.LimitHost(shared, 1<<20)
		require.Same(t, held, q.hosts[shared], "the limit holds for what runs")
		q.LimitHost(shared, 0)
		th.finish("v2-r-4e5f6a7b", nil)
		synctest.Wait()
		require.Len(t, q.hosts, 1)
		require.Contains(t, q.hosts, ports.Host(limited))
		require.Nil(t, second.request.Destination.Host)
	})
}

// uncomparable is a host that is no pointer.
type uncomparable struct {
	place
	_ []int
}

func TestAHostThatCannotBeToldFromAnotherIsRefused(t *testing.T) {
	q, _ := newTestQueue(Limits{})
	r := request("v1", &place{}, &place{}, "v1-r-4e5f6a7b")
	r.Source.Host = uncomparable{}
	_, err := q.Submit(t.Context(), r)
	require.ErrorIs(t, err, ErrRefused)
}

// At any moment no limit is exceeded, none begins while an older one waits for
// something that the two share, and none waits though everything is free.
func TestAQueueIsFairWhateverComes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hosts := []*place{{name: "a"}, {name: "b"}, {name: "c"}}
		limits := Limits{PerSource: rapid.IntRange(1, 3).Draw(t, "per source"), PerDestination: rapid.IntRange(1, 3).Draw(t, "per destination")}
		synctest.Test(new(testing.T), func(*testing.T) {
			q, th := newTestQueue(limits)
			pick := func(what string) *place { return rapid.SampledFrom(hosts).Draw(t, what) }
			requests := make(map[string]Request)
			var submitted []string
			for n := range rapid.IntRange(1, 40).Draw(t, "deeds") {
				if playing := th.now(); len(playing) > 0 && rapid.Bool().Draw(t, "one ends") {
					th.finish(rapid.SampledFrom(playing).Draw(t, "which"), nil)
				} else {
					volume := fmt.Sprint("v", rapid.IntRange(1, 6).Draw(t, "volume"))
					r := request(volume, pick("source"), pick("destination"), fmt.Sprintf("%s-r-%08d", volume, n+2))
					if _, err := q.Submit(context.Background(), r); err != nil {
						t.Fatal(err)
					}
					requests[r.Destination.Replica] = r
					submitted = append(submitted, r.Destination.Replica)
					synctest.Wait()
				}
				requireFair(t, limits, requests, submitted, th)
			}
			if err := q.Close(context.Background()); err != nil {
				t.Fatal(err)
			}
		})
	})
}

func requireFair(t *rapid.T, limits Limits, requests map[string]Request, submitted []string, th *theater) {
	playing, began := th.now(), make(map[string]bool)
	for _, name := range th.order {
		began[name] = true
	}
	// Played by the book: the oldest first, each with what those before it leave.
	sources, destinations, volumes := make(map[ports.Host]int), make(map[ports.Host]int), make(map[string]bool)
	take := func(r Request) bool {
		ok := sources[r.Source.Host] < limits.PerSource && destinations[r.Destination.Host] < limits.PerDestination && !volumes[r.Volume]
		sources[r.Source.Host]++
		destinations[r.Destination.Host]++
		volumes[r.Volume] = true
		return ok
	}
	for _, name := range playing {
		if !take(requests[name]) {
			t.Fatalf("%s runs beside %v: over a limit", name, playing)
		}
	}
	for _, name := range submitted {
		if !began[name] && take(requests[name]) {
			t.Fatalf("%s waits for nothing, beside %v", name, playing)
		}
	}
}
