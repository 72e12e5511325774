package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const otherVolumeAt = hostB + "&replica=vol-7-r-1"

// withAnotherVolume is a world with a replica of another volume on disk-2.
func withAnotherVolume(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, twoHosts)
	for _, args := range [][]string{
		{"replica", "create", otherVolumeAt, "--size", "512KiB", "--image", "base"},
		{"snapshot", "create", otherVolumeAt, "mine"},
	} {
		ran := w.engine(args...)
		require.Equal(t, exitDone, ran.status, "%s", ran.stderr)
	}
	return w
}

// A rebuild that would overwrite the wrong replica asks for its name, as a revert does.
func TestOverwritingAnotherVolumeNeedsConfirmation(t *testing.T) {
	args := []string{"--source", healthyAt, "--destination", otherVolumeAt}
	const says = "replica vol-7-r-1 on lvstore disk-2 is named as a replica of another volume than source vol-1-r-0a1b2c3d on lvstore disk-1, " +
		"and its data would be deleted: snapshot mine (0 clusters of its own); to accept that, confirm the name vol-7-r-1"
	w := withAnotherVolume(t)
	before := w.stores()
	for _, command := range []string{"plan", "rebuild"} {
		told := w.engine(append([]string{command}, args...)...)
		require.Equal(t, exitFailed, told.status)
		require.Contains(t, told.stdout+told.stderr, says)
		told = w.engine(append([]string{command, "--output", "json"}, args...)...)
		require.Equal(t, exitFailed, told.status)
		require.Contains(t, told.stdout, `"outcome":"refused","error":"`+says+`"`)
		for _, wrong := range []string{"vol-1-r-0a1b2c3d", "", "vol-7-r-1 "} {
			requireShortLine(t, w.engine(append([]string{command, "--confirm", wrong}, args...)...), exitUsage, "expected vol-7-r-1", "nothing was changed")
		}
	}
	w.typed = "vol-1-r-0a1b2c3d\n"
	told := w.engine(append([]string{"rebuild"}, args...)...)
	require.Equal(t, exitUsage, told.status)
	require.Contains(t, told.stderr, says+". Type its name to continue: ")
	require.Contains(t, told.stderr, "nothing was changed")
	w.typed = ""
	require.Equal(t, before, w.stores())

	told = w.engine(append([]string{"plan", "--confirm", "vol-7-r-1", "--output", "json"}, args...)...)
	require.Equal(t, exitDone, told.status, "%s", told.stdout)
	const deleted = `"deleted":[{"lvol":"vol-7-r-1","clusters":0},{"lvol":"vol-7-r-1-snap-mine","clusters":0}]`
	require.Contains(t, told.stdout, deleted)
	require.Equal(t, before, w.stores())

	told = w.engine(append([]string{"rebuild", "--confirm", "vol-7-r-1", "--output", "json"}, args...)...)
	require.Equal(t, exitDone, told.status, "%s", told.stdout)
	require.Contains(t, told.stdout, deleted)
	printed(t, told.stdout, false)

	w = withAnotherVolume(t)
	w.typed = "vol-7-r-1\n"
	told = w.engine(append([]string{"rebuild"}, args...)...)
	require.Equal(t, exitDone, told.status, "%s", told.stdout)
	require.Contains(t, told.stdout, "  deleted 2 lvols with 0 clusters: vol-7-r-1 (0), vol-7-r-1-snap-mine (0)\n")
}

// A failed replica of the same volume needs no confirmation.
func TestResultListsDeletedLvols(t *testing.T) {
	w := newWorld(t, twoHosts)
	ran := w.engine("snapshot", "create", hurtAt, "mine")
	require.Equal(t, exitDone, ran.status, "%s", ran.stderr)
	told := w.engine("plan", "--source", healthyAt, "--destination", hurtAt, "--fast=false")
	require.Equal(t, exitDone, told.status, "%s", told.stderr)
	require.Regexp(t, `remove +mine +the source has no such snapshot\n`, told.stdout)
	require.Regexp(t, `copy +snap12 .*since fast rebuild is off \(deletes 2 clusters\)\n`, told.stdout)
	told = w.engine("rebuild", "--source", healthyAt, "--destination", hurtAt, "--fast=false")
	require.Equal(t, exitDone, told.status, "%s", told.stdout)
	require.Contains(t, told.stdout, "  deleted 6 lvols with 3 clusters: vol-1-r-4e5f6a7b (0), ")
	for _, name := range []string{"mine (0)", "snap11 (1)", "snap12 (2)", "snap21 (0)"} {
		require.Contains(t, told.stdout, "vol-1-r-4e5f6a7b-snap-"+name)
	}
	require.Equal(t, 1, strings.Count(told.stdout, "  deleted 6 lvols"))
}

func TestSimulatedHeadShrinksOnlyIfAllowed(t *testing.T) {
	const text = `apiVersion: rebuild/v1
volume: {name: vol-1, size: 4MiB}
source: {snapshots: [{name: a, writes: [{offset: 0, length: 1MiB, seed: 1}]}]}
destination: {lvols: [{name: vol-1-r-2, size: 8MiB, writes: [{offset: 7MiB, length: 1MiB, seed: 2}]}]}
`
	file := filepath.Join(t.TempDir(), "shrink.yaml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	told := printed(t, engine(t, "simulate", file, "--output", "json").stdout, true)
	require.Equal(t, "refused", told["outcome"])
	require.Contains(t, told["error"], "would shrink from 8388608 to the 4194304 bytes")
	require.NoError(t, os.WriteFile(file, []byte(text+"options: {overwrite: true}\n"), 0o600))
	told = printed(t, engine(t, "simulate", file, "--output", "json").stdout, true)
	require.Equal(t, "complete", told["outcome"])
	require.Equal(t, "vol-1-r-2", list(t, told, "deleted")[0]["lvol"])
}
