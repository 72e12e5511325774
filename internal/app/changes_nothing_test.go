package app_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
)

// changes are the JSON-RPC calls that were made of a target and do more than look.
type changes struct {
	mu  sync.Mutex
	all map[string][]string // by side: the methods
}

// looks are the calls that change nothing.
func looks(method string) bool {
	return strings.Contains(method, "_get_") || method == "bdev_lvol_check_shallow_copy"
}

func watchChanges(on *targetEnvironment) *changes {
	c := &changes{all: make(map[string][]string)}
	on.listen(func(side string, r simtarget.Request) simtarget.Fault {
		c.mu.Lock()
		defer c.mu.Unlock()
		if !looks(r.Method) && !slices.Contains(c.all[side], r.Method) {
			c.all[side] = append(c.all[side], r.Method)
		}
		return simtarget.Fault{}
	})
	return c
}

// checksums are what a target is asked to compute, and how a snapshot is woken for
// that: by a clone, which is deleted again.
var checksums = []string{"bdev_lvol_register_snapshot_checksum", "bdev_lvol_clone", "bdev_lvol_delete"}

// eachTargets does something in every world and on every pair of flavours, with and
// without checksums.
func eachTargets(t *testing.T, do func(t *testing.T, on *targetEnvironment, request app.Request)) {
	for _, w := range faultScenarios {
		for _, f := range w.flavours() {
			for _, noChecksums := range []bool{false, true} {
				if raceDetector && w.name != "branching" && !w.clones {
					continue // make test plays them without the race detector
				}
				if noChecksums && w.clones {
					continue // refused: the copies that linked clones would get are not proven
				}
				t.Run(fmt.Sprintf("%s/%s/no checksums: %v", w.name, f, noChecksums), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) {
						on := newTargets(t, trial{world: w, flavours: f, verify: verifyCounts, parallel: 4})
						defer on.end()
						request, end := on.engine()
						defer end()
						request.Options.NoChecksums = noChecksums
						do(t, on, request)
					})
				})
			}
		}
	}
}

// What a plan asks of targets that have just started: of checksums it asks only what
// it may, and no lvol is another one afterwards.
func TestPlanChangesNothing(t *testing.T) {
	eachTargets(t, func(t *testing.T, on *targetEnvironment, request app.Request) {
		before := map[string]storeState{}
		for _, side := range []string{"source", "destination"} {
			_, before[side] = on.store(side)
		}
		made := watchChanges(on)
		plan, err := app.New(nil).Plan(t.Context(), request)
		require.NoError(t, err)
		require.True(t, plan.Changes())
		on.listen(nil)
		for side, methods := range made.all {
			if request.Options.NoChecksums {
				require.Empty(t, methods, side)
			}
			require.Subset(t, checksums, methods, side)
		}
		if on.trial.flavours.prove() && !request.Options.NoChecksums {
			require.Contains(t, made.all["source"], checksums[0], "it is seen")
		}
		for side, was := range before {
			_, is := on.store(side)
			require.Equal(t, was, is, side)
			require.Empty(t, on.opened(side))
		}
	})
}

// A rebuild sends from the source, and takes one snapshot of its head. Where checksums
// are computed the source keeps these; nothing else of it is another.
func TestSourceIsOnlyRead(t *testing.T) {
	eachTargets(t, func(t *testing.T, on *targetEnvironment, request app.Request) {
		_, before := on.store("source")
		made := watchChanges(on)
		report, err := app.New(nil).Rebuild(t.Context(), request)
		require.NoError(t, err)
		on.listen(nil)
		allowed := []string{
			"bdev_lvol_snapshot",                                         // of the head
			"bdev_nvme_attach_controller", "bdev_nvme_detach_controller", // to the destination
			"bdev_lvol_start_shallow_copy",
		}
		if !request.Options.NoChecksums {
			allowed = append(allowed, checksums...)
		}
		require.Subset(t, allowed, made.all["source"])

		_, after := on.store("source")
		system := ""
		for name := range after {
			if _, was := before[name]; !was {
				require.Empty(t, system, "one snapshot")
				system = name
			}
		}
		require.True(t, strings.HasPrefix(system, sourceName+"-snap-rebuild-"), system)
		head, frozen := before[sourceName], after[system]
		require.Equal(t, head.own, frozen.own, "it has what the head had")
		delete(after, system)
		delete(after, sourceName)
		delete(before, sourceName)
		require.Equal(t, before, after)
		require.Empty(t, report.Violations)
		require.Empty(t, on.opened("source"))
		on.requireEqual(true)
	})
}

// Without checksums only those that are there already prove that a snapshot need not
// be copied.
func TestWithoutChecksumsThoseThatAreThereProve(t *testing.T) {
	ctx := context.Background()
	b, request := trial{world: faultScenarios[0], flavours: allFlavours[0], verify: verifyCounts, parallel: 4}.build(t)
	decided := func(noChecksums bool) (kept int, reasons map[string]string) {
		request.Options.NoChecksums = noChecksums
		plan, err := app.New(nil).Plan(ctx, request)
		require.NoError(t, err)
		reasons = make(map[string]string)
		for _, step := range plan.Steps {
			reasons[step.Snapshot] = step.Reason
			if step.Action == domain.ActionKeep || step.Action == domain.ActionGraft {
				kept++
			}
		}
		return kept, reasons
	}
	kept, reasons := decided(true)
	require.Zero(t, kept)
	require.Contains(t, slices.Collect(maps.Values(reasons)), "the existing one cannot be proven: one of the hosts keeps no checksum of it, and none is computed")
	with, _ := decided(false) // computes them
	require.Positive(t, with)
	kept, _ = decided(true)
	require.Equal(t, with, kept, "they are there now")

	request.Proof = true
	report, err := app.New(nil).Rebuild(ctx, request)
	require.ErrorIs(t, err, app.ErrRefused)
	require.Equal(t, app.OutcomeRefused, report.Outcome)
	request.Proof = false
	rebuildCleanly(t, request)
	requireEqualViews(t, b, sourceName, copyName, true)
}

// An audit is as a plan; without checksums it compares counts alone.
func TestAuditChangesNothing(t *testing.T) {
	eachTargets(t, func(t *testing.T, on *targetEnvironment, request app.Request) {
		before := map[string]storeState{}
		for _, side := range []string{"source", "destination"} {
			_, before[side] = on.store(side)
		}
		made := watchChanges(on)
		report, err := app.New(nil).Audit(t.Context(), app.AuditRequest{
			Sites: []app.Site{request.Source, request.Destination}, Base: request.Base, Counts: request.Options.NoChecksums,
		})
		require.NoError(t, err)
		require.True(t, report.Wrong())
		on.listen(nil)
		for side, methods := range made.all {
			if request.Options.NoChecksums {
				require.Empty(t, methods, side)
			}
			require.Subset(t, checksums, methods, side)
		}
		for side, was := range before {
			_, is := on.store(side)
			require.Equal(t, was, is, side)
			require.Empty(t, on.opened(side))
		}
	})
}
