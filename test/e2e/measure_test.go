package e2e

import (
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

var (
	measures         = flag.Bool("measure", false, "measure rebuilds against raw copies")
	measureShapes    = flag.String("shapes", "", "measure only shapes whose name has this in it")
	measureRounds    = flag.Int("rounds", 5, "how often raw copies and rebuilds take turns")
	measureSimulated = flag.Bool("simulated", false, "measure on simulated targets, which cost nothing but round trips")
	measureField     = flag.Bool("field", true, "measure the rebuild of one snapshot at a time, too")
)

// shape is a tree to rebuild; each snapshot writes that many clusters.
type shape struct {
	name     string
	clusters int
	parents  []int // by snapshot; -1: the image
	budget   float64
}

func (s shape) snapshots() int { return len(s.parents) }

// room is the number of clusters of the store. By default a store has one metadata page
// per cluster, and an lvol with data takes two, and two more for a moment while it is
// sealed: small snapshots use up the pages first, and then a write fails with an internal
// error although clusters are free.
func (s shape) room() int { return s.snapshots()*(s.clusters+4) + 64 }

func chain(n int) []int {
	parents := make([]int, n)
	for i := range parents {
		parents[i] = i - 1
	}
	return parents
}

// shapes and their budgets, as multiples of the sum of the raw copies.
var shapes = []shape{
	{"1 x 1 GiB", 1024, chain(1), 1.35},
	{"1 x 256 MiB", 256, chain(1), 1.7},
	{"8 x 32 MiB, chain", 32, chain(8), 1.4},
	{"8 x 32 MiB, branching", 32, []int{-1, 0, 1, 1, 0, 4, 4, 0}, 1.4},
	{"32 x 4 MiB, chain", 4, chain(32), 1.3},
	{"64 x 1 MiB, chain", 1, chain(64), 1.3},
	{"the field's tree, 6 x 2 MiB", 2, []int{-1, 0, 1, 0, 3, 3}, 0},
}

// TestMeasureRebuilds measures, in one run and in turns, copies of a replica's snapshots by
// bare calls, which is the lower bound, and rebuilds of the replica; then, once, a rebuild
// of one snapshot at a time.
func TestMeasureRebuilds(t *testing.T) {
	if !*measures {
		t.Skip("it measures, it does not test: run make bench-e2e")
	}
	var table strings.Builder
	if *measureSimulated {
		fabric := simtarget.NewFabric()
		from, to := targettest.SimulatePolled(t, fabric, simtarget.Fork), targettest.SimulatePolled(t, fabric, simtarget.Fork)
		measureAll(t, &table, "simulated, between two targets", from, to)
		fmt.Print(table.String())
		return
	}
	for _, binary := range targettest.Binaries(t) {
		kind := filepath.Base(filepath.Dir(binary))
		t.Run(kind+", between two targets", func(t *testing.T) {
			measureAll(t, &table, kind+", between two targets", targettest.Start(t, binary), targettest.Start(t, binary))
		})
		t.Run(kind+", within one target", func(t *testing.T) {
			target := targettest.Start(t, binary)
			measureAll(t, &table, kind+", within one target", target, target)
		})
	}
	fmt.Print(table.String())
}

// row has the measurements of one shape.
type row struct {
	raw, ours []time.Duration
	field     time.Duration
	calls     targettest.Seen
	again     targettest.Seen
}

func measureAll(t *testing.T, table *strings.Builder, title string, from, to *targettest.Target) {
	columns := tabwriter.NewWriter(table, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(columns, "\n%s\n", title)
	_, _ = fmt.Fprintln(columns, "shape\traw s\tours s\tratio\tbudget\tlowest..highest\tone at a time s\tcalls\ta snapshot\tagain: trips")
	for _, s := range shapes {
		if !strings.Contains(s.name, *measureShapes) {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			r := measure(t, s, from, to)
			ratios := make([]float64, len(r.raw))
			for i := range r.raw {
				ratios[i] = r.ours[i].Seconds() / r.raw[i].Seconds()
			}
			budget, field := "", ""
			if s.budget > 0 {
				budget = fmt.Sprintf("%.2f", s.budget)
			}
			if r.field > 0 {
				field = fmt.Sprintf("%.1f", r.field.Seconds())
			}
			line := fmt.Sprintf("%s\t%.3f\t%.3f\t%.2f\t%s\t%.2f..%.2f\t%s\t%d\t%.1f\t%d",
				s.name, median(r.raw).Seconds(), median(r.ours).Seconds(), median(ratios), budget,
				slices.Min(ratios), slices.Max(ratios), field,
				r.calls.Calls(), float64(r.calls.Calls())/float64(s.snapshots()), r.again.Trips)
			_, _ = fmt.Fprintln(columns, line)
			fmt.Println(title+":", strings.ReplaceAll(line, "\t", "  ")) // a measurement that is broken off has told something
			t.Log(strings.ReplaceAll(line, "\t", "  "))
			t.Log(r.calls.ByMethod)
			t.Log(r.again)
		})
	}
	require.NoError(t, columns.Flush())
}

func median[T time.Duration | float64](of []T) T {
	sorted := slices.Clone(of)
	slices.Sort(sorted)
	return sorted[len(sorted)/2]
}

const (
	measuredSource = "vol-1-r-0a1b2c3d"
	measuredCopy   = "vol-1-r-4e5f6a7b"
)

func measure(t *testing.T, s shape, from, to *targettest.Target) (r row) {
	source := from.NewStore(t, s.room())
	snapshots := growMeasured(t, s, from, source)
	for range *measureRounds {
		inTurn(t, "raw", func(t *testing.T) { r.raw = append(r.raw, copyRaw(t, s, from, source, to, snapshots)) })
		inTurn(t, "ours", func(t *testing.T) {
			took, _, _ := rebuildMeasured(t, s, from, source, to, from.Socket, to.Socket, nil)
			r.ours = append(r.ours, took)
		})
	}
	inTurn(t, "counted", func(t *testing.T) {
		// Within one target both sockets are the same: a second proxy would count separately.
		tally := targettest.NewTally()
		_, r.calls, r.again = rebuildMeasured(t, s, from, source, to, tally.Proxy(t, from.Socket), tally.Proxy(t, to.Socket), tally)
	})
	if *measureField {
		inTurn(t, "one at a time", func(t *testing.T) { r.field = rebuildOneAtATime(t, s, from, source, to, snapshots) })
	}
	return r
}

func inTurn(t *testing.T, name string, do func(t *testing.T)) {
	require.True(t, t.Run(name, do))
}

func measuredImage(t *testing.T, target *targettest.Target, lvstore string) (host *spdk.Host, image string) {
	t.Helper()
	host = openMeasured(t, target.Socket, lvstore)
	store, err := host.List(t.Context())
	require.NoError(t, err)
	l, err := host.Create(t.Context(), domain.ImageInFlightLvolName("00000001"), clusterSize)
	require.NoError(t, err)
	target.Write(t, l, noise(1), 0)
	image, err = host.Seal(t.Context(), l, domain.ImageLvolName(imageName, store.UUID), ports.SealRecord{Image: &domain.ImageRecord{UUID: "e4f5a6b7"}})
	require.NoError(t, err)
	return host, image
}

func openMeasured(t *testing.T, socket, lvstore string) *spdk.Host {
	t.Helper()
	host, err := spdk.Open(t.Context(), spdk.Config{Socket: socket, Lvstore: lvstore})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, host.Close()) })
	return host
}

// growMeasured makes the source replica, and returns its snapshots' UUIDs.
func growMeasured(t *testing.T, s shape, target *targettest.Target, lvstore string) (snapshots []string) {
	t.Helper()
	host, image := measuredImage(t, target, lvstore)
	data := make([]byte, 0, s.clusters*clusterSize)
	for i := range s.clusters {
		data = append(data, noise(uint64(i))...)
	}
	size := uint64(len(data))
	for i, parent := range s.parents {
		l, err := host.Create(t.Context(), domain.InFlightLvolName(measuredSource, "00000001"), size)
		require.NoError(t, err)
		target.Write(t, l, data, 0)
		above := image
		if parent >= 0 {
			above = snapshots[parent]
		}
		require.NoError(t, host.Graft(t.Context(), l, above))
		snapshot, err := host.Seal(t.Context(), l, domain.SnapshotLvolName(measuredSource, fmt.Sprint("s", i)), ports.SealRecord{Attributes: createdAt(i)})
		require.NoError(t, err)
		snapshots = append(snapshots, snapshot)
	}
	_, err := host.Clone(t.Context(), snapshots[len(snapshots)-1], measuredSource, size, imageName)
	require.NoError(t, err)
	return snapshots
}

// rebuildMeasured rebuilds onto a new store with new hosts. With a tally it counts calls,
// and rebuilds once more.
func rebuildMeasured(t *testing.T, s shape, from *targettest.Target, source string, to *targettest.Target, fromSocket, toSocket string, tally *targettest.Tally) (took time.Duration, calls, again targettest.Seen) {
	t.Helper()
	lvstore := to.NewStore(t, s.room())
	_, _ = measuredImage(t, to, lvstore)
	request := app.Request{
		Source:      app.Site{Host: openMeasured(t, fromSocket, source), Replica: measuredSource},
		Destination: app.Site{Host: openMeasured(t, toSocket, lvstore), Replica: measuredCopy},
		Options:     domain.Options{ReservePercent: 1},
	}
	rebuild := func() (seen targettest.Seen) {
		if tally != nil {
			tally.Take()
		}
		began := time.Now()
		report, err := app.New(nil).Rebuild(t.Context(), request)
		took = time.Since(began)
		require.NoError(t, err)
		require.Empty(t, report.Violations)
		if tally != nil {
			seen = tally.Take()
		}
		return seen
	}
	calls = rebuild()
	if tally != nil {
		rebuild() // computes the checksums
		again = rebuild()
	}
	return took, calls, again
}
