package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// requireOneClearLine runs a command in both output formats, and checks that the error is
// reported once, on one line, with this exit status.
func requireOneClearLine(t *testing.T, status int, says []string, args ...string) {
	t.Helper()
	requireOneLine(t, "text", status, says, args...)
	requireOneLine(t, "json", status, says, args...)
}

func requireOneLine(t *testing.T, output string, status int, says []string, args ...string) {
	t.Helper()
	p := program.start(t, append(append([]string{}, args...), "--output", output)...)
	require.Equal(t, status, p.status(), "%s\n%s%s", output, &p.stdout, &p.stderr)
	said := strings.TrimSpace(p.stderr.String())
	switch {
	case said != "":
		require.Empty(t, p.stdout.String(), "it is said on stderr already")
		require.NotContains(t, said, "\n", "one line")
	case output == "json":
		var r result
		require.NoError(t, json.Unmarshal(p.stdout.Bytes(), &r), "%s", &p.stdout)
		require.Contains(t, []string{"failed", "refused"}, r.Outcome)
		require.NotContains(t, r.Error, "\n", "one line")
		said = r.Error
	default:
		_, said, _ = strings.Cut(strings.Join(strings.Fields(p.stdout.String()), " "), "Verdict") // folded for people
	}
	for _, part := range says {
		require.Contains(t, said, part, output)
	}
}

// onSocket is a server that is no target. With a nil serve it never accepts.
func onSocket(t *testing.T, serve func(net.Conn)) (path string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "fake") // t.TempDir can be too long for a socket
	require.NoError(t, err)
	path = filepath.Join(dir, "s")
	listener, err := net.Listen("unix", path)
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = listener.Close()
		require.NoError(t, os.RemoveAll(dir))
	})
	if serve == nil {
		return path
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				serve(conn)
			}()
		}
	}()
	return path
}

// asked is a call to a fake target.
type asked struct {
	ID     int
	Method string
}

// answering is a server that answers each call by a function: with a line, or not at all
// for "".
func answering(answer func(asked) string) func(net.Conn) {
	return func(conn net.Conn) {
		for in := json.NewDecoder(conn); ; {
			var call asked
			if in.Decode(&call) != nil {
				return
			}
			if line := answer(call); line != "" {
				_, _ = conn.Write([]byte(line))
			}
		}
	}
}

// waitedFor are targets that commands wait for; the tests run them in parallel.
var waitedFor = map[string]bool{
	"a socket that nobody serves": true, "a target that answers nothing": true, "a target that answers too late": true,
}

// This test needs no target: the servers are none.
func TestBadTargetIsOneLineError(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, []byte("not a socket"), 0o600))
	cycle := func(call asked) string { return answerOf(call, cycleStore) }
	for _, test := range []struct {
		name string
		path string
		says []string
	}{
		{"no socket there", filepath.Join(dir, "none"), []string{"no such file or directory"}},
		{"a file that is no socket", file, []string{"no socket", "expected"}},
		{"a directory", dir, []string{"no socket", "expected"}},
		{"a socket that nobody serves", onSocket(t, nil), []string{"hangs"}},
		{"a target that answers nothing", onSocket(t, answering(func(asked) string { return "" })), []string{"hangs", "5s"}},
		{"a target that answers too late", onSocket(t, answering(func(call asked) string {
			if call.Method == "bdev_lvol_get_lvstores" {
				return ""
			}
			return answerOf(call, nil) // pings, too: it lives
		})), []string{"bdev_lvol_get_lvstores", "no answer within 20s"}},
		{"one that answers garbage", onSocket(t, answering(func(asked) string { return "HTTP/1.1 400 Bad Request\r\n\r\n" })), []string{"not JSON"}},
		{"one that answers another type", onSocket(t, answering(func(call asked) string {
			return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"result":{"a":1}}`, call.ID)
		})), []string{"unexpected result"}},
		{"one that knows nothing", onSocket(t, answering(func(call asked) string {
			return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"error":{"code":-32601,"message":"Method not found"}}`, call.ID)
		})), []string{"rpc_get_methods", "Method not found"}},
		{"one that closes at once", onSocket(t, func(net.Conn) {}), []string{"connection", "closed"}}, // before the call was sent, or after
		{"one that closes in the middle of an answer", onSocket(t, func(conn net.Conn) {
			_, _ = conn.Read(make([]byte, 1))
			_, _ = conn.Write([]byte(`{"jsonrpc":"2.0","id":1,"resu`))
		}), []string{"closed the connection"}},
		{"an lvstore whose lvols form a cycle", onSocket(t, answering(cycle)), []string{"form a cycle", "disk-1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			at := address(test.path, "disk-1", "vol-1-r-0a1b2c3d")
			args := []string{"rebuild", "--source", at, "--destination", address(test.path, "disk-1", "vol-1-r-4e5f6a7b"), "--no-image"}
			if test.name != "an lvstore whose lvols form a cycle" {
				test.says = append(test.says, test.path)
			}
			requireOneLine(t, "json", 1, test.says, args...)
			t.Logf("said within %v", time.Since(began).Round(time.Millisecond))
			if !waitedFor[test.name] {
				requireOneLine(t, "text", 1, test.says, args...)
			}
		})
	}
}

// cycleStore is an lvstore on which a real target hangs, so it is simulated: each of two
// snapshots is the other's parent.
var cycleStore = map[string]string{
	"bdev_lvol_get_lvstores": `[{"uuid":"11111111-1111-4111-8111-111111111111","name":"disk-1","base_bdev":"aio","total_data_clusters":64,"free_clusters":60,"block_size":4096,"cluster_size":1048576}]`,
	"bdev_lvol_get_lvols": `[{"alias":"disk-1/vol-1-r-0a1b2c3d-snap-a","uuid":"aaaaaaaa-0000-4000-8000-000000000001","name":"vol-1-r-0a1b2c3d-snap-a","is_snapshot":true,"is_clone":true,"is_degraded":false},
		{"alias":"disk-1/vol-1-r-0a1b2c3d-snap-b","uuid":"aaaaaaaa-0000-4000-8000-000000000002","name":"vol-1-r-0a1b2c3d-snap-b","is_snapshot":true,"is_clone":true,"is_degraded":false}]`,
	"bdev_get_bdevs": "[" + cycleBdev("aaaaaaaa-0000-4000-8000-000000000001", "vol-1-r-0a1b2c3d-snap-a", "vol-1-r-0a1b2c3d-snap-b") + "," +
		cycleBdev("aaaaaaaa-0000-4000-8000-000000000002", "vol-1-r-0a1b2c3d-snap-b", "vol-1-r-0a1b2c3d-snap-a") + "]",
}

func cycleBdev(uuid, name, parent string) string {
	return fmt.Sprintf(`{"name":%q,"aliases":["disk-1/%s"],"uuid":%q,"block_size":4096,"num_blocks":1024,"claimed":false,
		"supported_io_types":{"read":true,"write":false},
		"driver_specific":{"lvol":{"lvol_store_uuid":"11111111-1111-4111-8111-111111111111","base_bdev":"aio","thin_provision":true,
		"num_allocated_clusters":1,"snapshot":true,"clone":true,"base_snapshot":%q,"clones":[%q]}}}`, uuid, name, uuid, parent, parent)
}

// answerOf answers from a table, and with the list of methods. Other methods are unknown.
func answerOf(call asked, table map[string]string) string {
	switch found, ok := table[call.Method]; {
	case ok:
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"result":%s}`, call.ID, found)
	case call.Method == "rpc_get_methods":
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"result":["bdev_get_bdevs"]}`, call.ID)
	default:
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"error":{"code":-32601,"message":"Method not found"}}`, call.ID)
	}
}
