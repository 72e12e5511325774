// Package e2e tests the engine as its users run it: the built program against
// real SPDK targets.
package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// engine is the built program.
type engine struct{ path string }

func buildEngine(t *testing.T) engine {
	t.Helper()
	path := filepath.Join(t.TempDir(), "engine")
	out, err := exec.Command("go", "build", "-o", path, "github.com/rootgraft/rebuild/cmd/engine").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return engine{path}
}

// result is what of the program's JSON these tests look at.
type result struct {
	Outcome     string
	Error       string
	Plan        []struct{ Snapshot, Parent, Action, Reason string }
	Destination struct {
		BackingImage string
		Head         *struct{ Parent string }
		Snapshots    []struct {
			Name, Parent, CreatedAt string
			UserCreated             bool
		}
		Others []struct{ Name string }
	}
	Violations  []struct{ Subject, Rule, Detail string }
	CopiedBytes uint64
}

// rebuild runs engine rebuild and returns what it printed and its exit status.
func (e engine) rebuild(t *testing.T, source, destination string, flags ...string) (result, int) {
	t.Helper()
	args := append([]string{"rebuild", "--source", source, "--destination", destination, "--output", "json", "--log", "warn"}, flags...)
	command := exec.Command(e.path, args...)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	err := command.Run()
	status := command.ProcessState.ExitCode()
	if status < 0 {
		require.NoError(t, err)
	}
	require.Empty(t, stderr.String(), "warnings and errors on stderr")
	var r result
	require.NoError(t, json.Unmarshal(stdout.Bytes(), &r), "%s", stdout.String())
	return r, status
}

func address(socket, lvstore, replica string) string {
	return fmt.Sprintf("unix://%s?lvs=%s&replica=%s", socket, lvstore, replica)
}

// makeDiskImage makes a real disk image, an ext4 file system with files in it,
// and returns its bytes.
func makeDiskImage(t *testing.T, clusters int) (image []byte, files map[string]string) {
	t.Helper()
	mke2fs := findTool(t, "mke2fs")
	files = map[string]string{"hostname": "rebuilt\n", "big": string(bytes.Repeat([]byte("all work and no zeros "), 50_000))}
	root := t.TempDir()
	for name, text := range files {
		require.NoError(t, os.WriteFile(filepath.Join(root, name), []byte(text), 0o600))
	}
	path := filepath.Join(t.TempDir(), "disk.img")
	out, err := exec.Command(mke2fs, "-q", "-t", "ext4", "-d", root, path, fmt.Sprintf("%dk", clusters*clusterSize/1024)).CombinedOutput()
	require.NoError(t, err, "%s", out)
	image, err = os.ReadFile(path)
	require.NoError(t, err)
	require.Len(t, image, clusters*clusterSize)
	return image, files
}

// requireFiles opens a view as the file system that it should be.
func requireFiles(t *testing.T, view []byte, files map[string]string) {
	t.Helper()
	debugfs := findTool(t, "debugfs")
	path := filepath.Join(t.TempDir(), "view.img")
	require.NoError(t, os.WriteFile(path, view, 0o600))
	for name, text := range files {
		out, err := exec.Command(debugfs, "-R", "cat /"+name, path).Output()
		require.NoError(t, err)
		require.True(t, string(out) == text, "file %s of the image has other bytes", name)
	}
}

// findTool finds a tool of e2fsprogs, also where root's directories are not on
// the PATH.
func findTool(t *testing.T, name string) string {
	t.Helper()
	for _, candidate := range []string{name, "/usr/sbin/" + name, "/sbin/" + name} {
		if path, err := exec.LookPath(candidate); err == nil {
			return path
		}
	}
	t.Skipf("no %s found (PATH, /usr/sbin, /sbin): it comes with e2fsprogs", name)
	return ""
}
