package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

const faulty = `apiVersion: rebuild/v1
volume: {name: vol-1, size: 8MiB}
backingImage: {name: base, size: 2MiB, writes: [{offset: 0, length: 2MiB, seed: 1}]}
source:
  snapshots:
    - {name: snap1, writes: [{offset: 0, length: 1MiB, seed: 11}]}
    - {name: snap2, parent: snap1, writes: [{offset: 2MiB, length: 3MiB, seed: 12}]}
    - {name: snap3, parent: snap2, writes: [{offset: 6MiB, length: 1MiB, seed: 13}]}
options: {parallel: 1}
`

// simulateFaults plays the scenario with these lines added.
func simulateFaults(t *testing.T, lines string) (status int, object map[string]any) {
	t.Helper()
	return simulateText(t, faulty+lines)
}

func simulateText(t *testing.T, text string) (status int, object map[string]any) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "faulty.yaml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	told := engine(t, "simulate", file, "--output", "json")
	require.Empty(t, told.stderr)
	return told.status, printed(t, told.stdout, true)
}

// The exit status and all fields but the runs are those of the last run.
func TestRunAfterCrashCompletes(t *testing.T) {
	const crash = "faults: [{crash: {call: graft, nth: 2}}]\n"
	status, r := simulateFaults(t, crash)
	require.Equal(t, exitFailed, status)
	require.Equal(t, "failed", r["outcome"])
	require.Equal(t, "graft 2 on the destination: the engine crashes", r["error"])
	require.Nil(t, r["destination"].(map[string]any)["head"])
	require.Len(t, list(t, r["destination"].(map[string]any), "others"), 1, "nobody has cleaned up")

	status, r = simulateFaults(t, crash+"runs: 2\n")
	require.Equal(t, exitDone, status)
	require.Equal(t, "complete", r["outcome"])
	require.Equal(t, viewsOf(t, r["source"]), viewsOf(t, r["destination"]))
	require.Empty(t, list(t, r["destination"].(map[string]any), "others"))
	require.Equal(t, json.Number("4194304"), r["copiedBytes"])
	runs := list(t, r, "runs")
	require.Len(t, runs, 2)
	require.Equal(t, "failed", runs[0]["outcome"])
	require.Equal(t, []any{"snap1"}, runs[0]["sealed"])
	require.Equal(t, []any{"graft 2 on the destination: the engine crashes"}, runs[0]["faults"])
	require.Equal(t, []any{"snap1"}, runs[1]["kept"])
	require.Equal(t, []any{"snap2", "snap3"}, runs[1]["sealed"])
	require.Empty(t, runs[1]["faults"])
}

func TestEveryKindOfFaultStrikes(t *testing.T) {
	for name, c := range map[string]struct {
		fault string
		first string // outcome of the first run
	}{
		"unavailable":                 {"{call: copy, nth: 2, error: unavailable}", "complete"},
		"unavailable for good":        {"{call: receive, nth: 2, error: unavailable, times: 100}", "failed"},
		"busy":                        {"{call: create, error: busy}", "complete"},
		"no space":                    {"{call: create, nth: 3, error: no-space}", "failed"},
		"not found":                   {"{call: seal, error: not-found}", "failed"},
		"timeout":                     {"{call: clone, error: timeout}", "failed"},
		"lost answer":                 {"{call: seal, nth: 2, error: answer-lost}", "complete"},
		"cut off":                     {"{call: copy, nth: 2, error: cut-off}", "complete"},
		"missing cluster":             {"{call: copy, nth: 2, error: missing-cluster}", "complete"},
		"extra cluster":               {"{call: copy, nth: 2, error: extra-cluster}", "complete"},
		"other bytes":                 {"{call: copy, nth: 2, error: other-bytes}", "complete"},
		"other place":                 {"{call: copy, nth: 2, error: other-place}", "complete"},
		"engine":                      {"{crash: {call: seal, nth: 2}}", "failed"},
		"engine, after the call":      {"{crash: {call: clone, after: true, of: engine}}", "failed"},
		"engine, while a copy is on":  {"{crash: {call: copy, nth: 2, after: true}}", "failed"},
		"target":                      {"{crash: {call: seal, nth: 2, of: target}}", "complete"},
		"target, after the call":      {"{crash: {call: seal, nth: 2, of: target, after: true}}", "complete"},
		"the source's target":         {"{crash: {call: copy, nth: 2, of: target}}", "complete"},
		"a call that both hosts have": {"{call: look, nth: 2, side: source, error: no-space}", "failed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, r := simulateFaults(t, "runs: 2\nfaults: ["+c.fault+"]\n")
			require.Equal(t, exitDone, status)
			require.Empty(t, r["warnings"])
			require.Equal(t, viewsOf(t, r["source"]), viewsOf(t, r["destination"]))
			runs := list(t, r, "runs")
			require.Equal(t, c.first, runs[0]["outcome"], runs[0]["error"])
			require.NotEmpty(t, runs[0]["faults"])
			require.Empty(t, runs[1]["faults"])
		})
	}
}

func TestUnusedFaultIsWarnedOf(t *testing.T) {
	_, r := simulateFaults(t, "runs: 2\nfaults: [{call: seal, nth: 9, error: busy}, {call: prove, nth: 1, error: busy, run: 2}]\n")
	require.Equal(t, []any{"faults[0] did not occur (seal 9 on the destination: busy); matching calls in run 1: 3"}, r["warnings"])

	// No run follows one that was refused or failed without a fault.
	_, r = simulateFaults(t, "runs: 2\ndestination: {freeClusters: 1}\nfaults: [{call: seal, run: 2, error: busy}]\n")
	require.Equal(t, "refused", r["outcome"])
	require.Len(t, list(t, r, "runs"), 1)
	require.Equal(t, []any{"faults[0] did not occur (seal 1 on the destination: busy); there was no run 2"}, r["warnings"])
}

// The next run finds corrupt data by its checksum, and copies it again.
func TestCorruptCopyIsCopiedAgain(t *testing.T) {
	_, r := simulateFaults(t, "runs: 2\nfaults: [{call: copy, nth: 2, error: other-bytes}]\n")
	require.Equal(t, []any{"snap1", "snap3"}, list(t, r, "runs")[1]["kept"])
	require.Equal(t, []any{"snap2"}, list(t, r, "runs")[1]["sealed"])
}
