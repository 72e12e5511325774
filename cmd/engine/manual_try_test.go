package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var shellBlock = regexp.MustCompile("(?s)```sh\n(.*?)```")

// The manual's shell script for simulated targets ends with a rebuilt replica.
func TestManualShellScriptWorks(t *testing.T) {
	for _, tool := range []string{"bash", "python3", "truncate"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("the manual uses %s, which is not here", tool)
		}
	}
	blocks := shellBlock.FindAllStringSubmatch(documents(t)["commands.md"], -1)
	require.Len(t, blocks, 1)
	dir := shortDir(t)
	program := fmt.Sprintf("#!/bin/sh\nENGINE_TEST_ARGS=\"$(printf '%%s\\n' \"$@\")\" exec '%s'\n", os.Args[0])
	require.NoError(t, os.WriteFile(filepath.Join(dir, "engine"), []byte(program), 0o700))
	script := "set -e\ntrap 'kill $!' EXIT\n" + strings.ReplaceAll(blocks[0][1], "/tmp/", dir+"/")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	shell := exec.CommandContext(ctx, "bash", "-c", script)
	shell.Cancel = func() error { return shell.Process.Signal(syscall.SIGTERM) } // its trap ends the targets
	shell.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	out, err := os.Create(filepath.Join(dir, "out")) // no pipe, which the targets would keep open
	require.NoError(t, err)
	defer out.Close()
	shell.Stdout, shell.Stderr = out, out
	err = shell.Run()
	text, readErr := os.ReadFile(out.Name())
	require.NoError(t, readErr)
	require.NoError(t, err, "%s", text)
	require.Contains(t, string(text), "\nVerdict\n  complete\n")
	require.Contains(t, string(text), "  no difference between the replicas\n")
	require.Contains(t, string(text), "  clients had to stand still 2 times, ")
	require.Contains(t, string(text), " on 3 members: deleted; it merged into head\n")
	require.Regexp(t, `CLUSTERS +1 +2 +3\nfirst +0 +0 +0\n\(head\)`, string(text))
	require.Contains(t, string(text), "deleted volume vol-1\n")
}
