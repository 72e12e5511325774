// Package e2e tests the built program on real SPDK targets.
package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// engine is the built program.
type engine struct{ path string }

var program engine

// result is the part of the program's JSON that the tests check.
type result struct {
	Outcome     string
	Error       string
	Plan        []planned
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
	Warnings    []string
	Notices     []string
	CopiedBytes uint64
	Sources     []struct {
		Replica, State, Reason string
		Snapshots              []string
		CopiedBytes            uint64
	}
}

type planned struct{ Snapshot, Parent, Action, Reason string }

// actions are the plan's actions by snapshot.
func (r result) actions() map[string]string {
	actions := make(map[string]string)
	for _, p := range r.Plan {
		if p.Snapshot != "" {
			actions[p.Snapshot] = p.Action
		}
	}
	return actions
}

// process is a running program.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr bytes.Buffer
	ended          chan struct{}
}

// start runs the program until it ends or the test does.
func (e engine) start(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(e.path, args...), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	require.NoError(t, p.cmd.Start())
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // the status tells
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended
		<-p.ended
	})
	return p
}

// startRebuild starts engine rebuild with JSON output.
func (e engine) startRebuild(t *testing.T, source, destination string, flags ...string) *process {
	t.Helper()
	return e.start(t, append([]string{"rebuild", "--source", source, "--destination", destination, "--output", "json", "--log", "warn"}, flags...)...)
}

func (p *process) signal(t *testing.T, signal syscall.Signal) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(signal))
}

func (p *process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// status waits for the end.
func (p *process) status() int {
	<-p.ended
	return p.cmd.ProcessState.ExitCode()
}

// result waits for the end and decodes the output.
func (p *process) result(t *testing.T) (result, int) {
	t.Helper()
	status := p.status()
	var r result
	require.NoError(t, json.Unmarshal(p.stdout.Bytes(), &r), "status %d, stdout %q, stderr %q", status, p.stdout.String(), p.stderr.String())
	return r, status
}

// rebuild runs engine rebuild to its end, and checks that there is no warning.
func (e engine) rebuild(t *testing.T, source, destination string, flags ...string) (result, int) {
	t.Helper()
	p := e.startRebuild(t, source, destination, flags...)
	r, status := p.result(t)
	require.Empty(t, unexpected(p.stderr.String()), "warnings and errors on stderr")
	return r, status
}

// unexpected removes expected lines: that something was busy for seconds, since other
// tests use these targets and the machine may be slow; that an image is unverified, on
// targets without checksums; and that Longhorn's engine, which does not run here, would
// notice the system snapshot of a head.
func unexpected(stderr string) string { return mayBeSaid.ReplaceAllString(stderr, "") }

var mayBeSaid = regexp.MustCompile(`(?m)^(engine: waiting |.*warn.*its bytes are unverified|.*warn.*with its bytes unverified|.*warn.*gets snapshot rebuild-[0-9a-f]{8}: if Longhorn's engine knows the replica).*\n`)

// requireNoWarning accepts the warning that the head of a Longhorn replica got a system
// snapshot: its engine does not run here.
func requireNoWarning(t *testing.T, warnings []string) {
	t.Helper()
	require.Empty(t, slices.DeleteFunc(slices.Clone(warnings), isOfLonghorn))
}

func isOfLonghorn(warning string) bool {
	return strings.Contains(warning, "gets snapshot rebuild-") && strings.Contains(warning, "if Longhorn's engine knows the replica")
}

// mustRebuild is rebuild that must succeed.
func (e engine) mustRebuild(t *testing.T, source, destination string, flags ...string) result {
	t.Helper()
	r, status := e.rebuild(t, source, destination, flags...)
	require.Zero(t, status, "%+v", r)
	require.Equal(t, "complete", r.Outcome)
	require.Empty(t, r.Violations)
	return r
}

func (p *place) address(replica string) string { return address(p.target.Socket, p.lvstore, replica) }

func address(socket, lvstore, replica string) string {
	return fmt.Sprintf("unix://%s?lvs=%s&replica=%s", socket, lvstore, replica)
}

// makeDiskImage makes a real disk image, an ext4 file system with files in it,
// and returns its bytes.
func makeDiskImage(t *testing.T, clusters int) (image []byte, files map[string]string) {
	t.Helper()
	mke2fs := findTool(t, "mke2fs")
	files = map[string]string{"hostname": "rebuilt\n", "big": strings.Repeat("all work and no zeros ", 50_000)}
	root := t.TempDir()
	for name, text := range files {
		require.NoError(t, os.WriteFile(root+"/"+name, []byte(text), 0o600))
	}
	path := t.TempDir() + "/disk.img"
	out, err := exec.Command(mke2fs, "-q", "-t", "ext4", "-d", root, path, fmt.Sprintf("%dk", clusters*clusterSize/1024)).CombinedOutput()
	require.NoError(t, err, "%s", out)
	image, err = os.ReadFile(path)
	require.NoError(t, err)
	require.Len(t, image, clusters*clusterSize)
	return image, files
}

// requireFiles checks the file system in an lvol's data.
func requireFiles(t *testing.T, view []byte, files map[string]string) {
	t.Helper()
	debugfs := findTool(t, "debugfs")
	path := t.TempDir() + "/view.img"
	require.NoError(t, os.WriteFile(path, view, 0o600))
	for name, text := range files {
		out, err := exec.Command(debugfs, "-R", "cat /"+name, path).Output()
		require.NoError(t, err)
		require.True(t, string(out) == text, "file %s of the image has other bytes", name)
	}
}

// findTool finds a tool of e2fsprogs, also if root's directories are not on the PATH.
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
