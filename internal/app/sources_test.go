package app_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
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

// grove is a volume with several replicas, all alike, and a host that one is
// rebuilt on.
type grove struct {
	t           tester
	sources     []*memory.Host
	plants      []*plant
	destination *memory.Host
	request     app.Request
}

// nthSource is what the source of that index is called.
func nthSource(i int) string { return fmt.Sprintf("vol-1-r-%08d", 11+i) }

// grow makes it. The flavours are those of the sources; plant draws one replica.
func growGrove(t tester, destination memory.Flavour, sources []memory.Flavour, plant func(p *plant)) *grove {
	t.Helper()
	fabric := memory.NewFabric()
	g := &grove{t: t}
	for i, flavour := range sources {
		host := fabric.NewHost(memory.Config{Name: fmt.Sprint("disk-", i+1), ClusterSize: cluster, Seed: 1, Flavour: flavour})
		p := newPlant(t, host, nthSource(i), growImage(t, host, 4))
		plant(p)
		g.sources, g.plants = append(g.sources, host), append(g.plants, p)
	}
	g.destination = fabric.NewHost(memory.Config{Name: "disk-9", ClusterSize: cluster, Seed: 1, Flavour: destination})
	g.request = app.Request{Destination: app.Site{Host: g.destination, Replica: copyName}}
	for i := range sources {
		site := app.Site{Host: g.sources[i], Replica: g.plants[i].replica}
		if i == 0 {
			g.request.Source = site
		} else {
			g.request.MoreSources = append(g.request.MoreSources, site)
		}
	}
	return g
}

// requireEqual compares the rebuilt replica with one of the sources.
func (g *grove) requireEqual(source int) {
	g.t.Helper()
	requireEqualViews(g.t, &bench{t: g.t, source: g.sources[source], destination: g.destination}, g.plants[source].replica, copyName, true)
}

// requireEqualToPrimary compares it with the source that was the last plan's.
func (g *grove) requireEqualToPrimary(report app.Report) {
	g.t.Helper()
	for i, p := range g.plants {
		if p.replica == report.Source.Name {
			g.requireEqual(i)
			return
		}
	}
	require.Fail(g.t, "there is no such source", report.Source.Name)
}

// fieldTreeWithData is the branching tree with data in the head.
func fieldTreeWithData(p *plant) {
	p.growTree(fieldTree, 8, 10)
	p.write(list(p.t, p.host, p.replica).Head.UUID, 7, 99)
}

// wide is a tree of n snapshots of that many clusters, all under one ancestor.
func wide(n, clusters int) func(p *plant) {
	return func(p *plant) {
		p.snapshot("root", p.image, clusters, map[int]byte{0: 1}, minute(0))
		for i := range n {
			own := make(map[int]byte)
			for at := range clusters {
				own[at] = byte(i + at)
			}
			p.snapshot(fmt.Sprintf("s%02d", i), p.uuids["root"], clusters, own, minute(i+1))
		}
		p.writable(p.replica, p.uuids["s00"], clusters)
	}
}

// copies counts the copies that a host serves, by snapshot, and makes each take a
// while.
func copies(host *memory.Host, takes time.Duration) func() map[string]int {
	var mu sync.Mutex
	counts := make(map[string]int)
	host.Inject(func(c memory.Call) memory.Fault {
		if c.Method != "copy" {
			return memory.Fault{}
		}
		mu.Lock()
		defer mu.Unlock()
		_, name, _ := strings.Cut(c.Name, "-snap-")
		counts[name]++
		return memory.Fault{Delay: takes}
	})
	return func() map[string]int {
		mu.Lock()
		defer mu.Unlock()
		return counts
	}
}

var forks = []memory.Flavour{memory.Fork, memory.Fork}

// longhorn/longhorn#11331: one source only, however many healthy replicas there
// are.
func TestField_11331_HealthyReplicasShareTheCopies(t *testing.T) {
	const n, clusters = 12, 8
	took := make(map[int]time.Duration)
	for _, sources := range []int{1, 2, 3} {
		synctest.Test(t, func(t *testing.T) {
			g := growGrove(t, memory.Fork, []memory.Flavour{memory.Fork, memory.Fork, memory.Fork}[:sources], wide(n, clusters))
			growImage(t, g.destination, 4)
			for _, host := range g.sources {
				slowDisk(host)
			}
			began := time.Now()
			report, err := app.New(nil).Rebuild(t.Context(), g.request)
			require.NoError(t, err)
			took[sources] = time.Since(began)
			g.requireEqual(0)
			require.EqualValues(t, (n*clusters+1)*cluster, report.CopiedBytes)
			if sources == 1 {
				require.Empty(t, report.Sources)
				return
			}
			var told uint64
			all := make(map[string]int)
			require.Len(t, report.Sources, sources)
			for i, s := range report.Sources {
				require.Equal(t, map[bool]app.SourceState{true: app.SourcePrimary, false: app.SourceSecondary}[i == 0], s.State)
				require.Equal(t, g.plants[i].replica, s.Replica)
				require.Equal(t, g.sources[i].Sent(), s.CopiedBytes, "what is told is what was sent")
				require.GreaterOrEqual(t, len(s.Snapshots), n/sources-1, "source %d does its part", i)
				told += s.CopiedBytes
				for _, name := range s.Snapshots {
					all[name]++
				}
			}
			require.Equal(t, report.CopiedBytes, told)
			require.Len(t, all, n+1)
			for name, times := range all {
				require.Equal(t, 1, times, name)
			}
			require.Empty(t, report.Warnings)
		})
	}
	require.Less(t, took[2], took[1]*6/10, "%v", took)
	require.Less(t, took[3], took[1]*5/10, "%v", took)
}

// slowDisk lets a host serve one copy at a time, a second each.
func slowDisk(host *memory.Host) {
	disk := make(chan struct{}, 1)
	host.Inject(func(c memory.Call) memory.Fault {
		if c.Method == "copy" {
			disk <- struct{}{}
			time.Sleep(time.Second)
			<-disk
		}
		return memory.Fault{}
	})
}

// dying is a host that dies at its n-th call from now on, or at that of one
// method, and stays dead.
type dying struct {
	mu    sync.Mutex
	calls int
	at    int
	fault memory.Fault
	what  string // the call that it died at; "": it lives
}

func die(host *memory.Host, at int, fault memory.Fault) *dying {
	d := &dying{at: at, fault: fault}
	host.Inject(func(c memory.Call) memory.Fault {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.calls++
		if d.calls < d.at {
			if c.Method == "copy" {
				return memory.Fault{Delay: time.Millisecond}
			}
			return memory.Fault{}
		}
		if d.what == "" {
			d.what = c.Method + " " + c.Name
			return d.fault
		}
		return memory.Fault{Before: d.fault.Before}
	})
	return d
}

// damage leaves a damaged replica on the destination, and somebody else's.
func (g *grove) damage() {
	image := growImage(g.t, g.destination, 4)
	left := newPlant(g.t, g.destination, copyName, image)
	left.snapshot("snap11", "", 8, map[int]byte{0: 10}, minute(0))
	left.snapshot("snap12", left.uuids["snap11"], 8, map[int]byte{1: 251}, minute(1))
	left.snapshot("snap14", left.uuids["snap12"], 8, map[int]byte{3: 252}, minute(3))
	left.writable(domain.InFlightLvolName(copyName, "0badcafe"), left.uuids["snap14"], 8)
	left.writable(copyName, left.uuids["snap14"], 8)
	other := newPlant(g.t, g.destination, "vol-10-r-4e5f6a7b", image)
	other.snapshot("s0", image, 8, map[int]byte{0: 77}, minute(0))
	other.writable("vol-10-r-4e5f6a7b", other.uuids["s0"], 8)
}

// TestEitherSourceMayBeLostAtAnyMoment lets one of two sources die at each of the
// calls that it gets. The rebuild completes each time, without help.
func TestEitherSourceMayBeLostAtAnyMoment(t *testing.T) {
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
	g := growGrove(t, memory.Fork, flavours, fieldTreeWithData)
	if leftovers {
		g.damage() // else not even the image is there
	}
	g.request.Parallel = parallel
	g.request.Views = at%2 == 0
	g.request.Proof = at%3 == 0
	foreign := photograph(t, g.destination)["vol-10-r-4e5f6a7b"]
	survivor := photograph(t, g.sources[1-lost])
	d := die(g.sources[lost], at, fault)
	var events []app.Event
	g.request.Observer = observe(func(e app.Event) {
		if e.Kind == app.EventSourceLost {
			events = append(events, e)
		}
	})
	report, err := app.New(nil).Rebuild(t.Context(), g.request)
	where := fmt.Sprintf("source %d %v at call %d, %s", lost, fault.Before, at, d.what)
	require.NoError(t, err, where)
	require.Equal(t, app.OutcomeComplete, report.Outcome, where)
	g.sources[lost].Inject(nil)
	require.Empty(t, report.Violations, where)
	require.Equal(t, foreign, photograph(t, g.destination)["vol-10-r-4e5f6a7b"], where)
	for name, was := range survivor {
		if name != g.plants[1-lost].replica { // its head may have been frozen
			require.Equal(t, was, photograph(t, g.sources[1-lost])[name], where)
		}
	}
	if d.what == "" {
		g.requireEqual(0)
		require.Empty(t, events)
		return ""
	}
	if strings.HasPrefix(d.what, "release") && len(events) == 0 { // the very last call
		require.Contains(t, strings.Join(report.Warnings, "\n"), "may be left there")
		g.requireEqualToPrimary(report)
		return d.what
	}
	require.Len(t, events, 1, where)
	require.Contains(t, events[0].Text, "is not used any more")
	require.Contains(t, strings.Join(report.Warnings, "\n"), events[0].Text)
	require.Equal(t, app.SourceLost, report.Sources[lost].State, where)
	require.NotEmpty(t, report.Sources[lost].Reason)
	g.requireEqualToPrimary(report) // the lost one, if all was done and compared before
	return d.what
}

// When all are lost the rebuild fails, says of whom it last knew, and leaves
// nothing in flight; a later one arrives.
func TestWhenAllSourcesAreLostALaterRebuildArrives(t *testing.T) {
	for at := 1; at < 60; at++ {
		synctest.Test(t, func(t *testing.T) {
			g := growGrove(t, memory.Fork, forks, fieldTreeWithData)
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

func TestAHurtSourceIsNotUsedWhileAHealthyOneIsThere(t *testing.T) {
	for _, hurt := range []int{0, 1} {
		g := growGrove(t, memory.Fork, forks, fieldTreeWithData)
		growImage(t, g.destination, 4)
		require.NoError(t, g.sources[hurt].Graft(t.Context(), g.plants[hurt].uuids["snap11"], ""))
		g.request.Options.AcceptHurtSource = true // even then
		served := copies(g.sources[hurt], 0)
		before := photograph(t, g.sources[hurt])
		report, err := app.New(nil).Rebuild(t.Context(), g.request)
		require.NoError(t, err)
		require.Empty(t, served())
		require.Equal(t, before, photograph(t, g.sources[hurt]), "not even its head is frozen")
		require.Equal(t, app.SourcePassedOver, report.Sources[hurt].State)
		require.Contains(t, strings.Join(report.Warnings, "\n"), "lost backing image base")
		g.requireEqual(1 - hurt)
	}
	// Rule 15 decides on what is hurt alone.
	g := growGrove(t, memory.Fork, forks, fieldTreeWithData)
	for i, p := range g.plants {
		require.NoError(t, g.sources[i].Graft(t.Context(), p.uuids["snap11"], ""))
	}
	growImage(t, g.destination, 4)
	g.request.Image = domain.ImageNamed(imageName)
	_, err := app.New(nil).Rebuild(t.Context(), g.request)
	require.ErrorIs(t, err, app.ErrRefused)
	require.ErrorContains(t, err, "accept a hurt source")
	g.request.Options.AcceptHurtSource = true
	report, err := app.New(nil).Rebuild(t.Context(), g.request)
	require.NoError(t, err)
	require.Equal(t, []app.SourceState{app.SourcePrimary, app.SourcePassedOver}, []app.SourceState{report.Sources[0].State, report.Sources[1].State})
}

func TestASourceThatIsNotWholeIsPassedOver(t *testing.T) {
	for what, spoil := range map[string]struct {
		do  func(g *grove)
		say string
	}{
		"it has no head":       {func(g *grove) { g.deleteHead(0) }, "has no head"},
		"it is not there":      {func(g *grove) { g.request.Source.Replica = "vol-1-r-00000077" }, "there is no replica vol-1-r-00000077"},
		"it hangs in pieces":   {func(g *grove) { g.graft(0, "snap31", g.plants[0].image) }, "two ancestors"},
		"its host is silent":   {func(g *grove) { die(g.sources[0], 1, memory.Fault{Before: errNoAnswer}) }, "list the host of replica vol-1-r-00000011"},
		"its host is no store": {func(g *grove) { die(g.sources[0], 1, memory.Fault{Before: ports.ErrInvalid}) }, "list the host of replica vol-1-r-00000011"},
	} {
		t.Run(what, func(t *testing.T) {
			g := growGrove(t, memory.Fork, forks, fieldTreeWithData)
			growImage(t, g.destination, 4)
			spoil.do(g)
			plan, err := app.New(nil).Plan(t.Context(), g.request)
			require.NoError(t, err)
			require.Contains(t, strings.Join(plan.Warnings, "\n"), spoil.say)
			report, err := app.New(nil).Rebuild(t.Context(), g.request)
			require.NoError(t, err)
			require.Contains(t, strings.Join(report.Warnings, "\n"), spoil.say)
			require.Contains(t, report.Sources[0].Reason, spoil.say)
			require.Equal(t, app.SourcePrimary, report.Sources[1].State)
			g.requireEqual(1)
		})
	}
}

func (g *grove) deleteHead(source int) {
	head := list(g.t, g.sources[source], g.plants[source].replica).Head
	require.NoError(g.t, g.sources[source].Delete(context.Background(), head.UUID))
}

func (g *grove) graft(source int, snapshot, onto string) {
	require.NoError(g.t, g.sources[source].Graft(context.Background(), g.plants[source].uuids[snapshot], onto))
}

func TestOfSourcesThatCannotBeUsedEachErrorIsTold(t *testing.T) {
	g := growGrove(t, memory.Fork, forks, fieldTreeWithData)
	g.deleteHead(0)
	g.request.MoreSources[0].Replica = "vol-1-r-00000077"
	_, err := app.New(nil).Rebuild(t.Context(), g.request)
	require.ErrorIs(t, err, app.ErrRefused)
	require.ErrorContains(t, err, "none of the 2 sources can be used: replica vol-1-r-00000011 on lvstore disk-1 has no head")
	require.ErrorContains(t, err, "there is no replica vol-1-r-00000077 on lvstore disk-2")
	require.NotContains(t, err.Error(), "\n")

	synctest.Test(t, func(t *testing.T) {
		g := growGrove(t, memory.Fork, forks, fieldTreeWithData)
		g.deleteHead(0)
		die(g.sources[1], 1, memory.Fault{Before: ports.ErrUnavailable})
		report, err := app.New(nil).Rebuild(t.Context(), g.request)
		require.ErrorIs(t, err, ports.ErrUnavailable)
		require.NotErrorIs(t, err, app.ErrRefused)
		require.Equal(t, app.OutcomeFailed, report.Outcome)
		require.ErrorContains(t, err, "has no head")
		require.ErrorContains(t, err, "list the host of replica vol-1-r-00000012")
		require.NotContains(t, err.Error(), "\n")
	})
}

func TestAReplicaIsNoSourceOfItselfNorASourceTwice(t *testing.T) {
	g := growGrove(t, memory.Fork, forks, fieldTreeWithData)
	g.request.MoreSources = append(g.request.MoreSources, g.request.Source)
	_, err := app.New(nil).Rebuild(t.Context(), g.request)
	require.ErrorIs(t, err, app.ErrRefused)
	require.ErrorContains(t, err, "given as a source twice")

	g = growGrove(t, memory.Fork, forks, fieldTreeWithData)
	g.request.Destination = g.request.MoreSources[0]
	_, err = app.New(nil).Rebuild(t.Context(), g.request)
	require.ErrorIs(t, err, app.ErrRefused)
	require.ErrorContains(t, err, "source and destination at once")

	g.request.MoreSources[0].Host = nil
	_, err = app.New(nil).Rebuild(t.Context(), g.request)
	require.ErrorIs(t, err, app.ErrRefused)
}

// TestWhatDiffersInASecondSourceComesFromThePrimary, byte for byte, and what is
// the same is shared out all the same.
func TestWhatDiffersInASecondSourceComesFromThePrimary(t *testing.T) {
	const clusters = 8
	own := func(i int) map[int]byte { return map[int]byte{i: byte(10 + i), i + 1: byte(20 + i)} }
	tree := func(change func(name string, own map[int]byte) (map[int]byte, domain.Attributes)) func(p *plant) {
		return func(p *plant) {
			parent := p.image
			for i := range 5 {
				name, now, attributes := fmt.Sprint("s", i), own(i), minute(i)
				if change != nil && p.replica != nthSource(0) {
					if now, attributes = change(name, now); attributes == (domain.Attributes{}) {
						attributes = minute(i)
					}
				}
				parent = p.snapshot(name, parent, clusters, now, attributes)
			}
			p.writable(p.replica, parent, clusters)
		}
	}
	for what, c := range map[string]struct {
		change func(name string, own map[int]byte) (map[int]byte, domain.Attributes)
		spoil  func(g *grove)
		say    string
	}{
		"other data": {func(name string, own map[int]byte) (map[int]byte, domain.Attributes) {
			if name == "s2" {
				own[2] = 0xEE
			}
			return own, domain.Attributes{}
		}, nil, "snapshot s2 has other data"},
		"the same bytes at another position": {func(name string, own map[int]byte) (map[int]byte, domain.Attributes) {
			if name == "s2" {
				return map[int]byte{5: own[2], 6: own[3]}, domain.Attributes{}
			}
			return own, domain.Attributes{}
		}, nil, "snapshot s2 has other data"},
		"two clusters swapped, and so the positions": {func(name string, own map[int]byte) (map[int]byte, domain.Attributes) {
			if name == "s2" {
				own[2], own[3] = own[3], own[2]
			}
			return own, domain.Attributes{}
		}, nil, "snapshot s2 has other data"},
		"outdated: a cluster less": {func(name string, own map[int]byte) (map[int]byte, domain.Attributes) {
			if name == "s2" {
				delete(own, 3)
			}
			return own, domain.Attributes{}
		}, nil, "snapshot s2 has 1 clusters of its own instead of 2"},
		"another time": {func(name string, own map[int]byte) (map[int]byte, domain.Attributes) {
			if name == "s2" {
				return own, minute(50)
			}
			return own, domain.Attributes{}
		}, nil, "snapshot s2 records another time"},
		"merged": {nil, func(g *grove) {
			require.NoError(g.t, g.sources[1].DeleteMerging(g.plants[1].uuids["s1"]))
		}, "snapshot s2 hangs on s0"},
		"on another parent": {nil, func(g *grove) { g.graft(1, "s2", g.plants[1].uuids["s0"]) }, "snapshot s2 hangs on s0"},
	} {
		t.Run(what, func(t *testing.T) {
			g := growGrove(t, memory.Fork, forks, tree(c.change))
			growImage(t, g.destination, 4)
			if c.spoil != nil {
				c.spoil(g)
			}
			// The primary takes its time, so the second one gets all that it may serve.
			served := copies(g.sources[1], 0)
			var mu sync.Mutex
			left := 0
			g.sources[0].Inject(func(call memory.Call) memory.Fault {
				if call.Method != "copy" {
					return memory.Fault{}
				}
				mu.Lock()
				left++
				mu.Unlock()
				return memory.Fault{Delay: 20 * time.Millisecond}
			})
			report, err := app.New(nil).Rebuild(t.Context(), g.request)
			require.NoError(t, err)
			g.requireEqual(0)
			require.NotContains(t, served(), "s2")
			require.NotEmpty(t, served(), "what is the same is shared")
			require.Contains(t, strings.Join(report.Warnings, "\n"), c.say)
			require.Equal(t, app.SourceSecondary, report.Sources[1].State)
		})
	}
}

// Where one of the hosts tells no checksums nothing is proven, so nothing is
// shared: also where that is the primary's.
func TestNothingIsSharedThatCannotBeProven(t *testing.T) {
	for _, flavours := range [][]memory.Flavour{{memory.Fork, memory.Upstream}, {memory.Upstream, memory.Fork}, {memory.Upstream, memory.Upstream}} {
		g := growGrove(t, memory.Fork, flavours, wide(6, 4))
		growImage(t, g.destination, 4)
		served := copies(g.sources[1], 0)
		report, err := app.New(nil).Rebuild(t.Context(), g.request)
		require.NoError(t, err)
		g.requireEqual(0)
		require.Empty(t, served())
		require.Contains(t, strings.Join(report.Warnings, "\n"), "tells no checksums")
	}
}

// The destination need not be able to prove anything for sources to share.
func TestSourcesShareForADestinationThatProvesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := growGrove(t, memory.Upstream, forks, wide(6, 4))
		for _, host := range g.sources {
			slowDisk(host)
		}
		report, err := app.New(nil).Rebuild(t.Context(), g.request)
		require.NoError(t, err)
		g.requireEqual(0)
		require.NotEmpty(t, report.Sources[0].Snapshots)
		require.NotEmpty(t, report.Sources[1].Snapshots)
	})
}

// TestTheImageIsSharedOutToo, and a source that fails in it is replaced.
func TestTheImageIsSharedOutToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := growGrove(t, memory.Fork, forks, fieldTreeWithData)
		g.request.Parallel = 1
		destination := &watched{Host: g.destination}
		g.request.Destination.Host = destination
		var once sync.Once
		g.sources[0].Inject(func(c memory.Call) (f memory.Fault) {
			if c.Method == "copy" && strings.HasPrefix(c.Name, "bi-") {
				once.Do(func() { f = memory.Fault{Before: ports.ErrInvalid, AfterClusters: 2} })
			}
			return f
		})
		report, err := app.New(nil).Rebuild(t.Context(), g.request)
		require.NoError(t, err)
		g.requireEqual(1)
		require.Equal(t, app.SourceLost, report.Sources[0].State)
		require.Contains(t, report.Sources[1].Snapshots, "", "the image")
		images := slices.DeleteFunc(destination.claimed, func(name string) bool { return !strings.HasPrefix(name, "image ") })
		require.Len(t, images, 4, "the lvol that it is copied into anew is claimed, too, and what it is proven as")
		require.Len(t, slices.Compact(slices.Sorted(slices.Values(images))), 4)
		store, err := g.destination.List(t.Context())
		require.NoError(t, err)
		for _, l := range store.Lvols {
			require.False(t, domain.IsImageInFlight(l.Name), l.Name)
		}
	})
}

// TestACopyThatASourceFailsInBeginsAnewInAnotherLvol: what the old source may
// still write goes nowhere, and only that copy is made again.
func TestACopyThatASourceFailsInBeginsAnewInAnotherLvol(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := growGrove(t, memory.Fork, forks, wide(6, 4))
		growImage(t, g.destination, 4)
		served := []func() map[string]int{copies(g.sources[0], time.Second), nil}
		second := make(map[string]int)
		var mu sync.Mutex
		received, withdrawn := make(map[string][]string), make(map[string]bool)
		g.destination.Inject(func(c memory.Call) memory.Fault {
			mu.Lock()
			defer mu.Unlock()
			switch c.Method {
			case "receive":
				received[c.Name] = append(received[c.Name], c.UUID)
			case "withdraw":
				withdrawn[c.UUID] = true
			case "delete":
				if c.UUID != "" && !withdrawn[c.UUID] {
					t.Errorf("%s is deleted while it is received into", c.Name)
				}
			}
			return memory.Fault{}
		})
		g.sources[1].Inject(func(c memory.Call) memory.Fault {
			if c.Method != "copy" {
				return memory.Fault{}
			}
			mu.Lock()
			defer mu.Unlock()
			second[c.Name]++
			return memory.Fault{Before: errNoAnswer, AfterClusters: 2, Delay: time.Second}
		})
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
		require.NotEmpty(t, second)
		require.LessOrEqual(t, len(second), app.DefaultParallel, "it is not asked any more")
		for name, times := range served[0]() {
			require.Equal(t, 1, times, name)
		}
		require.Len(t, served[0](), 7, "the other has served all")
		for name, uuids := range received {
			require.Len(t, uuids, 1, "%s is received into once", name)
		}
		require.Empty(t, report.Sources[1].Snapshots)
		require.EqualValues(t, 25*cluster, report.Sources[0].CopiedBytes)
	})
}

// Rule 14 for who has really served: its snapshot merges while it is copied, or
// before the copy is sealed.
func TestASecondSourceThatMergesUnderACopyIsFoundOut(t *testing.T) {
	for _, when := range []string{"copy", "withdraw", "graft", "look"} {
		t.Run(when, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := growGrove(t, memory.Fork, forks, chain(6))
				growImage(t, g.destination, 4)
				var mu sync.Mutex
				began := make(map[string]bool) // copies that the second one serves
				found := false                 // one of them grew before it was sealed
				merging := make(chan struct{}, 1)
				merge := func() {
					select { // looking at the destination asks for a merge, too
					case merging <- struct{}{}:
						defer func() { <-merging }()
					default:
						return
					}
					for below, grows := range map[string]string{"s2": "s3", "s4": "s5"} {
						uuid := g.plants[1].uuids[below]
						if uuid == "" || g.sources[1].DeleteMerging(uuid) != nil { // it is being copied
							continue
						}
						delete(g.plants[1].uuids, below)
						_, sealed := list(t, g.destination, copyName).Snapshot(grows)
						mu.Lock()
						found = found || began[grows] && !sealed
						mu.Unlock()
					}
				}
				g.sources[1].Inject(func(c memory.Call) memory.Fault {
					mu.Lock()
					copied := len(began) > 0
					mu.Unlock()
					if c.Method == "copy" {
						mu.Lock()
						_, name, _ := strings.Cut(c.Name, "-snap-")
						began[name] = true
						mu.Unlock()
						if when == "copy" {
							go func() { time.Sleep(time.Second / 2); merge() }()
						}
						return memory.Fault{Delay: time.Second}
					}
					if when == "look" && copied && c.Method == "look" {
						merge()
					}
					return memory.Fault{}
				})
				copies(g.sources[0], 2*time.Second)
				g.destination.Inject(func(c memory.Call) memory.Fault {
					mu.Lock()
					copied := len(began) > 0
					mu.Unlock()
					if copied && c.Method == when {
						merge()
					}
					return memory.Fault{}
				})
				report, err := app.New(nil).Rebuild(t.Context(), g.request)
				require.NoError(t, err)
				require.NotEmpty(t, began)
				g.requireEqual(0)
				require.Empty(t, report.Violations)
				if found {
					require.Equal(t, app.SourceLost, report.Sources[1].State)
					require.Regexp(t, "clusters of its own now|not found", report.Sources[1].Reason)
				}
				t.Log("a copy that it served grew before it was sealed:", found)
			})
		})
	}
}

// What a second source has served counts as sealed from the primary, and from
// each source that has the same: with full rebuild, too, nothing is copied twice
// when the plan is made again from another one.
func TestWhatWasSharedIsNotCopiedAgainWhenThePrimaryIsLost(t *testing.T) {
	for _, destination := range []memory.Flavour{memory.Fork, memory.Upstream} {
		synctest.Test(t, func(t *testing.T) {
			g := growGrove(t, destination, forks, wide(6, 4))
			growImage(t, g.destination, 4)
			g.request.Options.Full = true
			for _, host := range g.sources[1:] {
				slowDisk(host)
			}
			var mu sync.Mutex
			dead := false
			g.sources[0].Inject(func(c memory.Call) memory.Fault {
				mu.Lock()
				defer mu.Unlock()
				if dead || c.Method == "list" && c.N > 2 {
					dead = true // when all is sealed, and it is looked at
					return memory.Fault{Before: ports.ErrUnavailable}
				}
				if c.Method == "copy" {
					return memory.Fault{Delay: time.Second}
				}
				return memory.Fault{}
			})
			report, err := app.New(nil).Rebuild(t.Context(), g.request)
			require.NoError(t, err)
			require.True(t, dead)
			g.requireEqual(1)
			require.EqualValues(t, 25*cluster, report.CopiedBytes)
			require.NotEmpty(t, report.Sources[0].Snapshots)
			require.NotEmpty(t, report.Sources[1].Snapshots)
			require.Equal(t, "vol-1-r-00000012", report.Source.Name)
		})
	}
}

// What the destination does wrong is no source's fault.
func TestWhenTheDestinationDiesNoSourceIsBlamed(t *testing.T) {
	for _, fault := range []memory.Fault{{Before: ports.ErrUnavailable}, {Before: errNoAnswer}} {
		for at := 1; at < 60; at += 3 {
			synctest.Test(t, func(t *testing.T) {
				g := growGrove(t, memory.Fork, forks, fieldTreeWithData)
				g.damage()
				d := die(g.destination, at, fault)
				g.request.Observer = observe(func(e app.Event) { require.NotEqual(t, app.EventSourceLost, e.Kind) })
				// What is sent to it goes nowhere.
				for _, host := range g.sources {
					host.Inject(func(c memory.Call) memory.Fault {
						d.mu.Lock()
						defer d.mu.Unlock()
						if c.Method == "copy" && d.what != "" {
							return fault
						}
						return memory.Fault{Delay: map[bool]time.Duration{true: time.Millisecond}[c.Method == "copy"]}
					})
				}
				report, err := app.New(nil).Rebuild(t.Context(), g.request)
				if d.what == "" {
					require.NoError(t, err)
					return
				}
				require.ErrorIs(t, err, ports.ErrUnavailable, "%s", d.what)
				require.NotContains(t, strings.Join(report.Warnings, "\n"), "not used any more")
			})
		}
	}
}

// watched is a host that remembers which names were claimed.
type watched struct {
	*memory.Host

	mu      sync.Mutex
	claimed []string // alone
	shared  []string
}

func (w *watched) Lease(ctx context.Context, name string, lease ports.Lease) (func(), error) {
	w.mu.Lock()
	if lease.Shared {
		w.shared = append(w.shared, name)
	} else {
		w.claimed = append(w.claimed, name)
	}
	w.mu.Unlock()
	return w.Host.Lease(ctx, name, lease)
}

// On each source's host the run is claimed, what earlier runs left is closed before
// anything begins, and what this one opened at its end.
func TestARunIsClaimedAndClosedOnEachSource(t *testing.T) {
	for _, parallel := range []int{1, 4} {
		g := growGrove(t, memory.Fork, forks, fieldTreeWithData)
		var hosts []*watched
		for _, host := range g.sources {
			hosts = append(hosts, &watched{Host: host})
		}
		g.request.Source.Host, g.request.MoreSources[0].Host = hosts[0], hosts[1]
		g.request.Parallel = parallel
		asked := []map[string]int{calls(g.sources[0]), calls(g.sources[1])}
		_, err := app.New(nil).Rebuild(t.Context(), g.request)
		require.NoError(t, err)
		for i, host := range hosts {
			require.Len(t, host.claimed, 1)
			require.Regexp(t, "^run [0-9a-f]{8}$", host.claimed[0])
			require.Len(t, host.shared, 2, "the replica, and the image that is fetched")
			require.Regexp(t, "^replica .*/"+g.request.Source.Replica[:3], host.shared[0])
			require.Regexp(t, "^image .*/bi-", host.shared[1])
			require.Equal(t, 2, asked[i]["release"])
		}
		require.Equal(t, hosts[0].claimed, hosts[1].claimed)
	}
}

// A limit of a source's host holds back what comes from that host, and nothing
// that comes from others.
func TestALimitOfASourcesHostIsForWhatComesFromItAlone(t *testing.T) {
	const n, clusters = 6, 8
	for limited := range 2 {
		synctest.Test(t, func(t *testing.T) {
			g := growGrove(t, memory.Fork, forks, wide(n, clusters))
			growImage(t, g.destination, 4)
			queue := app.NewQueue(app.New(nil), app.Limits{})
			queue.LimitHost(g.sources[limited], cluster) // a cluster a second
			g.request.Parallel = 2
			for _, host := range g.sources {
				host.Inject(func(c memory.Call) memory.Fault {
					if c.Method == "copy" {
						return memory.Fault{Delay: 10 * time.Millisecond}
					}
					return memory.Fault{}
				})
			}
			began := time.Now()
			job, err := queue.Submit(t.Context(), g.request)
			require.NoError(t, err)
			report, err := job.Wait(t.Context())
			require.NoError(t, err)
			g.requireEqual(0)
			passed := time.Since(began)
			slow, fast := report.Sources[limited], report.Sources[1-limited]
			require.GreaterOrEqual(t, passed, time.Duration(float64(slow.CopiedBytes)/cluster*0.9)*time.Second)
			require.LessOrEqual(t, passed, time.Duration(float64(slow.CopiedBytes)/cluster+2)*time.Second, "the other is not held back")
			require.Greater(t, fast.CopiedBytes, slow.CopiedBytes, "who has less to do gets more")
			require.NotZero(t, slow.CopiedBytes)
			require.NoError(t, queue.Close(t.Context()))
		})
	}
}

// Where the destination tells no checksums the journal is the only proof; it holds
// from each source of which a copy is known to be one.
func TestTheJournalProvesWhatWasSealedFromAnySource(t *testing.T) {
	g := growGrove(t, memory.Upstream, forks, wide(6, 4))
	growImage(t, g.destination, 4)
	g.request.Journal = openJournal(t, filepath.Join(t.TempDir(), "journal"))
	first, err := app.New(nil).Rebuild(t.Context(), g.request)
	require.NoError(t, err)
	require.NotZero(t, first.CopiedBytes)
	for i, site := range []app.Site{g.request.Source, g.request.MoreSources[0]} {
		alone := g.request
		alone.Source, alone.MoreSources = site, nil
		report, err := app.New(nil).Rebuild(t.Context(), alone)
		require.NoError(t, err)
		require.Zero(t, report.CopiedBytes, "source %d", i)
		g.requireEqual(i)
	}
}

// chain is a chain of n snapshots with a cluster of their own each.
func chain(n int) func(p *plant) {
	return func(p *plant) {
		parent := p.image
		for i := range n {
			parent = p.snapshot(fmt.Sprint("s", i), parent, 8, map[int]byte{i: byte(10 + i)}, minute(i))
		}
		p.writable(p.replica, parent, 8)
	}
}

// Rule 14 is for the primary, too, where another one has served: a snapshot that
// has merged there since is planned again.
func TestAPrimaryThatMergesUnderAnothersCopyIsFoundOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := growGrove(t, memory.Fork, forks, chain(6))
		growImage(t, g.destination, 4)
		copies(g.sources[0], 2*time.Second)
		var mu sync.Mutex
		second := make(map[string]bool) // what the second source serves
		g.sources[1].Inject(func(c memory.Call) memory.Fault {
			if c.Method != "copy" {
				return memory.Fault{}
			}
			mu.Lock()
			defer mu.Unlock()
			_, name, _ := strings.Cut(c.Name, "-snap-")
			second[name] = true
			return memory.Fault{Delay: time.Second}
		})
		grown := ""
		var replanned atomic.Bool
		g.destination.Inject(func(c memory.Call) memory.Fault {
			for i := range 5 {
				below, above := fmt.Sprint("s", i), fmt.Sprint("s", i+1)
				mu.Lock()
				if c.Method == "seal" && grown == above && strings.HasSuffix(c.Name, above) && !replanned.Load() {
					t.Errorf("%s is sealed as it was before it grew", above)
				}
				now := c.Method == "seal" && strings.HasSuffix(c.Name, below) && second[above] && grown == ""
				if now {
					grown = above
				}
				mu.Unlock()
				// It was compared a moment ago, and what hangs on it grows now.
				for now && errors.Is(g.sources[0].DeleteMerging(g.plants[0].uuids[below]), ports.ErrBusy) {
					time.Sleep(100 * time.Millisecond)
				}
			}
			return memory.Fault{}
		})
		again := 0
		g.request.Observer = observe(func(e app.Event) {
			if e.Kind == app.EventAgain {
				again++
				replanned.Store(true)
			}
		})
		report, err := app.New(nil).Rebuild(t.Context(), g.request)
		require.NoError(t, err)
		require.NotEmpty(t, grown, "the second source has served nothing in the chain")
		require.Equal(t, 1, again)
		require.Equal(t, app.SourcePrimary, report.Sources[0].State)
		g.requireEqual(0)
	})
}

// What is not seen to be whole as long as its source answers is not believed.
func TestACopyIsNotBelievedWhoseSourceCouldNotBeAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := growGrove(t, memory.Fork, forks, wide(1, 4)) // one copy for each
		growImage(t, g.destination, 4)
		copies(g.sources[0], 2*time.Second)
		var mu sync.Mutex
		copied := false
		g.sources[1].Inject(func(c memory.Call) memory.Fault {
			mu.Lock()
			defer mu.Unlock()
			if c.Method == "copy" {
				copied = true
				return memory.Fault{Delay: time.Second}
			}
			if copied && c.Method == "look" {
				return memory.Fault{Before: errNoAnswer}
			}
			return memory.Fault{}
		})
		report, err := app.New(nil).Rebuild(t.Context(), g.request)
		require.NoError(t, err)
		require.True(t, copied)
		require.Empty(t, report.Sources[1].Snapshots)
		require.Len(t, report.Sources[0].Snapshots, 2)
		g.requireEqual(0)
	})
}

// A copy that hangs on a source ends when another one has found that the source
// does not work.
func TestCopiesFromALostSourceAreNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := growGrove(t, memory.Fork, forks, wide(6, 4))
		growImage(t, g.destination, 4)
		copies(g.sources[0], time.Second)
		var asked atomic.Int64
		g.sources[1].Inject(func(c memory.Call) memory.Fault {
			switch {
			case c.Method != "copy":
				return memory.Fault{}
			case asked.Add(1) == 1:
				return memory.Fault{Delay: time.Hour}
			}
			return memory.Fault{Before: errNoAnswer, Delay: time.Second}
		})
		began := time.Now()
		_, err := app.New(nil).Rebuild(t.Context(), g.request)
		require.NoError(t, err)
		require.Greater(t, asked.Load(), int64(1))
		require.Less(t, time.Since(began), time.Minute)
		g.requireEqual(0)
	})
}

// One lost answer does not cost a source.
func TestASourceThatIsSilentOnceIsAskedAgain(t *testing.T) {
	for at := range 2 {
		synctest.Test(t, func(t *testing.T) {
			g := growGrove(t, memory.Fork, forks, wide(4, 4))
			growImage(t, g.destination, 4)
			failFirst(g.sources[at], "list", 1, memory.Fault{After: ports.ErrUnavailable})
			report, err := app.New(nil).Rebuild(t.Context(), g.request)
			require.NoError(t, err)
			require.Empty(t, report.Warnings)
			require.Equal(t, app.SourcePrimary, report.Sources[0].State)
			require.Equal(t, app.SourceSecondary, report.Sources[1].State)
		})
	}
}

// Copies that are whole outlive both their source and the primary, if a third one
// has the same: they are sealed, and not made again.
func TestWholeCopiesOutliveTheirSourceAndThePrimary(t *testing.T) {
	const n = 6
	synctest.Test(t, func(t *testing.T) {
		g := growGrove(t, memory.Fork, []memory.Flavour{memory.Fork, memory.Fork, memory.Fork}, func(p *plant) {
			// Nothing can be sealed before the root, which takes longest.
			p.snapshot("root", p.image, 16, map[int]byte{0: 1, 1: 2, 2: 3, 3: 4, 4: 5, 5: 6, 6: 7, 7: 8, 8: 9, 9: 10}, minute(0))
			for i := range n {
				p.snapshot(fmt.Sprintf("s%02d", i), p.uuids["root"], 16, map[int]byte{i: byte(i)}, minute(i+1))
			}
			p.writable(p.replica, p.uuids["s00"], 16)
		})
		growImage(t, g.destination, 4)
		var mu sync.Mutex
		dead, served := false, make(map[string]string)
		for i, host := range g.sources {
			host.Inject(func(c memory.Call) memory.Fault {
				mu.Lock()
				defer mu.Unlock()
				if dead && i < 2 {
					return memory.Fault{Before: errNoAnswer}
				}
				if c.Method != "copy" {
					return memory.Fault{}
				}
				served[c.Name] += fmt.Sprint(i)
				return memory.Fault{Delay: map[bool]time.Duration{true: 20 * time.Second, false: time.Second}[strings.HasSuffix(c.Name, "root")]}
			})
		}
		go func() {
			time.Sleep(10 * time.Second)
			mu.Lock()
			defer mu.Unlock()
			dead = true
		}()
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
func TestALostPrimaryIsNotAskedAnyMore(t *testing.T) {
	g := growGrove(t, memory.Fork, forks, wide(6, 4))
	growImage(t, g.destination, 4)
	g.request.Parallel = 1
	var mu sync.Mutex
	lost, later := false, make(map[string]int)
	g.sources[0].Inject(func(c memory.Call) memory.Fault {
		mu.Lock()
		defer mu.Unlock()
		if lost {
			later[c.Method]++
		}
		if c.Method == "copy" && strings.HasSuffix(c.Name, "s03") {
			return memory.Fault{Before: ports.ErrInvalid}
		}
		return memory.Fault{}
	})
	g.request.Observer = observe(func(e app.Event) {
		mu.Lock()
		defer mu.Unlock()
		lost = lost || e.Kind == app.EventSourceLost
	})
	report, err := app.New(nil).Rebuild(t.Context(), g.request)
	require.NoError(t, err)
	require.True(t, lost)
	require.Equal(t, map[string]int{"release": 1}, later)
	require.Equal(t, []app.SourceState{app.SourceLost, app.SourcePrimary}, []app.SourceState{report.Sources[0].State, report.Sources[1].State})
	require.EqualValues(t, 25*cluster, report.CopiedBytes)
	g.requireEqual(1)
}

// A copy that fails because the destination is gone is no source's failure.
func TestACopyIntoADeadDestinationBlamesNoSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := growGrove(t, memory.Fork, forks, wide(6, 4))
		growImage(t, g.destination, 4)
		g.request.Parallel = 1
		var mu sync.Mutex
		dead := false
		g.sources[0].Inject(func(c memory.Call) memory.Fault {
			mu.Lock()
			defer mu.Unlock()
			if c.Method != "copy" {
				return memory.Fault{}
			}
			dead = true
			return memory.Fault{Before: errNoAnswer}
		})
		g.destination.Inject(func(memory.Call) memory.Fault {
			mu.Lock()
			defer mu.Unlock()
			if dead {
				return memory.Fault{Before: ports.ErrUnavailable}
			}
			return memory.Fault{}
		})
		g.request.Observer = observe(func(e app.Event) { require.NotEqual(t, app.EventSourceLost, e.Kind) })
		_, err := app.New(nil).Rebuild(t.Context(), g.request)
		require.ErrorIs(t, err, ports.ErrUnavailable)
	})
}

// Which image the volume has, any of its replicas may know. Two that disagree are
// refused.
func TestAnySourceMayKnowTheImage(t *testing.T) {
	plain := func(p *plant) {
		p.image = ""
		p.growTree(fieldTree, 8, 10)
	}
	g := growGrove(t, memory.Fork, forks, plain)
	_, err := app.New(nil).Rebuild(t.Context(), g.request)
	require.ErrorIs(t, err, app.ErrRefused)
	require.ErrorContains(t, err, "is not known")
	require.NoError(t, g.sources[1].Record(t.Context(), list(t, g.sources[1], "vol-1-r-00000012").Head.UUID, domain.RecordNoImage))
	_, err = app.New(nil).Rebuild(t.Context(), g.request)
	require.NoError(t, err)
	requireEqualViews(t, &bench{t: t, source: g.sources[0], destination: g.destination}, nthSource(0), copyName, false)

	g = growGrove(t, memory.Fork, forks, fieldTreeWithData)
	require.NoError(t, g.sources[1].Record(t.Context(), list(t, g.sources[1], "vol-1-r-00000012").Head.UUID, "another"))
	_, err = app.New(nil).Rebuild(t.Context(), g.request)
	require.ErrorIs(t, err, app.ErrRefused)
	require.ErrorContains(t, err, "backing image another")
}
