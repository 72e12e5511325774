package e2e

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rootgraft/rebuild"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/spdkhost"
)

// fieldVolume is one of the volumes that are rebuilt at once. They share the image on each
// host. One was expanded: its later snapshots are larger.
type fieldVolume struct {
	from, to string // replicas
	seed     uint64 // of its data
	expanded bool
}

const fieldVolumes = 5

func newFieldVolumes() []fieldVolume {
	volumes := make([]fieldVolume, fieldVolumes)
	for i := range volumes {
		// vol-1 is a prefix of vol-10.
		name := fmt.Sprintf("vol-1%s", []string{"", "0", "00", "1", "-snap-x"}[i])
		volumes[i] = fieldVolume{from: name + "-r-0a1b2c3d", to: name + "-r-4e5f6a7b", seed: uint64(1000 * (i + 1)), expanded: i == 3}
	}
	return volumes
}

func (v fieldVolume) clusters(snapshot string) int {
	if v.expanded && snapshot != "snap11" && snapshot != "snap12" {
		return volumeClusters + 2
	}
	return volumeClusters
}

func (v fieldVolume) writes(of map[int]uint64) map[int]uint64 {
	writes := make(map[int]uint64)
	for at, seed := range of {
		writes[at] = v.seed + seed
	}
	return writes
}

// grow makes the healthy replica.
func (v fieldVolume) grow(t *testing.T, p *place) {
	t.Helper()
	uuids := map[string]string{"": p.image}
	for i, b := range branches {
		uuids[b.name] = p.snapshot(t, v.from, b.name, uuids[b.parent], v.clusters(b.name), createdAt(i), v.writes(b.writes))
	}
	head := p.head(t, v.from, uuids["snap31"], v.clusters("head"))
	if v.expanded {
		p.target.Write(t, head, noise(v.seed+20), uint64(volumeClusters+1)*clusterSize)
	}
}

// leave makes the leftovers of the lost replica: snap11 is intact but lost its image,
// snap12 is corrupt, snap13 has the right data in another place, snap14 is extra, snap21 is
// intact; and there are lvols in flight.
func (v fieldVolume) leave(t *testing.T, p *place) {
	t.Helper()
	made := func(name, parent string, i int, writes map[int]uint64) string {
		return p.snapshot(t, v.to, name, parent, v.clusters(name), createdAt(i), v.writes(writes))
	}
	snap11 := made("snap11", p.image, 0, branches[0].writes)
	snap12 := made("snap12", snap11, 1, map[int]uint64{1: 13, 2: 99})
	made("snap13", snap12, 2, map[int]uint64{3: 15})
	snap14 := made("snap14", snap12, 7, map[int]uint64{5: 66})
	made("snap21", snap11, 3, branches[3].writes)
	p.head(t, v.to, snap14, v.clusters("head"))
	_, err := p.host.Create(t.Context(), domain.InFlightLvolName(v.to, "0badcafe"), volumeClusters*clusterSize)
	require.NoError(t, err)
	_, err = p.host.Create(t.Context(), v.to+"-rebuilding", volumeClusters*clusterSize) // Longhorn's own
	require.NoError(t, err)
	require.NoError(t, p.host.Graft(t.Context(), snap11, ""))
}

// fieldTest makes five volumes and the leftovers of their lost replicas, concurrently.
func fieldTest(t *testing.T, from, to *targettest.Target) (source, destination *place, volumes []fieldVolume) {
	t.Helper()
	source, destination = newPlace(t, from, storeClusters), newPlace(t, to, storeClusters)
	image := noises(7, imageClusters)
	source.importImage(t, image)
	destination.importImage(t, image)
	volumes = newFieldVolumes()
	volumesAtOnce(t, volumes, "grow", func(t *testing.T, _ int, v fieldVolume) {
		v.grow(t, source)
		v.leave(t, destination)
	})
	return source, destination, volumes
}

// volumesAtOnce calls a function for all of them, concurrently.
func volumesAtOnce(t *testing.T, volumes []fieldVolume, what string, do func(t *testing.T, i int, v fieldVolume)) {
	t.Helper()
	var all sync.WaitGroup
	for i, v := range volumes {
		all.Go(func() {
			t.Run(what+" "+v.from, func(t *testing.T) { do(t, i, v) })
		})
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

func requireFieldRebuilt(t *testing.T, source, destination *place, volumes []fieldVolume, planOf func(i int) map[string]string) {
	t.Helper()
	proves := source.store(t).Proves && destination.store(t).Proves
	volumesAtOnce(t, volumes, "look at", func(t *testing.T, i int, v fieldVolume) {
		requireRebuilt(t, source, v.from, destination, v.to)
		if i == 0 {
			source.requireAsItWas(t, v.from)
		}
		actions := planOf(i)
		require.Equal(t, "copy", actions["snap12"], "%s: corrupted", v.to)
		require.Equal(t, "copy", actions["snap13"], "%s: forged", v.to)
		require.Equal(t, "remove", actions["snap14"], "%s: extra", v.to)
		if proves {
			require.Equal(t, "graft", actions["snap11"], "%s: has lost its image, and is else what it should be", v.to)
			require.Equal(t, "keep", actions["snap21"], v.to)
		}
	})
}

// This is Longhorn's own test, on real targets: one process rebuilds five volumes on one
// image at once, each from a branching tree and over damaged leftovers, with fast
// rebuilding. The log has no warning.
func TestMultipleThreadFastRebuildingWithBackingImage(t *testing.T) {
	onEach(t, within|between|mixed, func(t *testing.T, from, to *targettest.Target) {
		source, destination, volumes := fieldTest(t, from, to)
		warnings, logs := observer.New(zap.WarnLevel)
		log := zap.New(zapcore.NewTee(warnings, zaptest.NewLogger(t).Core()))
		engine := rebuild.New(rebuild.WithLogger(log))
		hosts := make(map[*place]*spdkhost.Host)
		for _, p := range []*place{source, destination} {
			host, err := spdkhost.Open(t.Context(), spdkhost.Config{Socket: p.target.Socket, Lvstore: p.lvstore, Logger: log})
			require.NoError(t, err)
			defer func() { require.NoError(t, host.Close()) }()
			hosts[p] = host
		}
		reports := make([]rebuild.Report, len(volumes))
		errs := make([]error, len(volumes))
		var all sync.WaitGroup
		for i, v := range volumes {
			all.Go(func() {
				reports[i], errs[i] = engine.Rebuild(context.Background(), rebuild.Request{
					Source:      rebuild.Site{Host: hosts[source], Replica: v.from},
					Destination: rebuild.Site{Host: hosts[destination], Replica: v.to},
					Options:     rebuild.Options{ReservePercent: 1},
				})
			})
		}
		all.Wait()
		for i, err := range errs {
			require.NoError(t, err, volumes[i].to)
			require.Equal(t, rebuild.OutcomeComplete, reports[i].Outcome)
			require.Empty(t, reports[i].Violations)
			requireNoWarning(t, reports[i].Warnings)
		}
		requireFieldRebuilt(t, source, destination, volumes, func(i int) map[string]string {
			actions := make(map[string]string)
			for _, step := range reports[i].Plan.Steps {
				actions[step.Snapshot] = string(step.Action)
			}
			return actions
		})
		var logged []string
		for _, entry := range logs.All() {
			logged = append(logged, entry.Message)
		}
		requireNoWarning(t, logged)
	})
}

// The same with a process per volume: only the targets know of all volumes.
func TestMultipleProcessFastRebuildingWithBackingImage(t *testing.T) {
	onEach(t, between, func(t *testing.T, from, to *targettest.Target) {
		source, destination, volumes := fieldTest(t, from, to)
		processes := make([]*process, len(volumes))
		for i, v := range volumes {
			processes[i] = program.startRebuild(t, source.address(v.from), destination.address(v.to))
		}
		results := make([]result, len(volumes))
		for i, p := range processes {
			var status int
			results[i], status = p.result(t)
			require.Zero(t, status, "%s: %+v", volumes[i].to, results[i])
			require.Empty(t, unexpected(p.stderr.String()), "warnings")
			require.Empty(t, results[i].Violations)
			requireNoWarning(t, results[i].Warnings)
		}
		requireFieldRebuilt(t, source, destination, volumes, func(i int) map[string]string { return results[i].actions() })
	})
}
