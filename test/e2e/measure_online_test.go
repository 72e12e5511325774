package e2e

import (
	"context"
	"flag"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/liveclient"
)

var measureTimes = flag.Int("times", 20, "how many rebuilds under a live volume are measured, and how many deaths of a source")

// TestMeasureOnline measures rebuilds under a live volume: the freezes, what clients notice, the
// time of a rebuild against that of the same tree offline, and the death of a source.
func TestMeasureOnline(t *testing.T) {
	if !*measures {
		t.Skip("it measures, it does not test: run make bench-online")
	}
	if *measureSimulated {
		fabric := simtarget.NewFabric()
		measureOnline(t, "simulated", func() *targettest.Target { return targettest.SimulatePolled(t, fabric, simtarget.Fork) })
		return
	}
	for _, binary := range targettest.Binaries(t) {
		t.Run(flavour(binary), func(t *testing.T) {
			measureOnline(t, flavour(binary), func() *targettest.Target { return targettest.Start(t, binary) })
		})
	}
}

// measureOnline has two targets, each with a core where there are two: one has the RAID and its
// members, the other one the destination. For deaths each member has a target of its own.
func measureOnline(t *testing.T, name string, start func() *targettest.Target) {
	home, to := start(), start()
	at := &liveTargets{home: home, to: to, members: []*targettest.Target{home, home}}
	t.Run("freezes", func(t *testing.T) { measureFreezes(t, name, at) })
	for _, each := range []int{32, 128} {
		t.Run(fmt.Sprintf("time to whole, 8 x %d MiB", each), func(t *testing.T) { measureTimeToWhole(t, name, at.large(each), each) })
	}
	t.Run("clients", func(t *testing.T) { measureClients(t, name, at.large(32)) })
	at.members = []*targettest.Target{start(), start()} // a head is read by others where it is exported
	t.Run("deaths", func(t *testing.T) { measureDeaths(t, name, at) })
}

// upTo counts from 0, and ends before n if the limit is over: a busy machine does not make the
// whole measurement take hours.
func upTo(n int, limit time.Duration) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i, end := 0, time.Now().Add(limit); i < n && time.Now().Before(end) && yield(i); i++ {
		}
	}
}

// large are the targets of volumes with 8 snapshots of that many clusters each.
func (at *liveTargets) large(each int) *liveTargets {
	larger := *at
	larger.volume, larger.store = each+16, 12*each+256
	return &larger
}

// freeze is how long one lasted, and how much of that the rebuild worked in it.
type freeze struct{ stopped, work time.Duration }

// timedFreezer notes the freezes.
type timedFreezer struct {
	rebuild.Freezer

	freezes []freeze
}

func (f *timedFreezer) Freeze(ctx context.Context, limit time.Duration, work func(ctx context.Context) error) error {
	var it freeze
	began := time.Now()
	err := f.Freezer.Freeze(ctx, limit, func(ctx context.Context) error {
		began := time.Now()
		defer func() { it.work = time.Since(began) }()
		return work(ctx)
	})
	it.stopped = time.Since(began)
	f.freezes = append(f.freezes, it)
	return err
}

// measureFreezes rebuilds a small replica again and again.
func measureFreezes(t *testing.T, name string, at *liveTargets) {
	v := growLiveVolume(t, at, 2, true, func(p *place, replica string) {
		p.growTwo(t, replica, p.image, [2]string{"gold", "silver"}, 40)
	})
	v.startClients(t)
	var cuts, landings []freeze
	for range upTo(*measureTimes, 2*time.Minute) {
		request := v.request()
		timed := &timedFreezer{Freezer: request.Freezer}
		request.Freezer = timed
		v.measured(t, request)
		require.Len(t, timed.freezes, 2)
		cuts, landings = append(cuts, timed.freezes[0]), append(landings, timed.freezes[1])
		v.forget(t)
	}
	stats := v.stop(t)
	tell(t, name, "freeze\tstopped ms, median\tworst\tof that work ms, median\tworst", func(row func(...any)) {
		for _, of := range []struct {
			what    string
			freezes []freeze
		}{{"cuts", cuts}, {"landings", landings}} {
			stopped, work := make([]time.Duration, 0), make([]time.Duration, 0)
			for _, f := range of.freezes {
				stopped, work = append(stopped, f.stopped), append(work, f.work)
			}
			row(fmt.Sprint(len(of.freezes), " ", of.what), ms(median(stopped)), ms(slices.Max(stopped)), ms(median(work)), ms(slices.Max(work)))
		}
		row("a client's longest request", "", ms(stats.Longest))
	})
}

// measured is a rebuild that must be complete within a minute.
func (v *liveVolume) measured(t *testing.T, request rebuild.OnlineRequest) rebuild.Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	report, err := rebuild.New().RebuildOnline(ctx, request)
	require.NoError(t, err)
	require.Equal(t, rebuild.OutcomeComplete, report.Outcome)
	return report
}

// forget makes the destination empty again.
func (v *liveVolume) forget(t *testing.T) {
	t.Helper()
	if head := v.destination.look(t).Head; v.modes(t)[head.UUID] != "" {
		require.NoError(t, v.mirror.Leave(t.Context(), head.UUID))
	}
	require.NoError(t, v.destination.host.HideHead(t.Context(), liveTo))
	_, err := rebuild.New().DeleteReplica(t.Context(), v.request().Destination, nil)
	require.NoError(t, err)
}

// wholeTurns is how often the time to a whole replica is measured.
const wholeTurns = 5

// measureTimeToWhole rebuilds 8 snapshots, offline and under clients that write one cluster.
// The heads have no data before: offline they would get a snapshot more. The cuts are purged, so
// that each turn rebuilds the same tree.
func measureTimeToWhole(t *testing.T, name string, at *liveTargets, each int) {
	v := growLiveVolume(t, at, 2, true, func(p *place, replica string) { p.growEight(t, replica, each, at.volume) })
	var offline, online []time.Duration
	for range upTo(wholeTurns, time.Minute) {
		report, err := rebuild.New().Rebuild(t.Context(), v.request().Request)
		require.NoError(t, err)
		offline = append(offline, report.Duration)
		v.forget(t)
	}
	v.start(t, liveclient.Config{Size: clusterSize, Longest: 8192, Pause: 4 * time.Millisecond, Reads: 50, Writes: 50})
	for range upTo(wholeTurns, time.Minute) {
		online = append(online, v.timeToWhole(t))
		v.forget(t)
		purged, err := rebuild.New().PurgeVolume(t.Context(), v.volumeRequest())
		require.NoError(t, err)
		require.Len(t, purged.Purged, 1)
	}
	v.stop(t)
	tell(t, name, fmt.Sprintf("8 x %d MiB", each)+"\toffline s, median\tonline s, median\tlowest..highest\tratio", func(row func(...any)) {
		row("time to whole", seconds(median(offline)), seconds(median(online)),
			seconds(slices.Min(online))+".."+seconds(slices.Max(online)),
			fmt.Sprintf("%.2f", median(online).Seconds()/median(offline).Seconds()))
	})
}

// timeToWhole is the time until the destination is a whole member. The rebuild closes its exports
// after that.
func (v *liveVolume) timeToWhole(t *testing.T) (whole time.Duration) {
	t.Helper()
	request, began := v.request(), time.Now()
	request.Observer = rebuild.ObserverFunc(func(e rebuild.Event) {
		if e.Kind == rebuild.EventLanded {
			whole = time.Since(began)
		}
	})
	v.measured(t, request)
	return whole
}

// growEight makes a chain of 8 snapshots, and a head without data.
func (p *place) growEight(t *testing.T, replica string, each, clusters int) {
	t.Helper()
	parent := p.image
	for i := range 8 {
		uuid, err := p.host.Clone(t.Context(), parent, domain.InFlightLvolName(replica, "000000aa"), uint64(clusters)*clusterSize, "")
		require.NoError(t, err)
		p.target.Write(t, uuid, noises(uint64(100+i), each), clusterSize)
		parent = p.seal(t, uuid, domain.SnapshotLvolName(replica, chainName(i)), createdAt(i))
	}
	p.head(t, replica, parent, clusters)
}

// tell prints a table at once: a measurement that is broken off has told something.
func tell(t *testing.T, name, heading string, rows func(row func(cells ...any))) {
	t.Helper()
	var table strings.Builder
	columns := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(columns, "\n%s: %s\t\n", name, heading)
	rows(func(cells ...any) {
		for _, cell := range cells {
			_, _ = fmt.Fprintf(columns, "%v\t", cell)
		}
		_, _ = fmt.Fprintln(columns)
	})
	require.NoError(t, columns.Flush())
	fmt.Print(table.String())
}

func ms(d time.Duration) string      { return fmt.Sprintf("%.1f", float64(d.Microseconds())/1000) }
func seconds(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()) }
