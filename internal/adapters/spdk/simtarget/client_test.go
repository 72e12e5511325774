package simtarget_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/longhorn/go-spdk-helper/pkg/jsonrpc"
	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"
	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
)

const mib = 1 << 20

// shortDir is short enough for sockets.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sim")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

// start runs a target until the test ends, if it has not ended by then.
func start(t *testing.T, fabric *simtarget.Fabric, config simtarget.Config) *simtarget.Target {
	t.Helper()
	if config.Socket == "" {
		config.Socket = filepath.Join(shortDir(t), "s")
	}
	target, err := fabric.Start(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, target.Close()) })
	return target
}

func newDiskFile(t *testing.T, clusters int64) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "disk")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.NoError(t, os.Truncate(file, clusters*mib))
	return file
}

// client is one connection.
type client struct {
	t    *testing.T
	conn net.Conn
	in   *json.Decoder
	id   int
}

func connect(t *testing.T, target *simtarget.Target) *client {
	t.Helper()
	conn, err := net.Dial("unix", target.Socket())
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
	return &client{t: t, conn: conn, in: json.NewDecoder(conn)}
}

type reply struct {
	ID     *int
	Result json.RawMessage
	Error  *simtarget.Error
}

func (c *client) send(method string, params map[string]any) {
	c.t.Helper()
	c.id++
	require.NoError(c.t, json.NewEncoder(c.conn).Encode(map[string]any{"jsonrpc": "2.0", "id": c.id, "method": method, "params": params}))
}

func (c *client) receive() reply {
	c.t.Helper()
	var r reply
	require.NoError(c.t, c.in.Decode(&r))
	return r
}

// call has to work.
func (c *client) call(method string, params map[string]any) json.RawMessage {
	c.t.Helper()
	c.send(method, params)
	r := c.receive()
	require.Nil(c.t, r.Error, "%s: %+v", method, r.Error)
	require.Equal(c.t, c.id, *r.ID)
	return r.Result
}

// silent expects that nothing comes, and that the connection stays as it is.
func (c *client) silent() {
	c.t.Helper()
	require.NoError(c.t, c.conn.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	_, err := c.conn.Read(make([]byte, 1))
	require.ErrorIs(c.t, err, os.ErrDeadlineExceeded)
}

// closed expects the end of the connection.
func (c *client) closed() {
	c.t.Helper()
	_, err := c.conn.Read(make([]byte, 1))
	require.Error(c.t, err)
	require.NotErrorIs(c.t, err, os.ErrDeadlineExceeded)
}

func (c *client) newStore(file string) {
	c.t.Helper()
	c.newDisk(file)
	c.call("bdev_lvol_create_lvstore", map[string]any{"bdev_name": "disk", "lvs_name": "store", "cluster_sz": mib})
}

func (c *client) newDisk(file string) {
	c.t.Helper()
	c.call("bdev_aio_create", map[string]any{"name": "disk", "filename": file, "block_size": 4096})
}

func (c *client) create(name string, clusters int) {
	c.t.Helper()
	c.call("bdev_lvol_create", map[string]any{"lvs_name": "store", "lvol_name": name, "size_in_mib": clusters, "thin_provision": true})
}

// listed is an lvol in both listings.
type listed struct {
	Name  string `json:"name"`
	UUID  string `json:"uuid"`
	Alias string `json:"alias"`
	Store struct {
		UUID string `json:"uuid"`
	} `json:"lvs"`
}

func (c *client) lvols() (all []listed) {
	c.t.Helper()
	require.NoError(c.t, json.Unmarshal(c.call("bdev_lvol_get_lvols", nil), &all))
	return all
}

func TestTheHelpersOwnClientIsAnswered(t *testing.T) {
	for _, poll := range []time.Duration{0, 4 * time.Millisecond} {
		t.Run(poll.String(), func(t *testing.T) {
			target := start(t, simtarget.NewFabric(), simtarget.Config{Poll: poll})
			connect(t, target).newStore(newDiskFile(t, 66))
			conn, err := net.Dial("unix", target.Socket())
			require.NoError(t, err)
			helper := jsonrpc.NewClient(t.Context(), conn)

			name := "a"
			answer, err := helper.SendCommand("bdev_lvol_create", createRequest(name))
			for n := 0; hasLost(err); n++ { // it may have been made
				name = fmt.Sprint("a-", n)
				answer, err = helper.SendCommand("bdev_lvol_create", createRequest(name))
			}
			require.NoError(t, err)
			var uuid string
			require.NoError(t, json.Unmarshal(answer, &uuid))
			list := func(name string) ([]byte, error) {
				answer, err := helper.SendCommand("bdev_get_bdevs", spdktypes.BdevGetBdevsRequest{Name: name})
				for hasLost(err) {
					answer, err = helper.SendCommand("bdev_get_bdevs", spdktypes.BdevGetBdevsRequest{Name: name})
				}
				return answer, err
			}
			answer, err = list(uuid)
			require.NoError(t, err)
			var bdevs []spdktypes.BdevInfo
			require.NoError(t, json.Unmarshal(answer, &bdevs))
			require.Len(t, bdevs, 1)
			require.Equal(t, []string{"store/" + name}, bdevs[0].Aliases)
			require.EqualValues(t, 4*mib/4096, bdevs[0].NumBlocks)
			require.EqualValues(t, spdktypes.BdevTypeLvol, spdktypes.GetBdevType(&bdevs[0]))

			_, err = list("none")
			require.True(t, jsonrpc.IsJSONRPCRespErrorNoSuchDevice(err), "%v", err)
			require.NoError(t, conn.Close())
		})
	}
}

func createRequest(name string) spdktypes.BdevLvolCreateRequest {
	return spdktypes.BdevLvolCreateRequest{LvsName: "store", LvolName: name, SizeInMib: 4, ThinProvision: true}
}

// hasLost says whether the helper's client has dropped an answer, which it does where
// one comes before its caller waits for it.
func hasLost(err error) bool {
	return err != nil && strings.Contains(err.Error(), "received nil response")
}

// A target that looks at its sockets now and then answers at the next look but one.
func TestPolling(t *testing.T) {
	const poll = 20 * time.Millisecond
	c := connect(t, start(t, simtarget.NewFabric(), simtarget.Config{Poll: poll}))
	c.call("rpc_get_methods", nil)
	begun := time.Now()
	for range 5 {
		c.call("rpc_get_methods", nil)
	}
	require.GreaterOrEqual(t, time.Since(begun), 5*poll, "one after the other: a look each")
	for range 64 {
		c.send("rpc_get_methods", nil)
	}
	for range 64 {
		require.Nil(t, c.receive().Error)
	}
}

func TestWhatIsNoRequest(t *testing.T) {
	for name, test := range map[string]struct {
		text   string
		code   int
		closes bool
	}{
		"no JSON":          {`{"jsonrpc": nonsense`, -32700, true},
		"a list":           {`[{"jsonrpc":"2.0","method":"rpc_get_methods","id":1}]`, -32600, false},
		"a number":         {`17 `, -32600, false},
		"no method":        {`{"jsonrpc":"2.0","id":1}`, -32600, false},
		"another version":  {`{"jsonrpc":"1.0","method":"rpc_get_methods","id":1}`, -32600, false},
		"an id that is no": {`{"jsonrpc":"2.0","method":"rpc_get_methods","id":{}}`, -32600, false},
		"params of text":   {`{"jsonrpc":"2.0","method":"rpc_get_methods","params":"x","id":1}`, -32600, false},
		"an unknown key":   {`{"jsonrpc":"2.0","method":"rpc_get_methods","id":1,"more":2}`, -32600, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := connect(t, start(t, simtarget.NewFabric(), simtarget.Config{}))
			_, err := c.conn.Write([]byte(test.text))
			require.NoError(t, err)
			r := c.receive()
			require.Equal(t, test.code, r.Error.Code)
			if test.closes {
				c.closed()
			} else {
				c.call("rpc_get_methods", nil)
			}
		})
	}
	t.Run("a request that never ends", func(t *testing.T) {
		c := connect(t, start(t, simtarget.NewFabric(), simtarget.Config{}))
		_, _ = c.conn.Write(append([]byte(`{"jsonrpc":"2.0","method":"`), strings.Repeat("a", 64<<10)...))
		c.closed()
	})
	t.Run("half a request, then the other half", func(t *testing.T) {
		c := connect(t, start(t, simtarget.NewFabric(), simtarget.Config{}))
		_, err := c.conn.Write([]byte(`{"jsonrpc":"2.0","method":"rpc_get`))
		require.NoError(t, err)
		c.silent()
		require.NoError(t, c.conn.SetReadDeadline(time.Now().Add(30*time.Second)))
		_, err = c.conn.Write([]byte(`_methods","id":"text"}`))
		require.NoError(t, err)
		var r struct {
			ID     string
			Result []string
		}
		require.NoError(t, c.in.Decode(&r))
		require.Equal(t, "text", r.ID)
		require.Contains(t, r.Result, "bdev_lvol_create")
	})
}

func TestASocketThatIsTaken(t *testing.T) {
	dir := shortDir(t)
	path := filepath.Join(dir, "s")
	first := start(t, simtarget.NewFabric(), simtarget.Config{Socket: path})
	_, err := simtarget.NewFabric().Start(simtarget.Config{Socket: path})
	require.ErrorContains(t, err, path)
	require.ErrorContains(t, err, "listens on it already")
	first.Kill()
	require.NoFileExists(t, path)

	// One that a dead process has left is replaced.
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	require.NoError(t, err)
	left.SetUnlinkOnClose(false)
	require.NoError(t, left.Close())
	require.FileExists(t, path)
	connect(t, start(t, simtarget.NewFabric(), simtarget.Config{Socket: path})).call("rpc_get_methods", nil)
}
