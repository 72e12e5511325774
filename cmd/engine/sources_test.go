package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	secondAt = hurtAt // once it was rebuilt
	thirdAt  = "unix:///b.sock?lvs=disk-2&replica=vol-1-r-3"
	nowhere  = "unix:///nowhere.sock?lvs=disk-7&replica=vol-1-r-7"
)

// twoHealthy is a world with healthy replicas on disk-1 and disk-2.
func twoHealthy(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, twoHosts)
	ran := w.engine("rebuild", "--source", healthyAt, "--destination", hurtAt)
	require.Equal(t, exitDone, ran.status, "%s", ran.stderr)
	return w
}

// sourcesOf are the sources of a result, by replica.
func sourcesOf(t *testing.T, stdout string) map[string]sourceLine {
	t.Helper()
	var r struct {
		Outcome string       `json:"outcome"`
		Sources []sourceLine `json:"sources"`
	}
	require.NoError(t, json.Unmarshal([]byte(stdout), &r))
	require.Equal(t, "complete", r.Outcome)
	found := make(map[string]sourceLine)
	for _, s := range r.Sources {
		found[s.Replica] = s
	}
	return found
}

func TestRebuildFromSeveralSources(t *testing.T) {
	w := twoHealthy(t)
	args := []string{"--source", healthyAt, "--source", secondAt, "--destination", thirdAt}
	told := w.engine(append([]string{"plan"}, args...)...)
	require.Equal(t, exitDone, told.status, "%s", told.stderr)
	require.Equal(t, 3, strings.Count(told.stdout, "copy "), "%s", told.stdout)

	kept := filepath.Join(t.TempDir(), "rebuilds")
	told = w.engine(append([]string{"rebuild", "--output", "json", "--verify", "views", "--journal", kept}, args...)...)
	require.Equal(t, exitDone, told.status, "%s", told.stdout)
	sources := sourcesOf(t, told.stdout)
	require.Len(t, sources, 2)
	first, second := sources["vol-1-r-0a1b2c3d"], sources["vol-1-r-4e5f6a7b"]
	require.Equal(t, []string{"primary", "secondary"}, []string{first.State, second.State})
	require.Equal(t, []string{"disk-1", "disk-2"}, []string{first.Lvstore, second.Lvstore})
	require.ElementsMatch(t, []string{"snap11", "snap12", "snap21"}, append(first.Snapshots, second.Snapshots...))
	require.EqualValues(t, 3*64<<10, first.CopiedBytes+second.CopiedBytes)
	require.Contains(t, told.stdout, `"reason":"","snapshots":[`)

	past := w.engine("history", kept)
	require.Contains(t, past.stdout, "  from vol-1-r-0a1b2c3d on lvstore disk-1, vol-1-r-4e5f6a7b on lvstore disk-2\n    ")
	require.Contains(t, past.stdout, " from vol-1-r-0a1b2c3d on lvstore disk-1\n")
	require.Contains(t, w.engine("history", kept, "--output", "json").stdout, `"served":[{"replica":"vol-1-r-0a1b2c3d","lvstore":"disk-1","state":"primary"`)

	w = twoHealthy(t)
	text := w.engine(append([]string{"rebuild", "--parallel", "1"}, args...)...)
	require.Equal(t, exitDone, text.status, "%s", text.stderr)
	require.Contains(t, text.stdout, "  source replica vol-1-r-0a1b2c3d on disk-1\n")
	require.Contains(t, text.stdout, "  source replica vol-1-r-4e5f6a7b on disk-2\n")
	require.Contains(t, text.stdout, "copied   snap11 from vol-1-r-0a1b2c3d on lvstore disk-1 (")
	require.Contains(t, text.stdout, "    192 KiB in 3 copies from vol-1-r-0a1b2c3d on lvstore disk-1\n")
}

func TestOneSourceIsNotListedAsSources(t *testing.T) {
	w := twoHealthy(t)
	told := w.engine("rebuild", "--source", healthyAt, "--destination", thirdAt, "--output", "json")
	require.NotContains(t, told.stdout, `"sources"`)
	w = twoHealthy(t)
	require.Contains(t, w.engine("rebuild", "--source", healthyAt, "--destination", thirdAt).stdout, "copied   snap11 (")
}

// The order of the sources does not matter.
func TestUnreachableSourceIsPassedOver(t *testing.T) {
	for _, sources := range [][]string{{nowhere, healthyAt}, {healthyAt, nowhere}} {
		w := twoHealthy(t)
		args := []string{"--source", sources[0], "--source", sources[1], "--destination", thirdAt}
		told := w.engine(append([]string{"plan"}, args...)...)
		require.Equal(t, exitDone, told.status, "%s", told.stderr)
		require.Contains(t, told.stdout, "  warning: a source is passed over: list the host of replica vol-1-r-7: ")
		told = w.engine(append([]string{"rebuild", "--output", "json"}, args...)...)
		require.Equal(t, exitDone, told.status, "%s", told.stdout)
		lost := sourcesOf(t, told.stdout)["vol-1-r-7"]
		require.Equal(t, "lost", lost.State)
		require.Contains(t, lost.Reason, "/nowhere.sock")
		w = twoHealthy(t)
		told = w.engine(append([]string{"rebuild"}, args...)...)
		require.Equal(t, exitDone, told.status, "%s", told.stderr)
		require.Contains(t, told.stdout, "  source replica vol-1-r-7: open target /nowhere.sock")
		require.Contains(t, told.stdout, "Warnings\n  source vol-1-r-7 is no longer used: ")
	}
}

func TestErrorListsEveryUnreachableSource(t *testing.T) {
	w := twoHealthy(t)
	before := w.stores()
	args := []string{"--source", nowhere, "--source", strings.ReplaceAll(nowhere, "7", "8"), "--destination", thirdAt}
	for _, command := range []string{"plan", "rebuild"} {
		told := w.engine(append([]string{command, "--output", "json"}, args...)...)
		require.Equal(t, exitFailed, told.status)
		require.Contains(t, told.stdout, "none of the 2 sources can be used: list the host of replica vol-1-r-7: ")
		require.Contains(t, told.stdout, "; list the host of replica vol-1-r-8: ")
	}
	requireShortLine(t, w.engine(append([]string{"plan"}, args...)...), exitFailed, "none of the 2 sources", "vol-1-r-7", "vol-1-r-8")
	require.Equal(t, before, w.stores())
	requireShortLine(t, w.engine("plan", "--source", nowhere, "--destination", thirdAt), exitFailed, "open target /nowhere.sock")
}

func TestSourceGivenTwiceIsUsageError(t *testing.T) {
	w := newWorld(t, twoHosts)
	requireShortLine(t, w.engine("rebuild", "--source", healthyAt, "--source", healthyAt, "--destination", hurtAt), exitUsage, "given twice")
	requireShortLine(t, w.engine("rebuild", "--source", healthyAt, "--source", "nonsense", "--destination", hurtAt), exitUsage, `--source "nonsense"`)
	other := healthyAt + "&listen=127.0.0.1:1-2" // the same one by another address
	told := w.engine("plan", "--source", healthyAt, "--source", other, "--destination", hurtAt)
	requireShortLine(t, told, exitFailed, "given as a source twice")
}

// The rebuild is refused if another source has more than the first one.
func TestDifferingSourcesNeedRightSource(t *testing.T) {
	w := twoHealthy(t)
	ran := w.engine("snapshot", "create", secondAt, "newest")
	require.Equal(t, exitDone, ran.status, "%s", ran.stderr)
	before := w.stores()
	args := []string{"--source", healthyAt, "--source", secondAt, "--destination", thirdAt}
	const says = "only vol-1-r-4e5f6a7b on lvstore disk-2 has snapshot newest (0 clusters of its own)"
	for _, command := range []string{"plan", "rebuild"} {
		told := w.engine(append([]string{command}, args...)...)
		require.Equal(t, exitFailed, told.status)
		require.Contains(t, told.stdout+told.stderr, says+"; name the right source")
		told = w.engine(append([]string{command, "--output", "json"}, args...)...)
		require.Equal(t, exitFailed, told.status)
		require.Contains(t, told.stdout, `"outcome":"refused","error":"the sources differ`)
		require.Contains(t, told.stdout, `"warnings":["`+says+`"]`)
		told = w.engine(append([]string{command, "--right-source", "vol-1-r-9"}, args...)...)
		require.Equal(t, exitUsage, told.status)
		require.Contains(t, told.stderr, "--right-source vol-1-r-9: no --source names that replica")
	}
	require.Equal(t, before, w.stores())
	told := w.engine(append([]string{"rebuild", "--right-source", "vol-1-r-4e5f6a7b", "--output", "json"}, args...)...)
	require.Equal(t, exitDone, told.status, "%s", told.stdout)
	require.Equal(t, "primary", sourcesOf(t, told.stdout)["vol-1-r-4e5f6a7b"].State)
	require.Contains(t, told.stdout, `"name":"newest"`)
}
