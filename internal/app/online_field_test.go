package app_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/liveclient"
)

// A trim during a rebuild failed (L#7103) or was dropped for good (harvester#4739), holes read old
// data (L#4354), and writes of parts of a cluster corrupted the rest (spdk/spdk#3113). What clients
// then read is compared with every member.
func TestField_7103_Harvester4739_4354_SPDK3113_ClientsDoWhatTheyLike(t *testing.T) {
	for report, c := range map[string]liveclient.Config{
		"7103":          {Reads: 30, Writes: 30, Trims: 40},
		"Harvester4739": {Trims: 95, Writes: 5},
		"4354":          {Reads: 40, Writes: 20, Trims: 20, Zeroes: 20},
		"SPDK3113":      {Reads: 40, Writes: 60, Longest: 700},
	} {
		for _, flavour := range []memory.Flavour{memory.Fork, memory.Upstream} {
			t.Run(report+"/"+flavour.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newLiveFixture(t, 2, liveTree, memory.Config{Flavour: flavour})
					b.slowly(nil)
					b.startAs(c)
					_, err := app.New(nil).RebuildOnline(t.Context(), b.request())
					require.NoError(t, err)
					b.stop()
					b.requireWhole()
					d := list(t, b.to, copyName)
					require.Equal(t, list(t, b.members[0], b.names[0]).Head.Own.Count, d.Head.Own.Count, "clusters of the head")
				})
			})
		}
	}
}

// The node of the engine went away in the middle: wrong bytes (L#10118), volumes that stayed stuck
// (L#12407), a half-built replica that counted as whole (openebs/mayastor#1713).
func TestField_10118_12407_Mayastor1713_KilledEngineLeavesNoHalfMember(t *testing.T) {
	for _, at := range []struct {
		party  liveParty
		method string
	}{
		{partyMember, "snapshot"},
		{partyDestination, "graft-external"},
		{partyMirror, "join"},
		{partyMember, "copy"},
		{partyDestination, "seal"},
		{partyDestination, "record"},
		{partyDestination, "rename"},
	} {
		t.Run(at.method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newLiveFixture(t, 2, liveTree, memory.Config{})
				b.noTrims = true // see TestLiveVolumesAtRandom
				b.start(100 * time.Millisecond)
				defer b.clients.Stop()
				dead := false
				b.inject(func(_ int, c liveCall) memory.Fault {
					if dead = dead || c.party == at.party && c.Method == at.method; dead {
						return memory.Fault{Before: errEngineDied}
					}
					return memory.Fault{Delay: 10 * time.Millisecond}
				})
				_, err := app.New(nil).RebuildOnline(t.Context(), b.request())
				require.ErrorIs(t, err, errEngineDied)
				b.noFaults()
				b.requireNoHalfHead(at.method)
				require.Nil(t, list(t, b.to, copyName).Head)
				require.NoError(t, b.mirror.Suspend(t.Context()), "a dead engine thaws nothing")
				_, err = app.New(nil).RebuildOnline(t.Context(), b.request())
				require.NoError(t, err)
				b.stop()
				b.requireWhole()
			})
		})
	}
}

// L#10163: the rebuild's snapshots cost client I/O. There is one for each rebuild, and none for one
// that finds a whole member.
func TestField_10163_OneCutPerRebuild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		b.start(time.Millisecond)
		defer b.clients.Stop()
		before := len(list(t, b.members[0], b.names[0]).Snapshots)
		for range 2 {
			_, err := app.New(nil).RebuildOnline(t.Context(), b.request())
			require.NoError(t, err)
		}
		b.stop()
		b.requireWhole()
		require.Len(t, list(t, b.members[0], b.names[0]).Snapshots, before+1)
	})
}

// keptOf names the snapshots that a plan keeps.
func keptOf(plan domain.Plan) (kept []string) {
	for _, step := range plan.Steps {
		if step.Action == domain.ActionKeep {
			kept = append(kept, step.Snapshot)
		}
	}
	return kept
}
