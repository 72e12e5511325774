package app_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// TestRebuildSurvivesLossOfEitherSource lets one of two sources die at each of the
// calls that it gets. The rebuild completes each time, without help.
func TestRebuildSurvivesLossOfEitherSource(t *testing.T) {
	t.Parallel()
	deaths := map[string]memory.Fault{
		"gone":        {Before: ports.ErrUnavailable},
		"hangs":       {Before: errNoAnswer},
		"broken":      {Before: ports.ErrInvalid},
		"half a copy": {Before: ports.ErrUnavailable, AfterClusters: 1},
	}
	runs := 0
	for _, flavours := range [][]memory.Flavour{forks, {memory.Fork, memory.Upstream}, {memory.Upstream, memory.Upstream}} {
		for death, fault := range deaths {
			if flavours[1] == memory.Upstream && death != "gone" {
				continue
			}
			for lost := range flavours {
				for _, parallel := range []int{1, 4} {
					t.Run(fmt.Sprintf("%v: source %d %s, %d at once", flavours, lost, death, parallel), func(t *testing.T) {
						step := 1
						if raceDetector {
							step = 7 // make test plays all of them without it
						}
						for at := 1; ; at += step {
							died := ""
							synctest.Test(t, func(t *testing.T) { died = loseSource(t, flavours, fault, lost, parallel, at, true) })
							if death == "gone" || death == "hangs" {
								synctest.Test(t, func(t *testing.T) {
									if loseSource(t, flavours, fault, lost, parallel, at, false) != "" {
										runs++
									}
								})
							}
							if died == "" {
								require.Greater(t, at, 3)
								return
							}
							runs++
						}
					})
				}
			}
		}
	}
	t.Logf("%d runs in which a source was lost", runs)
}

func loseSource(t *testing.T, flavours []memory.Flavour, fault memory.Fault, lost, parallel, at int, leftovers bool) (died string) {
	g := newMultiSource(t, memory.Fork, flavours, fieldTreeWithData)
	if leftovers {
		g.damage() // else not even the image is there
	}
	g.request.Parallel = parallel
	g.request.Views = at%2 == 0
	g.request.Proof = at%3 == 0
	foreign := contents(t, g.destination)["vol-10-r-4e5f6a7b"]
	survivor := contents(t, g.sources[1-lost])
	d := die(g.sources[lost], at, fault)
	var events []app.Event
	g.request.Observer = observe(func(e app.Event) {
		if e.Kind == app.EventSourceLost {
			events = append(events, e)
		}
	})
	report, err := app.New(nil).Rebuild(t.Context(), g.request)
	where := fmt.Sprintf("source %d %v at call %d, %s", lost, fault.Before, at, d.diedAt())
	require.NoError(t, err, where)
	require.Equal(t, app.OutcomeComplete, report.Outcome, where)
	g.sources[lost].Inject(nil)
	require.Empty(t, report.Violations, where)
	require.Equal(t, foreign, contents(t, g.destination)["vol-10-r-4e5f6a7b"], where)
	for name, was := range survivor {
		if name != g.builders[1-lost].replica { // its head may have been frozen
			require.Equal(t, was, contents(t, g.sources[1-lost])[name], where)
		}
	}
	if d.diedAt() == "" {
		g.requireEqual(0)
		require.Empty(t, events)
		return ""
	}
	if strings.HasPrefix(d.diedAt(), "release") && len(events) == 0 { // the very last call
		require.Contains(t, strings.Join(report.Warnings, "\n"), "may remain on the host of source")
		g.requireEqualToPrimary(report)
		return d.diedAt()
	}
	require.Len(t, events, 1, where)
	require.Contains(t, events[0].Text, "is no longer used")
	require.Contains(t, strings.Join(report.Warnings, "\n"), events[0].Text)
	require.Equal(t, app.SourceLost, report.Sources[lost].State, where)
	require.NotEmpty(t, report.Sources[lost].Reason)
	g.requireEqualToPrimary(report) // the lost one, if all was done and compared before
	return d.diedAt()
}

// When all are lost the rebuild fails, says of whom it last knew, and leaves
// nothing in flight; a later one arrives.
func TestNextRebuildFinishesAfterLossOfAll(t *testing.T) {
	for at := 1; at < 60; at++ {
		synctest.Test(t, func(t *testing.T) {
			g := newMultiSource(t, memory.Fork, forks, fieldTreeWithData)
			g.damage()
			g.request.Parallel = 1 + at%4
			die(g.sources[0], at, memory.Fault{Before: ports.ErrUnavailable})
			die(g.sources[1], 1+at/2, memory.Fault{Before: ports.ErrUnavailable})
			report, err := app.New(nil).Rebuild(t.Context(), g.request)
			for _, host := range g.sources {
				host.Inject(nil)
			}
			if err == nil {
				g.requireEqualToPrimary(report) // it was over before
				return
			}
			require.NotContains(t, err.Error(), "\n")
			for _, l := range list(t, g.destination, copyName).InFlight {
				require.Equal(t, domain.InFlightLvolName(copyName, "0badcafe"), l.Name, "%v", err)
			}
			report, err = app.New(nil).Rebuild(t.Context(), g.request)
			require.NoError(t, err)
			for _, warning := range report.Warnings {
				require.Contains(t, warning, "Longhorn's engine", "the head is frozen where it was not before")
			}
			g.requireEqual(0)
		})
	}
}

// What the old source may
// still write goes nowhere, and only that copy is made again.
func TestFailedCopyRestartsInNewLvol(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newMultiSource(t, memory.Fork, forks, wide(6, 4))
		makeImage(t, g.destination, 4)
		served := copies(g.sources[0], time.Second)
		var mu sync.Mutex
		received, withdrawn := make(map[string][]string), make(map[string]bool)
		locked := func(do func(memory.Call)) func(memory.Call) {
			return func(c memory.Call) {
				mu.Lock()
				defer mu.Unlock()
				do(c)
			}
		}
		inject(g.destination,
			on("receive").doesTo(locked(func(c memory.Call) { received[c.Name] = append(received[c.Name], c.UUID) })),
			on("withdraw").doesTo(locked(func(c memory.Call) { withdrawn[c.UUID] = true })),
			on("delete").doesTo(locked(func(c memory.Call) {
				if c.UUID != "" && !withdrawn[c.UUID] {
					t.Errorf("%s is deleted while it is received into", c.Name)
				}
			})))
		second := on("copy").gets(memory.Fault{Before: errNoAnswer, AfterClusters: 2, Delay: time.Second})
		inject(g.sources[1], second)
		var planned int
		g.request.Observer = observe(func(e app.Event) {
			if e.Kind == app.EventPlanned {
				planned++
			}
		})
		report, err := app.New(nil).Rebuild(t.Context(), g.request)
		require.NoError(t, err)
		g.requireEqual(0)
		require.Equal(t, 1, planned, "nothing is planned again")
		require.NotEmpty(t, second.bySnapshot())
		require.LessOrEqual(t, len(second.bySnapshot()), app.DefaultParallel, "it is not asked any more")
		for name, times := range served.bySnapshot() {
			require.Equal(t, 1, times, name)
		}
		require.Len(t, served.bySnapshot(), 7, "the other has served all")
		for name, uuids := range received {
			require.Len(t, uuids, 1, "%s is received into once", name)
		}
		require.Empty(t, report.Sources[1].Snapshots)
		require.EqualValues(t, 25*cluster, report.Sources[0].CopiedBytes)
	})
}

// What a second source has served counts as sealed from the primary, and from
// each source that has the same: with full rebuild, too, nothing is copied twice
// when the plan is made again from another one.
func TestSharedCopiesSurviveLossOfPrimary(t *testing.T) {
	for _, destination := range []memory.Flavour{memory.Fork, memory.Upstream} {
		synctest.Test(t, func(t *testing.T) {
			g := newMultiSource(t, destination, forks, wide(6, 4))
			makeImage(t, g.destination, 4)
			g.request.Options.Full = true
			for _, host := range g.sources[1:] {
				slowDisk(host)
			}
			dead := on("list").where(func(c memory.Call) bool { return c.N > 2 }) // when all is sealed, and it is looked at
			inject(g.sources[0], dead, on("").after(dead).fails(ports.ErrUnavailable), on("copy").takes(time.Second))
			report, err := app.New(nil).Rebuild(t.Context(), g.request)
			require.NoError(t, err)
			require.Positive(t, dead.calls())
			g.requireEqual(1)
			require.EqualValues(t, 25*cluster, report.CopiedBytes)
			require.NotEmpty(t, report.Sources[0].Snapshots)
			require.NotEmpty(t, report.Sources[1].Snapshots)
			require.Equal(t, "vol-1-r-00000012", report.Source.Name)
		})
	}
}

// A copy that hangs on a source ends when another one has found that the source
// does not work.
func TestLostSourceEndsItsCopies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newMultiSource(t, memory.Fork, forks, wide(6, 4))
		makeImage(t, g.destination, 4)
		copies(g.sources[0], time.Second)
		later := on("copy").from(2).gets(memory.Fault{Before: errNoAnswer, Delay: time.Second})
		inject(g.sources[1], on("copy").once().takes(time.Hour), later)
		began := time.Now()
		_, err := app.New(nil).Rebuild(t.Context(), g.request)
		require.NoError(t, err)
		require.Greater(t, later.calls(), 1)
		require.Less(t, time.Since(began), time.Minute)
		g.requireEqual(0)
	})
}

// Copies that are whole outlive both their source and the primary, if a third one
// has the same: they are sealed, and not made again.
func TestWholeCopiesOutliveTheirSources(t *testing.T) {
	const n = 6
	// Nothing can be sealed before the root, which takes longest.
	const tree = `
clusters 16
image
  root 0=1 1=2 2=3 3=4 4=5 5=6 6=7 7=8 8=9 9=10
    s00 0=0
      head
    s01 1=1
    s02 2=2
    s03 3=3
    s04 4=4
    s05 5=5
`
	synctest.Test(t, func(t *testing.T) {
		g := newMultiSource(t, memory.Fork, []memory.Flavour{memory.Fork, memory.Fork, memory.Fork}, tree)
		makeImage(t, g.destination, 4)
		for i, host := range g.sources {
			dead := time.Now().Add(10 * time.Second)
			inject(host,
				on("").where(func(memory.Call) bool { return i < 2 && !time.Now().Before(dead) }).fails(errNoAnswer),
				on("copy").of("root").takes(20*time.Second), on("copy").takes(time.Second))
		}
		planned := 0
		g.request.Observer = observe(func(e app.Event) {
			if e.Kind == app.EventPlanned {
				planned++
			}
		})
		report, err := app.New(nil).Rebuild(t.Context(), g.request)
		require.NoError(t, err)
		require.Equal(t, 2, planned, "the second one compares with the third source: %v", report.Warnings)
		require.EqualValues(t, (10+n)*cluster, report.CopiedBytes)
		require.NotEmpty(t, slices.Concat(report.Sources[0].Snapshots, report.Sources[1].Snapshots))
		require.Equal(t, app.SourcePrimary, report.Sources[2].State)
		g.requireEqual(2)
	})
}

// Who has refused one copy is asked nothing more, but to close what was opened.
func TestLostPrimaryIsNotCalledAgain(t *testing.T) {
	g := newMultiSource(t, memory.Fork, forks, wide(6, 4))
	makeImage(t, g.destination, 4)
	g.request.Parallel = 1
	var lost atomic.Bool
	later := make(map[string]int)
	inject(g.sources[0],
		on("").where(func(memory.Call) bool { return lost.Load() }).doesTo(func(c memory.Call) { later[c.Method]++ }),
		on("copy").of("s03").fails(ports.ErrInvalid))
	g.request.Observer = observe(func(e app.Event) {
		if e.Kind == app.EventSourceLost {
			lost.Store(true)
		}
	})
	report, err := app.New(nil).Rebuild(t.Context(), g.request)
	require.NoError(t, err)
	require.True(t, lost.Load())
	require.Equal(t, map[string]int{"release": 1}, later)
	require.Equal(t, []app.SourceState{app.SourceLost, app.SourcePrimary}, []app.SourceState{report.Sources[0].State, report.Sources[1].State})
	require.EqualValues(t, 25*cluster, report.CopiedBytes)
	g.requireEqual(1)
}

// What the destination does wrong is no source's fault.
func TestDeadDestinationBlamesNoSource(t *testing.T) {
	for _, fault := range []memory.Fault{{Before: ports.ErrUnavailable}, {Before: errNoAnswer}} {
		for at := 1; at < 60; at += 3 {
			synctest.Test(t, func(t *testing.T) {
				g := newMultiSource(t, memory.Fork, forks, fieldTreeWithData)
				g.damage()
				d := die(g.destination, at, fault)
				g.request.Observer = observe(func(e app.Event) { require.NotEqual(t, app.EventSourceLost, e.Kind) })
				// What is sent to it goes nowhere.
				for _, host := range g.sources {
					inject(host, on("copy").where(func(memory.Call) bool { return d.diedAt() != "" }).gets(fault), on("copy").takes(time.Millisecond))
				}
				report, err := app.New(nil).Rebuild(t.Context(), g.request)
				if d.diedAt() == "" {
					require.NoError(t, err)
					return
				}
				require.ErrorIs(t, err, ports.ErrUnavailable, "%s", d.diedAt())
				require.NotContains(t, strings.Join(report.Warnings, "\n"), "no longer used")
			})
		}
	}
}

// A copy that fails because the destination is gone is no source's failure.
func TestCopyToDeadDestinationBlamesNoSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newMultiSource(t, memory.Fork, forks, wide(6, 4))
		makeImage(t, g.destination, 4)
		g.request.Parallel = 1
		copies := on("copy").fails(errNoAnswer)
		inject(g.sources[0], copies)
		inject(g.destination, on("").after(copies).fails(ports.ErrUnavailable))
		g.request.Observer = observe(func(e app.Event) { require.NotEqual(t, app.EventSourceLost, e.Kind) })
		_, err := app.New(nil).Rebuild(t.Context(), g.request)
		require.ErrorIs(t, err, ports.ErrUnavailable)
	})
}
