package targettest

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// Request is a call as a scripted target reads it.
type Request struct {
	ID     uint32          `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
}

// Script is what a scripted target does with one connection, which is closed when
// it returns.
type Script func(conn net.Conn, in *json.Decoder)

// Serve is the socket of a target that serves each connection by the next script,
// and all that follow by the last one.
func Serve(t *testing.T, scripts ...Script) (socket string) {
	t.Helper()
	var serving sync.WaitGroup
	n := 0
	return listen(t, &serving, func(conn net.Conn) {
		script := scripts[min(n, len(scripts)-1)]
		n++
		serving.Go(func() {
			defer func() { _ = conn.Close() }()
			script(conn, json.NewDecoder(conn))
		})
	})
}

// listen has each connection to a new socket served, until the test ends. Then it waits for
// those who serve.
func listen(t *testing.T, serving *sync.WaitGroup, serve func(net.Conn)) (socket string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "rpc")
	require.NoError(t, err)
	socket = filepath.Join(dir, "s")
	listener, err := net.Listen("unix", socket)
	require.NoError(t, err)
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serve(conn)
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		serving.Wait()
		require.NoError(t, os.RemoveAll(dir))
	})
	return socket
}

// Reply answers a call with a result.
func Reply(conn net.Conn, id uint32, result string) {
	_, _ = fmt.Fprintf(conn, `{"jsonrpc":"2.0","id":%d,"result":%s}`, id, result)
}
