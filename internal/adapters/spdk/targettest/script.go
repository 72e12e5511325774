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
	dir, err := os.MkdirTemp("", "rpc")
	require.NoError(t, err)
	socket = filepath.Join(dir, "s")
	listener, err := net.Listen("unix", socket)
	require.NoError(t, err)
	var serving sync.WaitGroup
	serving.Go(func() {
		for n := 0; ; n++ {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			script := scripts[min(n, len(scripts)-1)]
			serving.Go(func() {
				defer func() { _ = conn.Close() }()
				script(conn, json.NewDecoder(conn))
			})
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
