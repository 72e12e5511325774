package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// requireServed expects that clients did something meanwhile, and saw no error or other bytes.
func requireServed(t *testing.T, object map[string]any) {
	t.Helper()
	clients := object["clients"].(map[string]any)
	for _, kind := range []string{"reads", "writes", "trims", "zeroes"} {
		require.NotEqual(t, json.Number("0"), clients[kind], kind)
	}
	require.Equal(t, json.Number("0"), clients["failed"])
	require.Equal(t, json.Number("0"), clients["wrong"])
	require.Empty(t, clients["differ"])
}

func modesOf(t *testing.T, object map[string]any) (modes []string) {
	t.Helper()
	for _, m := range list(t, object["online"].(map[string]any), "members") {
		modes = append(modes, m["mode"].(string))
	}
	return modes
}

func TestClientsAreServedDuringSimulatedRebuild(t *testing.T) {
	t.Parallel()
	status, r := simulateFaults(t, "online: {members: 2, writers: 3, seed: 5, freezeLimit: 2s}\n")
	require.Equal(t, exitDone, status, r["error"])
	requireServed(t, r)
	online := r["online"].(map[string]any)
	require.Regexp(t, "^rebuild-cut-[0-9a-f]{8}$", online["cut"])
	require.Equal(t, json.Number("2"), online["freezes"])
	require.NotEqual(t, json.Number("0"), online["freezeMs"])
	require.Equal(t, []string{"RW", "RW", "RW"}, modesOf(t, r))
	for _, m := range list(t, online, "members") {
		require.NotEmpty(t, m["since"])
	}
	require.Equal(t, viewsOf(t, r["source"]), viewsOf(t, r["destination"]))
}

func TestSimulatedRebuildOutlivesItsSource(t *testing.T) {
	t.Parallel()
	status, r := simulateFaults(t, "online: {members: 3, dies: {member: 1, call: copy, nth: 2}}\n")
	require.Equal(t, exitDone, status, r["error"])
	requireServed(t, r)
	require.Equal(t, []string{"ERR", "RW", "RW", "RW"}, modesOf(t, r))
	require.Equal(t, []any{"copy 2 on the source: member 1 dies"}, list(t, r, "runs")[0]["faults"])
	require.Equal(t, viewsOf(t, r["source"]), viewsOf(t, r["destination"]))
}

func TestSimulatedVolumeDiesWithItsOnlyMember(t *testing.T) {
	t.Parallel()
	many := strings.Replace(faulty, "size: 8MiB", "size: 64MiB, clusterSize: 64KiB", 1) // not all are written in time
	status, r := simulateText(t, many+"online: {members: 1, dies: {member: 1, call: copy, nth: 2}}\n")
	require.Equal(t, exitFailed, status)
	require.Nil(t, r["destination"].(map[string]any)["head"])
	require.NotEqual(t, json.Number("0"), r["clients"].(map[string]any)["failed"])
}

// The second run finds what a crashed engine has left, and the volume.
func TestSimulatedRebuildAfterEngineCrash(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"snapshot", "show", "copy", "graft", "rename"} {
		t.Run(call, func(t *testing.T) {
			t.Parallel()
			status, r := simulateFaults(t, "runs: 2\nonline: {seed: 3}\nfaults: [{crash: {call: "+call+", after: true}}]\n")
			require.Equal(t, exitDone, status, r["error"])
			runs := list(t, r, "runs")
			require.Equal(t, "failed", runs[0]["outcome"])
			requireServed(t, r)
			require.Equal(t, viewsOf(t, r["source"]), viewsOf(t, r["destination"]))
		})
	}
}

func TestUserTakesSnapshotDuringSimulatedRebuild(t *testing.T) {
	t.Parallel()
	status, r := simulateFaults(t, "online: {members: 2, snapshot: {name: daily, call: copy, nth: 2}}\n")
	require.Equal(t, exitDone, status, r["error"])
	requireServed(t, r)
	snapshot := r["snapshot"].(map[string]any)
	require.Equal(t, "daily", snapshot["name"])
	require.Equal(t, "", snapshot["error"])
	require.NotEqual(t, json.Number("0"), snapshot["freezeMs"])
	require.Contains(t, viewsOf(t, r["source"]), "daily")
	require.Equal(t, viewsOf(t, r["source"]), viewsOf(t, r["destination"]))
}

func TestDeathThatDidNotOccurIsWarnedOf(t *testing.T) {
	t.Parallel()
	_, r := simulateFaults(t, "online: {dies: {member: 2, call: copy, nth: 9}}\n")
	require.Equal(t, []any{"online.dies did not occur (copy 9 on the source: member 2 dies); matching calls in run 1: 4"}, r["warnings"])

	_, r = simulateFaults(t, "online: {snapshot: {name: daily, call: copy, nth: 9}}\n")
	require.Equal(t, []any{"online.snapshot was not taken: the call (copy 9 on the source) did not occur in run 1"}, r["warnings"])
}
