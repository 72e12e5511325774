package app_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/ports"
)

var errDiskGone = errors.New("the disk is gone")

// cleanUpTakes is how long the cleanup of a rebuild may take on a host that hangs.
const cleanUpTakes = 30 * time.Second

// slowCopies makes each copy of a host take an hour.
func slowCopies(hosts ...*memory.Host) {
	for _, host := range hosts {
		inject(host, on("copy").takes(copyTakes))
	}
}

// result is what Rebuild has returned.
type result struct {
	report app.Report
	err    error
}

// begin runs a rebuild beside the test for a while.
func begin(engine *app.Engine, r app.Request, lead time.Duration) <-chan result {
	over := make(chan result, 1)
	go func() {
		report, err := engine.Rebuild(context.Background(), r)
		over <- result{report, err}
	}()
	time.Sleep(lead) // of the bubble's clock
	return over
}

func TestEndRebuildsEndsThoseThatUseIt(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		of   func(w *hostSet, r app.Request) app.Using
		says string // "": it goes on
	}{
		"the destination's host":    {func(w *hostSet, r app.Request) app.Using { return app.Using{Host: r.Destination.Host} }, "its destination, replica own-r-4e5f6a7b, is gone"},
		"the destination's replica": {func(w *hostSet, r app.Request) app.Using { return app.Using{Replica: r.Destination.Replica} }, "its destination, replica own-r-4e5f6a7b, is gone"},
		"both of it": {func(w *hostSet, r app.Request) app.Using {
			return app.Using{Host: r.Destination.Host, Replica: r.Destination.Replica}
		}, "its destination, replica own-r-4e5f6a7b, is gone"},
		"the source's host":    {func(w *hostSet, r app.Request) app.Using { return app.Using{Host: r.Source.Host} }, "its source, replica own-r-0a1b2c3d, is gone"},
		"the source's replica": {func(w *hostSet, r app.Request) app.Using { return app.Using{Replica: r.Source.Replica} }, "its source, replica own-r-0a1b2c3d, is gone"},
		"another host":         {func(w *hostSet, r app.Request) app.Using { return app.Using{Host: w.hosts["third"]} }, ""},
		"another replica":      {func(w *hostSet, r app.Request) app.Using { return app.Using{Replica: "own-r-8c9d0e1f"} }, ""},
		"a replica of that name elsewhere": {func(w *hostSet, r app.Request) app.Using {
			return app.Using{Host: w.hosts["third"], Replica: r.Source.Replica}
		}, ""},
		"the other replica of a host": {func(w *hostSet, r app.Request) app.Using {
			return app.Using{Host: r.Source.Host, Replica: r.Destination.Replica}
		}, ""},
		"nothing": {func(*hostSet, app.Request) app.Using { return app.Using{} }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newHostSet(t, memory.Fork, "source", "destination", "third", "fourth")
				engine, request := app.New(nil), w.volume("own", "source", "destination")
				slowCopies(w.hosts["source"])
				rebuild, other := begin(engine, request, 0), begin(engine, w.volume("other", "third", "fourth"), time.Minute)
				began, found := time.Now(), engine.EndRebuilds(test.of(w, request), errDiskGone)
				require.NoError(t, (<-other).err)
				over := <-rebuild
				if test.says == "" {
					require.Zero(t, found)
					require.NoError(t, over.err)
					w.requireRebuilt(request)
					return
				}
				require.Equal(t, 1, found)
				require.ErrorIs(t, over.err, app.ErrEnded)
				require.ErrorIs(t, over.err, errDiskGone)
				require.ErrorContains(t, over.err, test.says)
				require.NotErrorIs(t, over.err, app.ErrCleanUp)
				require.Equal(t, app.OutcomeFailed, over.report.Outcome)
				require.Zero(t, time.Since(began))
				require.Empty(t, list(t, w.hosts["destination"], request.Destination.Replica).InFlight)
				require.Zero(t, engine.EndRebuilds(test.of(w, request), errDiskGone), "it has ended")

				w.hosts["source"].Inject(nil)
				_, err := engine.Rebuild(t.Context(), request)
				require.NoError(t, err, "a new one is not meant")
				w.requireRebuilt(request)
			})
		})
	}
}

// A call that hangs on the host that is gone holds up no more than the cleanup does.
func TestEndRebuildsDoesNotWaitForDeadHost(t *testing.T) {
	t.Parallel()
	for _, gone := range []string{"source", "destination"} {
		t.Run(gone, func(t *testing.T) {
			t.Parallel()
			for n := 1; ; n++ {
				over := false
				synctest.Test(t, func(t *testing.T) {
					w := newHostSet(t, memory.Fork, "source", "destination")
					engine, request := app.New(nil), w.volume("own", "source", "destination")
					calls := hangFrom(w.hosts[gone], n)
					rebuild := begin(engine, request, time.Second)
					if over = calls.calls() < n; over {
						require.NoError(t, (<-rebuild).err)
						return
					}
					began := time.Now()
					require.Equal(t, 1, engine.EndRebuilds(app.Using{Host: w.hosts[gone]}, errDiskGone), "call %d", n)
					err := (<-rebuild).err
					require.LessOrEqual(t, time.Since(began), cleanUpTakes, "call %d", n)
					if err == nil { // nothing was left to do but to close what was open on the source
						require.Equal(t, "source", gone)
						require.NotNil(t, list(t, w.hosts["destination"], request.Destination.Replica).Head, "call %d", n)
						return
					}
					require.ErrorIs(t, err, app.ErrEnded, "call %d", n)
					require.ErrorIs(t, err, errDiskGone, "call %d", n)
				})
				if over {
					require.Greater(t, n, 10)
					return
				}
			}
		})
	}
}

// Of several sources the others serve what one that is gone has not, as after a failure.
func TestEndRebuildsDropsOneOfSeveralSources(t *testing.T) {
	t.Parallel()
	for name, gone := range map[string]int{"the primary": 0, "a secondary": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newMultiSource(t, memory.Fork, []memory.Flavour{memory.Fork, memory.Fork}, fieldTreeWithData)
				slowCopies(g.sources[gone])
				engine := app.New(nil)
				rebuild := begin(engine, g.request, time.Minute)
				began := time.Now()
				require.Equal(t, 1, engine.EndRebuilds(app.Using{Replica: nthSource(gone)}, errDiskGone))
				over := <-rebuild
				require.NoError(t, over.err)
				require.Zero(t, time.Since(began))
				require.Equal(t, app.SourceLost, over.report.Sources[gone].State)
				require.Equal(t, "ended on request: the disk is gone", over.report.Sources[gone].Reason)
				g.requireEqual(1 - gone)
			})
		})
	}
}

// A source that hangs at any call and then is gone holds the others up no longer than a
// cleanup does.
func TestDroppedSourceHoldsUpNoRebuild(t *testing.T) {
	t.Parallel()
	for name, gone := range map[string]int{"the primary": 0, "a secondary": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for n := 1; ; n++ {
				over := false
				synctest.Test(t, func(t *testing.T) {
					g := newMultiSource(t, memory.Fork, []memory.Flavour{memory.Fork, memory.Fork}, fieldTreeWithData)
					calls := hangFrom(g.sources[gone], n)
					engine := app.New(nil)
					rebuild := begin(engine, g.request, time.Second)
					if over = calls.calls() < n; over {
						require.NoError(t, (<-rebuild).err)
						return
					}
					began := time.Now()
					require.Equal(t, 1, engine.EndRebuilds(app.Using{Host: g.sources[gone]}, errDiskGone), "call %d", n)
					ended := <-rebuild
					require.NoError(t, ended.err, "call %d", n)
					require.LessOrEqual(t, time.Since(began), cleanUpTakes, "call %d", n)
					require.Equal(t, app.SourceLost, ended.report.Sources[gone].State, "call %d", n)
					require.Contains(t, ended.report.Sources[gone].Reason, errDiskGone.Error(), "call %d", n)
					g.sources[gone].Inject(nil)
					g.requireEqualToPrimary(ended.report) // the one that is gone, if all was compared before
				})
				if over {
					require.Greater(t, n, 3)
					return
				}
			}
		})
	}
}

func TestRebuildEndsWithItsLastSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newMultiSource(t, memory.Fork, []memory.Flavour{memory.Fork, memory.Fork}, fieldTreeWithData)
		slowCopies(g.sources...)
		engine := app.New(nil)
		rebuild := begin(engine, g.request, time.Minute)
		require.Equal(t, 1, engine.EndRebuilds(app.Using{Host: g.sources[1]}, errors.New("it is drained")))
		time.Sleep(time.Second) // of the bubble's clock
		require.Equal(t, 1, engine.EndRebuilds(app.Using{Host: g.sources[0]}, errDiskGone))
		err := (<-rebuild).err
		require.ErrorIs(t, err, app.ErrEnded)
		require.ErrorIs(t, err, errDiskGone)
		require.ErrorContains(t, err, "all its sources are gone")
	})
}

// The other source has failed by itself before the last one is gone.
func TestRebuildEndsWithLastSourceThatWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newMultiSource(t, memory.Fork, []memory.Flavour{memory.Fork, memory.Fork}, fieldTreeWithData)
		slowCopies(g.sources...)
		engine := app.New(nil)
		rebuild := begin(engine, g.request, time.Minute)
		inject(g.sources[1], on("").fails(ports.ErrUnavailable))
		time.Sleep(time.Minute) // of the bubble's clock
		require.Equal(t, 1, engine.EndRebuilds(app.Using{Host: g.sources[0]}, errDiskGone))
		err := (<-rebuild).err
		require.ErrorIs(t, err, app.ErrEnded)
		require.ErrorContains(t, err, "all its sources are gone")
	})
}

func TestEndRebuildsEndsWaitingJobs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newHostSet(t, memory.Fork, "source", "destination", "third", "fourth")
		engine := app.New(nil)
		queue := app.NewQueue(engine, app.Limits{PerSource: 1, PerDestination: 1})
		slowCopies(w.hosts["source"])
		submit := func(r app.Request) *app.Job {
			job, err := queue.Submit(t.Context(), r)
			require.NoError(t, err)
			return job
		}
		running, waiting := submit(w.volume("v", "source", "destination")), submit(w.volume("w", "source", "third"))
		paused, other := submit(w.volume("x", "source", "third")), submit(w.volume("y", "fourth", "destination"))
		require.NoError(t, paused.Pause())
		time.Sleep(time.Minute) // of the bubble's clock
		require.Equal(t, 3, engine.EndRebuilds(app.Using{Host: w.hosts["source"]}, errDiskGone))
		for _, job := range []*app.Job{running, waiting, paused} {
			report, err := job.Wait(t.Context())
			require.ErrorIs(t, err, app.ErrEnded)
			require.ErrorIs(t, err, errDiskGone)
			require.Equal(t, app.OutcomeFailed, report.Outcome)
			require.Equal(t, app.PhaseEnded, job.Status().Phase)
		}
		_, err := other.Wait(t.Context())
		require.NoError(t, err)
		require.NoError(t, queue.Close(t.Context()))
	})
}

// A source that is gone before its rebuild begins is never asked anything, and takes no
// place in the queue.
func TestWaitingJobBeginsWithoutGoneSource(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newMultiSource(t, memory.Fork, []memory.Flavour{memory.Fork, memory.Fork}, fieldTreeWithData)
		engine := app.New(nil)
		queue := app.NewQueue(engine, app.Limits{})
		job, err := queue.Submit(t.Context(), g.request)
		require.NoError(t, err)
		require.NoError(t, job.Pause())
		synctest.Wait()
		calls := hangFrom(g.sources[0], 1)
		require.Equal(t, 1, engine.EndRebuilds(app.Using{Host: g.sources[0]}, errDiskGone))
		began := time.Now()
		require.NoError(t, job.Resume())
		report, err := job.Wait(t.Context())
		require.NoError(t, err)
		require.Zero(t, time.Since(began))
		require.Zero(t, calls.calls())
		require.Equal(t, app.SourceLost, report.Sources[0].State)
		g.requireEqual(1)
		require.NoError(t, queue.Close(t.Context()))
	})
}

func TestLostSourceKeepsOthersInUse(t *testing.T) {
	for _, how := range []string{"ended", "no answer"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newMultiSource(t, memory.Fork, []memory.Flavour{memory.Fork, memory.Fork}, "image\n snap11 0=10\n  head")
				inject(g.sources[0], on("list").takes(1000*time.Hour))
				inject(g.sources[1], on("list").once().fails(errSocket))
				engine := app.New(nil)
				rebuild := begin(engine, g.request, 10*time.Second)
				if how == "ended" {
					require.Equal(t, 1, engine.EndRebuilds(app.Using{Host: g.sources[0]}, errDiskGone))
				}
				require.NoError(t, (<-rebuild).err)
				g.requireEqual(1)
			})
		})
	}
}

func TestEndedSourceIsNotWaitedForWhileItIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newMultiSource(t, memory.Fork, []memory.Flavour{memory.Fork, memory.Fork}, "image\n snap11 0=10\n  head 1=7")
		inject(g.sources[0], on("snapshot").fails(errLvolBusy))
		engine := app.New(nil)
		rebuild := begin(engine, g.request, 10*time.Second)
		began := time.Now()
		require.Equal(t, 1, engine.EndRebuilds(app.Using{Host: g.sources[0]}, errDiskGone))
		require.NoError(t, (<-rebuild).err)
		require.Less(t, time.Since(began), time.Minute)
	})
}

func TestEndOfOnlySourceCleansUpTheDestination(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, request := newPlainFixture(t)
		inject(b.source, on("copy").takes(10_000*time.Hour), on("release").from(2).takes(10_000*time.Hour))
		engine := app.New(nil)
		rebuild := begin(engine, request, time.Minute)
		require.Equal(t, 1, engine.EndRebuilds(app.Using{Host: b.source}, errDiskGone))
		err := (<-rebuild).err
		require.ErrorIs(t, err, app.ErrEnded)
		require.NotErrorIs(t, err, app.ErrCleanUp)
		require.Empty(t, list(t, b.destination, copyName).InFlight)
	})
}
