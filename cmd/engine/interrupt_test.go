package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestInterruptedSimulationPrintsResult(t *testing.T) {
	interrupted, interrupt := context.WithCancel(t.Context())
	interrupt()

	const file = "testdata/scenarios/upstream.yaml"
	told := engineIn(interrupted, "simulate", file, "--output", "json")
	require.Equal(t, exitFailed, told.status)
	require.Empty(t, told.stderr)
	r := printed(t, told.stdout, true)
	require.Equal(t, "failed", r["outcome"])
	require.Contains(t, r["error"], "context canceled")
	require.Len(t, list(t, r["destination"].(map[string]any), "snapshots"), 1, "what is there is shown")

	told = engineIn(interrupted, "simulate", file)
	require.Equal(t, exitFailed, told.status)
	require.Contains(t, told.stdout, "Verdict\n  failed: ")
}

func TestCtrlCStopsRebuild(t *testing.T) {
	if file := os.Getenv("ENGINE_TEST_MAIN"); file != "" {
		os.Args = []string{"engine", "simulate", file}
		main()
		return
	}
	// With 20,000 snapshots it cannot end before the signal arrives.
	var text strings.Builder
	text.WriteString("apiVersion: rebuild/v1\nvolume: {name: vol-1, size: 64KiB, clusterSize: 4KiB}\noptions: {fast: false}\nruns: 100\nsource:\n  snapshots:\n    - {name: s0}\n")
	for i := range 200 {
		fmt.Fprintf(&text, "    - {name: s%d, parent: s%d, writes: [{offset: 0, length: 1, seed: 1}]}\n", i+1, i)
	}
	file := filepath.Join(t.TempDir(), "long.yaml")
	require.NoError(t, os.WriteFile(file, []byte(text.String()), 0o600))

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	command := exec.CommandContext(ctx, os.Args[0], "-test.run", "^"+t.Name()+"$")
	command.Env = append(os.Environ(), "ENGINE_TEST_MAIN="+file)
	stdout, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	verdict := ""
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		switch {
		case lines.Text() == "Run 1 of 100":
			require.NoError(t, command.Process.Signal(os.Interrupt))
		case strings.HasPrefix(lines.Text(), "  failed: "):
			verdict = lines.Text()
		}
	}
	_ = command.Wait() // the exit status tells
	require.Equal(t, exitFailed, command.ProcessState.ExitCode())
	require.Contains(t, verdict, "interrupted; run it again to continue", "it is told, not cut off")
}
