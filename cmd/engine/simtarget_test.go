package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild"
	"github.com/rootgraft/rebuild/spdkhost"
)

// TestMain runs the program instead of the tests if a test started it for that.
func TestMain(m *testing.M) {
	if line := os.Getenv("ENGINE_TEST_ARGS"); line != "" {
		os.Args = append([]string{"engine"}, strings.Split(line, "\n")...)
		main()
		return
	}
	os.Exit(m.Run())
}

// program starts this program as a process, and returns once it has printed that many
// lines.
func program(t *testing.T, lines int, args ...string) (*exec.Cmd, []string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "ENGINE_TEST_ARGS="+strings.Join(args, "\n"))
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	var printed []string
	for scanner := bufio.NewScanner(stdout); len(printed) < lines && scanner.Scan(); {
		printed = append(printed, scanner.Text())
	}
	require.Len(t, printed, lines)
	go func() { _, _ = io.Copy(io.Discard, stdout) }()
	return cmd, printed
}

// shortDir is a directory with a path short enough for sockets.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sim")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

// rpc does one call, which must succeed.
func rpc(t *testing.T, socket, method string, params map[string]any) json.RawMessage {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
	require.NoError(t, json.NewEncoder(conn).Encode(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
	var answer struct{ Result, Error json.RawMessage }
	require.NoError(t, json.NewDecoder(conn).Decode(&answer))
	require.Empty(t, answer.Error, "%s", method)
	return answer.Result
}

func newDisk(t *testing.T, socket, file string) {
	t.Helper()
	rpc(t, socket, "bdev_aio_create", map[string]any{"name": "disk", "filename": file, "block_size": 4096})
}

func openStore(t *testing.T, socket string) *spdkhost.Host {
	t.Helper()
	h, err := spdkhost.Open(t.Context(), spdkhost.Config{Socket: socket, Lvstore: "store"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	return h
}

func TestSimtargetKeepsStateWhenKilled(t *testing.T) {
	for _, flavour := range []string{"fork", "upstream"} {
		t.Run(flavour, func(t *testing.T) {
			dir := shortDir(t)
			a, b, file := filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "disk")
			require.NoError(t, os.WriteFile(file, nil, 0o600))
			require.NoError(t, os.Truncate(file, 66<<20))
			args := []string{"simtarget", "--socket", a, "--socket", b, "--flavour", flavour, "--state", filepath.Join(dir, "state")}
			targets, printed := program(t, 2, args...)
			require.Equal(t, []string{
				fmt.Sprintf("%s: a simulated %s target answers", a, flavour),
				fmt.Sprintf("%s: a simulated %s target answers", b, flavour),
			}, printed)

			newDisk(t, a, file)
			rpc(t, a, "bdev_lvol_create_lvstore", map[string]any{"bdev_name": "disk", "lvs_name": "store", "cluster_sz": 1 << 20})
			h := openStore(t, a)
			ctx := t.Context()
			l, err := h.Create(ctx, "vol-1-rebuilding-00000001", 4<<20)
			require.NoError(t, err)
			snapshot, err := h.Seal(ctx, l, "vol-1-snap-a", rebuild.SealRecord{Attributes: rebuild.Attributes{UserCreated: true}})
			require.NoError(t, err)
			_, err = h.Clone(ctx, snapshot, "vol-1", 5<<20, "base")
			require.NoError(t, err)
			before, err := h.List(ctx)
			require.NoError(t, err)
			require.Len(t, before.Lvols, 2)

			require.NoError(t, targets.Process.Kill())
			_ = targets.Wait()
			again, _ := program(t, 2, args...)
			require.JSONEq(t, "[]", string(rpc(t, a, "bdev_lvol_get_lvstores", nil)), "its disk is not there yet")
			newDisk(t, b, file) // any target with that state has it
			after, err := openStore(t, b).List(ctx)
			require.NoError(t, err)
			require.Equal(t, before, after)

			require.NoError(t, again.Process.Signal(syscall.SIGTERM))
			require.NoError(t, again.Wait(), "status 0")
			require.NoFileExists(t, a)
		})
	}
}

func TestSimtargetRefusesLvstoreItCannotKeep(t *testing.T) {
	dir := shortDir(t)
	socket, file := filepath.Join(dir, "a"), filepath.Join(dir, "disk")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.NoError(t, os.Truncate(file, 66<<20))
	state := filepath.Join(dir, "state")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan ran, 1)
	reader, writer := io.Pipe()
	go func() {
		var stderr bytes.Buffer
		status := run(ctx, []string{"simtarget", "--socket", socket, "--state", state}, writer, &stderr)
		ended <- ran{status: status, stderr: stderr.String()}
	}()
	_, err := bufio.NewReader(reader).ReadString('\n')
	require.NoError(t, err)
	newDisk(t, socket, file)
	require.NoError(t, os.RemoveAll(state))
	require.NoError(t, os.WriteFile(state, nil, 0o600))
	conn, err := net.Dial("unix", socket)
	require.NoError(t, err)
	defer conn.Close()
	fmt.Fprint(conn, `{"jsonrpc":"2.0","id":1,"method":"bdev_lvol_create_lvstore","params":{"bdev_name":"disk","lvs_name":"store"}}`)
	var answer struct{ Error struct{ Message string } }
	require.NoError(t, json.NewDecoder(conn).Decode(&answer))
	require.Equal(t, "Input/output error", answer.Error.Message, "nothing is lost yet")
	cancel()
	require.Equal(t, exitDone, (<-ended).status)
}

// simtargets is a running engine simtarget.
type simtargets struct {
	sockets []string
	lines   *bufio.Scanner
	stop    context.CancelFunc
	ended   chan ran
}

func startSimtargets(t *testing.T, targets int, args ...string) *simtargets {
	t.Helper()
	dir := shortDir(t)
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	s := &simtargets{stop: stop, ended: make(chan ran, 1)}
	args = append([]string{"simtarget"}, args...)
	for n := range targets {
		s.sockets = append(s.sockets, filepath.Join(dir, string(rune('a'+n))))
		args = append(args, "--socket", s.sockets[n])
	}
	reader, writer := io.Pipe()
	go func() {
		var stderr bytes.Buffer
		status := run(ctx, args, writer, &stderr)
		_ = writer.Close()
		s.ended <- ran{status: status, stderr: stderr.String()}
	}()
	s.lines = bufio.NewScanner(reader)
	return s
}

// printed reads on to a command, and returns its arguments.
func (s *simtargets) printed(command string) (args []string) {
	for s.lines.Scan() && !strings.HasPrefix(s.lines.Text(), command) {
	}
	text := strings.TrimSuffix(s.lines.Text(), "\\")
	for strings.HasSuffix(s.lines.Text(), "\\") && s.lines.Scan() {
		text += strings.TrimSuffix(s.lines.Text(), "\\")
	}
	return strings.Fields(strings.ReplaceAll(text, "'", ""))[1:]
}

// end interrupts it, unless it has ended, and returns its last line.
func (s *simtargets) end() (last string, r ran) {
	s.stop()
	for s.lines.Scan() {
		last = s.lines.Text()
	}
	return last, <-s.ended
}

// kill kills a target, which is told about.
func (s *simtargets) kill(t *testing.T, socket string) {
	t.Helper()
	require.Equal(t, exitDone, engine(t, "simtarget", "--kill", socket).status)
	told := socket + ": the target was killed"
	for s.lines.Scan() && s.lines.Text() != told {
	}
	require.Equal(t, told, s.lines.Text())
}

func TestSimtargetKill(t *testing.T) {
	s := startSimtargets(t, 2)
	for range s.sockets {
		require.True(t, s.lines.Scan())
		require.Contains(t, s.lines.Text(), "answers")
	}
	s.kill(t, s.sockets[0])
	r := engine(t, "simtarget", "--kill", s.sockets[0])
	require.Equal(t, exitFailed, r.status, "it is gone already")
	require.Contains(t, r.stderr, s.sockets[0])
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.Equal(t, exitFailed, engine(t, "simtarget", "--kill", file).status)
	r = engine(t, "simtarget", "--kill", s.sockets[1], "--poll", "4ms")
	require.Equal(t, exitUsage, r.status)
	require.Equal(t, "engine: --kill "+s.sockets[1]+": expected nothing else with it, got --poll\n", r.stderr)
	r = engine(t, "simtarget", "--kill", "")
	require.Equal(t, exitUsage, r.status)
	require.Equal(t, "engine: --kill is empty: expected the path of a target's socket\n", r.stderr)
	s.kill(t, s.sockets[1])
	require.False(t, s.lines.Scan(), "it ends with its last target")
	require.Equal(t, exitDone, (<-s.ended).status)
}

// A volume that is interrupted while it is made is told as that.
func TestSimtargetVolumeIsInterrupted(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	interrupt()
	err := triedVolume{raid: volumeAddress{raid: "vol-1"}, members: []address{{socket: "/no.sock"}}}.serve(ctx, cli{}, nil)
	require.EqualError(t, err, "make volume vol-1: interrupted")
}

// With its RAID, a volume is lost: its clients fail, and the program can be interrupted.
func TestSimtargetVolumeLosesItsRAID(t *testing.T) {
	s := startSimtargets(t, 2, "--volume", "vol-1")
	s.printed("engine rebuild")
	s.kill(t, s.sockets[0])
	last, r := s.end()
	require.Contains(t, last, "failed")
	require.Equal(t, exitFailed, r.status)
}

// The command that simtarget prints rebuilds a replica while its clients go on.
func TestSimtargetVolume(t *testing.T) {
	s := startSimtargets(t, 4, "--volume", "vol-1")
	rebuildIt, kill := s.printed("engine rebuild"), s.printed("engine simtarget --kill")
	require.Equal(t, s.sockets[2], kill[len(kill)-1])

	at := slices.Index(rebuildIt, "--bandwidth") // slows it down, for people
	if r := engine(t, slices.Delete(rebuildIt, at, at+2)...); r.status != exitDone {
		t.Fatalf("%s%s", r.stdout, r.stderr)
	}
	s.kill(t, s.sockets[2])
	require.NoFileExists(t, s.sockets[2])
	rpc(t, s.sockets[3], "rpc_get_methods", nil)
	last, r := s.end()
	require.Contains(t, last, "none failed, and no read was wrong")
	require.Equal(t, exitDone, r.status, r.stderr)
}
