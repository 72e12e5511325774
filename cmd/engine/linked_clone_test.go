package main

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/memhost"
)

const (
	sourceAtA = "unix:///a.sock?lvs=disk-1&replica=vol-9-r-0000000a"
	sourceAtB = "unix:///b.sock?lvs=disk-2&replica=vol-9-r-0000000b"

	dailyEntryPoint = "vol-9-r-0000000a-clone-ep-daily"
)

// newCloneWorld has on disk-1 a replica of vol-9 with a snapshot daily, and vol-1, a linked
// clone of that snapshot. disk-2 has a replica of vol-9 alone.
func newCloneWorld(t *testing.T) *world {
	t.Helper()
	fabric := memhost.NewFabric()
	config := memhost.Config{ClusterSize: 64 << 10, TotalClusters: 100}
	w := &world{t: t}
	config.Name = "disk-1"
	w.a = fabric.NewHost(config)
	config.Name = "disk-2"
	w.b = fabric.NewHost(config)
	for _, args := range [][]string{
		{"replica", "create", sourceAtA, "--size", "512KiB", "--no-image"},
		{"snapshot", "create", sourceAtA, "daily"},
		{"rebuild", "--source", sourceAtA, "--destination", sourceAtB},
		{"replica", "create", healthyAt, "--size", "512KiB", "--base", "clone:vol-9-r-0000000a@daily"},
		{"snapshot", "create", healthyAt, "snap11"},
	} {
		told := w.engine(args...)
		require.Equal(t, exitDone, told.status, "%v: %s%s", args, told.stdout, told.stderr)
	}
	return w
}

// named is the UUID of the lvol of that name.
func (w *world) named(host *memhost.Host, name string) string {
	w.t.Helper()
	store, err := host.List(w.t.Context())
	require.NoError(w.t, err)
	for _, l := range store.Lvols {
		if l.Name == name {
			return l.UUID
		}
	}
	require.Fail(w.t, "not found", name)
	return ""
}

// hurtClone takes the base of the clone on disk-1 away.
func (w *world) hurtClone() {
	w.t.Helper()
	require.NoError(w.t, w.a.Graft(w.t.Context(), w.named(w.a, "vol-1-r-0a1b2c3d-snap-snap11"), ""))
}

// hurtEntryPoint takes the parent of the entry point on disk-1 away.
func (w *world) hurtEntryPoint() {
	w.t.Helper()
	require.NoError(w.t, w.a.Graft(w.t.Context(), w.named(w.a, dailyEntryPoint), ""))
}

var anyTime = regexp.MustCompile(`20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z`)

func TestLinkedCloneOutput(t *testing.T) {
	for _, test := range []struct {
		name   string
		args   []string
		hurt   func(*world)
		status int
	}{
		{"clone-tree", []string{"tree", hostA}, nil, exitDone},
		{"clone-replica-list", []string{"replica", "list", hostA}, nil, exitDone},
		{"clone-audit", []string{"audit", hostA}, nil, exitDone},
		{"clone-plan", []string{"plan", "--source", healthyAt, "--destination", hurtAt}, nil, exitDone},
		{"clone-lost-tree", []string{"tree", healthyAt}, (*world).hurtClone, exitDone},
		{"clone-lost-replica-list", []string{"replica", "list", hostA}, (*world).hurtClone, exitDone},
		{"entry-point-lost-tree", []string{"tree", hostA}, (*world).hurtEntryPoint, exitDone},
		{"entry-point-lost-replica-list", []string{"replica", "list", hostA}, (*world).hurtEntryPoint, exitDone},
		{"entry-point-lost-audit", []string{"audit", hostA}, (*world).hurtEntryPoint, exitFailed},
		{"entry-point-lost-repair-dry-run", []string{"repair", healthyAt, "--dry-run"}, (*world).hurtEntryPoint, exitDone},
		{"clone-lost-audit", []string{"audit", healthyAt}, (*world).hurtClone, exitFailed},
		{"source-of-clone-tree", []string{"tree", sourceAtA}, nil, exitDone},
		{"source-of-lost-clone-tree", []string{"tree", sourceAtA}, (*world).hurtClone, exitDone},
		{"source-of-lost-entry-point-tree", []string{"tree", sourceAtA}, (*world).hurtEntryPoint, exitDone},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newCloneWorld(t)
			if test.hurt != nil {
				test.hurt(w)
			}
			before := w.stores()
			told := w.engine(test.args...)
			require.Equal(t, test.status, told.status, "%s%s", told.stdout, told.stderr)
			require.Empty(t, told.stderr)
			require.Regexp(t, "clone of vol-9@daily|entry point of daily", told.stdout)
			text := anyTime.ReplaceAllString(told.stdout, "NOW")
			requireGolden(t, test.name+".txt", anyUUID.ReplaceAllString(text, "UUID"))

			asJSON := w.engine(append(test.args, "--output", "json")...)
			require.Equal(t, test.status, asJSON.status)
			require.Empty(t, asJSON.stderr)
			requireGolden(t, test.name+".json", goldenJSON(t, asJSON.stdout))
			require.Equal(t, before, w.stores(), "nothing is changed")
		})
	}
}

func TestRebuiltLinkedCloneIsAuditedAndListed(t *testing.T) {
	w := newCloneWorld(t)
	told := w.engine("rebuild", "--source", healthyAt, "--destination", hurtAt, "--base", "clone:vol-9-r-0000000b@daily", "--output", "json")
	require.Equal(t, exitDone, told.status, told.stdout)
	var r result
	require.NoError(t, json.Unmarshal([]byte(told.stdout), &r))
	require.Equal(t, "clone:vol-9@daily", r.Source.Base)
	require.Equal(t, "clone:vol-9@daily", r.Destination.Base)
	require.Empty(t, r.Destination.BackingImage)
	require.Equal(t, "clone:vol-9@daily", r.Destination.Snapshots[0].Parent)

	told = w.engine("audit", healthyAt, hurtAt, "--base", "clone:vol-9@daily")
	require.Equal(t, exitDone, told.status, told.stdout)
	require.Equal(t, 2, strings.Count(told.stdout, ", clone of vol-9@daily: nothing is wrong\n"), told.stdout)
}

func TestRebuildPrintsEachStepOfLinkedClone(t *testing.T) {
	w := newCloneWorld(t)
	told := w.engine("rebuild", "--source", healthyAt, "--destination", hurtAt)
	require.Equal(t, exitDone, told.status, told.stdout)
	for _, line := range []string{
		"  grafted  the entry point\n", "  sealed   vol-9-r-0000000b-clone-ep-daily\n",
		"  grafted  snap11\n", "  sealed   vol-1-r-4e5f6a7b-snap-snap11\n",
		"  the ancestor snap11 has parent clone:vol-9@daily\n",
	} {
		require.Contains(t, told.stdout, line)
	}
}

func TestRepairRestoresBaseOfLinkedClone(t *testing.T) {
	for name, hurt := range map[string]func(*world){"clone": (*world).hurtClone, "entry point": (*world).hurtEntryPoint} {
		t.Run(name, func(t *testing.T) {
			w := newCloneWorld(t)
			hurt(w)
			told := w.engine("repair", healthyAt, "--base", "clone:vol-9-r-0000000a@daily")
			require.Equal(t, exitDone, told.status, "%s%s", told.stdout, told.stderr)
			require.Contains(t, told.stdout, "lineage is restored; no data was copied")
			told = w.engine("audit", hostA)
			require.Equal(t, exitDone, told.status, told.stdout)
			require.Zero(t, w.a.CopiedLocally())
		})
	}
}

// Of vol-9, whose linked clone is on disk-1, all is copied: the linked clone reads the old
// snapshot until the entry point moves to the copy.
func TestReplacedSnapshotOfLinkedCloneOutput(t *testing.T) {
	w := newCloneWorld(t)
	args := []string{"--source", sourceAtB, "--destination", sourceAtA, "--fast=false"}
	before := w.stores()
	told := w.engine(append([]string{"plan"}, args...)...)
	require.Equal(t, exitDone, told.status, "%s%s", told.stdout, told.stderr)
	require.Equal(t, before, w.stores())
	requireGolden(t, "clone-replace-plan.txt", told.stdout)

	told = w.engine(append([]string{"rebuild"}, args...)...)
	require.Equal(t, exitDone, told.status, "%s%s", told.stdout, told.stderr)
	for _, line := range []string{"set aside daily", "grafted  " + dailyEntryPoint, "deleted  the old daily"} {
		require.Contains(t, told.stdout, line)
	}
	for _, replica := range []string{sourceAtA, healthyAt} {
		require.Equal(t, exitDone, w.engine("audit", replica).status)
	}
	require.Equal(t, w.named(w.a, "vol-9-r-0000000a-snap-daily"), w.parentOf(w.a, dailyEntryPoint))
}

// parentOf is the UUID of the parent of the lvol of that name.
func (w *world) parentOf(host *memhost.Host, name string) string {
	w.t.Helper()
	l, err := host.Look(w.t.Context(), w.named(host, name))
	require.NoError(w.t, err)
	return l.Parent
}

func TestGCRemovesEntryPointWithoutClones(t *testing.T) {
	w := newCloneWorld(t)
	require.NotContains(t, w.engine("gc", hostA).stdout, dailyEntryPoint, "it has a clone")
	require.Equal(t, exitDone, w.engine("replica", "delete", healthyAt, "--confirm", "vol-1-r-0a1b2c3d").status)
	before := w.stores()
	require.Equal(t, "lvstore disk-1: 1 leftover\n  entry point "+dailyEntryPoint+" without linked clones\nnothing was removed; --yes removes 1 leftover\n", w.engine("gc", hostA).stdout)
	require.Equal(t, before, w.stores())
	require.Equal(t, exitDone, w.engine("gc", hostA, "--yes").status)
	require.NotContains(t, w.stores(), "disk-1/"+dailyEntryPoint)
	require.Equal(t, exitDone, w.engine("snapshot", "delete", sourceAtA, "daily", "--confirm", "daily").status)
}

func TestHistoryShowsBaseOfLinkedClone(t *testing.T) {
	w := newCloneWorld(t)
	kept := t.TempDir() + "/rebuilds"
	require.Equal(t, exitDone, w.engine("rebuild", "--source", healthyAt, "--destination", hurtAt, "--journal", kept).status)
	past := history(t, w.engine("history", kept, "--output", "json"))
	require.Len(t, past.Rebuilds, 1)
	require.Equal(t, "clone:vol-9@daily", past.Rebuilds[0].Base)
	require.Empty(t, past.Rebuilds[0].BackingImage)
	require.Regexp(t, `create-entry-point +clone:vol-9@daily: `, w.engine("history", kept).stdout)
}

func TestBaseThatContradictsIsRefused(t *testing.T) {
	w := newCloneWorld(t)
	before := w.stores()
	for _, base := range [][]string{{"--base", "clone:vol-9@weekly"}, {"--base", "image:base"}, {"--base", "none"}, {"--no-image"}} {
		for _, command := range [][]string{
			{"plan", "--source", healthyAt, "--destination", hurtAt},
			{"rebuild", "--source", healthyAt, "--destination", hurtAt},
			{"repair", healthyAt},
		} {
			told := w.engine(append(command, base...)...)
			require.Equal(t, exitFailed, told.status, told.stdout)
			require.Contains(t, told.stdout+told.stderr, "snapshot daily of volume vol-9", "%v %v", command, base)
		}
		told := w.engine(append([]string{"audit", healthyAt}, base...)...)
		require.Equal(t, exitFailed, told.status)
		require.Contains(t, told.stdout, "snapshot daily of volume vol-9")
	}
	require.Equal(t, before, w.stores())
}

func TestLinkedCloneNeedsSnapshotOnHost(t *testing.T) {
	w := newCloneWorld(t)
	before := w.stores()
	for base, says := range map[string]string{
		"clone:vol-9-r-0000000a@weekly": "has no snapshot weekly",
		"clone:vol-8-r-0000000a@daily":  "no replica of volume vol-8 is on lvstore disk-1",
	} {
		requireShortLine(t, w.engine("replica", "create", hostA+"&replica=vol-2-r-00000001", "--size", "512KiB", "--base", base), exitFailed, says)
	}
	require.Equal(t, before, w.stores())
}

func TestLinkedClonesShareEntryPoint(t *testing.T) {
	w := newCloneWorld(t)
	told := w.engine("replica", "create", hostA+"&replica=vol-2-r-00000001", "--size", "1MiB", "--base", "clone:vol-9@daily", "--output", "json")
	require.Equal(t, exitDone, told.status, told.stdout)
	var r replicaResult
	require.NoError(t, json.Unmarshal([]byte(told.stdout), &r))
	require.Equal(t, "clone:vol-9@daily", r.Replica.Base)
	require.Equal(t, "clone:vol-9@daily", r.Replica.Head.Parent)
	entryPoint := w.named(w.a, dailyEntryPoint)
	store, err := w.a.List(t.Context())
	require.NoError(t, err)
	users := 0
	for _, l := range store.Lvols {
		if l.Parent == entryPoint {
			users++
		}
	}
	require.Equal(t, 2, users)
}
