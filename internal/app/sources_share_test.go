package app_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// longhorn/longhorn#11331: one source only, however many healthy replicas there
// are.
func TestField_11331_HealthyReplicasShareTheCopies(t *testing.T) {
	const n, clusters = 12, 8
	took := make(map[int]time.Duration)
	for _, sources := range []int{1, 2, 3} {
		synctest.Test(t, func(t *testing.T) {
			g := newMultiSource(t, memory.Fork, []memory.Flavour{memory.Fork, memory.Fork, memory.Fork}[:sources], wide(n, clusters))
			makeImage(t, g.destination, 4)
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
				require.Equal(t, g.builders[i].replica, s.Replica)
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

// Identical snapshots are copied from both sources all the same.
func TestDifferingSnapshotsComeFromPrimary(t *testing.T) {
	tree := func(s2 string) string {
		return "image\n s0 0=10 1=20\n  s1 1=11 2=21\n   s2 " + s2 + "\n    s3 3=13 4=23\n     s4 4=14 5=24\n      head"
	}
	const same = "2=12 3=22"
	for what, c := range map[string]struct {
		s2    string // on the second source
		spoil func(g *multiSource)
		say   string
	}{
		"other data":                                 {"2=238 3=22", nil, "snapshot s2 has other data"},
		"the same bytes at another position":         {"5=12 6=22", nil, "snapshot s2 has other data"},
		"two clusters swapped, and so the positions": {"2=22 3=12", nil, "snapshot s2 has other data"},
		"outdated: a cluster less":                   {"2=12", nil, "snapshot s2 has 1 clusters of its own instead of 2"},
		"another time":                               {same + " at=50", nil, "snapshot s2 records another time"},
		"merged": {same, func(g *multiSource) {
			require.NoError(g.t, g.sources[1].DeleteMerging(g.builders[1].uuids["s1"]))
		}, "snapshot s2 has parent s0"},
		"on another parent": {same, func(g *multiSource) { g.graft(1, "s2", g.builders[1].uuids["s0"]) }, "snapshot s2 has parent s0"},
	} {
		t.Run(what, func(t *testing.T) {
			g := newMultiSource(t, memory.Fork, forks, tree(same), tree(c.s2))
			makeImage(t, g.destination, 4)
			if c.spoil != nil {
				c.spoil(g)
			}
			// The primary takes its time, so the second one gets all that it may serve.
			served := copies(g.sources[1], 0)
			copies(g.sources[0], 20*time.Millisecond)
			report, err := app.New(nil).Rebuild(t.Context(), g.request)
			require.NoError(t, err)
			g.requireEqual(0)
			require.NotContains(t, served.bySnapshot(), "s2")
			require.NotEmpty(t, served.bySnapshot(), "what is the same is shared")
			require.Contains(t, strings.Join(report.Warnings, "\n"), c.say)
			require.Equal(t, app.SourceSecondary, report.Sources[1].State)
		})
	}
}

// Where one of the hosts reports no checksums nothing is proven, so nothing is
// shared: also where that is the primary's.
func TestUnprovenSnapshotsAreNotShared(t *testing.T) {
	for _, flavours := range [][]memory.Flavour{{memory.Fork, memory.Upstream}, {memory.Upstream, memory.Fork}, {memory.Upstream, memory.Upstream}} {
		g := newMultiSource(t, memory.Fork, flavours, wide(6, 4))
		makeImage(t, g.destination, 4)
		served := copies(g.sources[1], 0)
		report, err := app.New(nil).Rebuild(t.Context(), g.request)
		require.NoError(t, err)
		g.requireEqual(0)
		require.Empty(t, served.bySnapshot())
		require.Contains(t, strings.Join(report.Warnings, "\n"), "reports no checksums")
	}
}

// The destination need not be able to prove anything for sources to share.
func TestDestinationWithoutProofsHasSharedCopies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newMultiSource(t, memory.Upstream, forks, wide(6, 4))
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

// A source that fails in it is replaced.
func TestImageIsCopiedFromSecondSourceToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newMultiSource(t, memory.Fork, forks, fieldTreeWithData)
		g.request.Parallel = 1
		destination := &watched{Host: g.destination}
		g.request.Destination.Host = destination
		inject(g.sources[0], on("copy").ofImages().once().gets(memory.Fault{Before: ports.ErrInvalid, AfterClusters: 2}))
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

// A limit of a source's host holds back what comes from that host, and nothing
// that comes from others.
func TestHostLimitAppliesToItsOwnCopiesOnly(t *testing.T) {
	const n, clusters = 6, 8
	for limited := range 2 {
		synctest.Test(t, func(t *testing.T) {
			g := newMultiSource(t, memory.Fork, forks, wide(n, clusters))
			makeImage(t, g.destination, 4)
			queue := app.NewQueue(app.New(nil), app.Limits{})
			queue.LimitHost(g.sources[limited], cluster) // a cluster a second
			g.request.Parallel = 2
			for _, host := range g.sources {
				inject(host, on("copy").takes(10*time.Millisecond))
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

// Where the destination reports no checksums the journal is the only proof; it holds
// from each source of which a copy is known to be one.
func TestJournalProvesSealingsOfAnySource(t *testing.T) {
	g := newMultiSource(t, memory.Upstream, forks, wide(6, 4))
	makeImage(t, g.destination, 4)
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

// On each source's host the run is claimed, what earlier runs left is closed before
// anything begins, and what this one opened at its end.
func TestRunIsLeasedAndClosedOnEverySource(t *testing.T) {
	for _, parallel := range []int{1, 4} {
		g := newMultiSource(t, memory.Fork, forks, fieldTreeWithData)
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
