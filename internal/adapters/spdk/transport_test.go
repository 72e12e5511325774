package spdk

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"
	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/ports"
)

// request is what a fake target reads.
type request struct {
	ID     uint32          `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
}

// fakeTarget serves one function per connection.
type fakeTarget struct {
	path     string
	listener net.Listener
	serving  sync.WaitGroup
}

// serve listens; each connection is handled by the next function, the last one
// by all that follow. A connection is closed when its function returns.
func serve(t *testing.T, handlers ...func(conn net.Conn, in *json.Decoder)) *fakeTarget {
	t.Helper()
	dir, err := os.MkdirTemp("", "rpc")
	require.NoError(t, err)
	f := &fakeTarget{path: filepath.Join(dir, "s")}
	f.listener, err = net.Listen("unix", f.path)
	require.NoError(t, err)
	f.serving.Go(func() {
		for n := 0; ; n++ {
			conn, err := f.listener.Accept()
			if err != nil {
				return
			}
			handler := handlers[min(n, len(handlers)-1)]
			f.serving.Go(func() {
				defer func() { _ = conn.Close() }()
				handler(conn, json.NewDecoder(conn))
			})
		}
	})
	t.Cleanup(func() {
		_ = f.listener.Close()
		f.serving.Wait()
		require.NoError(t, os.RemoveAll(dir))
	})
	return f
}

func (f *fakeTarget) client(t *testing.T, timeout time.Duration) *client {
	c := newClient(f.path, timeout, nil)
	t.Cleanup(c.close)
	return c
}

func reply(conn net.Conn, id uint32, result string) {
	_, _ = fmt.Fprintf(conn, `{"jsonrpc":"2.0","id":%d,"result":%s}`, id, result)
}

// echo answers every call with its own parameters.
func echo(conn net.Conn, in *json.Decoder) {
	for {
		var r request
		if in.Decode(&r) != nil {
			return
		}
		reply(conn, r.ID, string(r.Params))
	}
}

// swallow reads and never answers.
func swallow(_ net.Conn, in *json.Decoder) {
	for {
		var r request
		if in.Decode(&r) != nil {
			return
		}
	}
}

func TestAnswersAreMatchedByIDInAnyOrder(t *testing.T) {
	const n = 8
	f := serve(t, func(conn net.Conn, in *json.Decoder) {
		var all []request
		for range n {
			var r request
			if in.Decode(&r) != nil {
				return
			}
			all = append(all, r)
		}
		for i := range all {
			r := all[len(all)-1-i]
			reply(conn, r.ID, string(r.Params))
		}
		swallow(conn, in)
	})
	results := make([]int, n)
	calls := make([]*call, n)
	for i := range calls {
		calls[i] = newCall("m", i, &results[i])
	}
	f.client(t, time.Minute).do(t.Context(), calls...)
	for i, one := range calls {
		require.NoError(t, one.err)
		require.Equal(t, i, results[i])
	}
}

func TestManyCallersShareAConnection(t *testing.T) {
	dials := 0
	f := serve(t, func(conn net.Conn, in *json.Decoder) {
		dials++
		echo(conn, in)
	})
	c := f.client(t, time.Minute)
	var callers sync.WaitGroup
	for i := range 50 {
		callers.Go(func() {
			var result int
			if err := c.call(t.Context(), "m", i, &result); err != nil || result != i {
				t.Errorf("call %d: %d, %v", i, result, err)
			}
		})
	}
	callers.Wait()
	require.Equal(t, 1, dials)
}

func TestABatchLargerThanTheWindowIsAnsweredWhole(t *testing.T) {
	const n = 5*window + 3
	f := serve(t, echo)
	calls := make([]*call, n)
	results := make([]int, n)
	for i := range calls {
		calls[i] = newCall("m", i, &results[i])
	}
	f.client(t, time.Minute).do(t.Context(), calls...)
	for i, one := range calls {
		require.NoError(t, one.err)
		require.Equal(t, i, results[i])
	}
}

func TestNoMoreCallsThanAskedForAreUnderWay(t *testing.T) {
	const atOnce = 3
	f := serve(t, func(conn net.Conn, in *json.Decoder) {
		for {
			var first request
			if in.Decode(&first) != nil {
				return
			}
			if in.Buffered() != nil {
				var rest bytes.Buffer
				_, _ = rest.ReadFrom(in.Buffered())
				if n := bytes.Count(rest.Bytes(), []byte(`"jsonrpc"`)); n >= atOnce {
					t.Errorf("%d calls beside this one", n)
				}
			}
			reply(conn, first.ID, "true")
		}
	})
	var calls []*call
	for range 20 {
		calls = append(calls, newCall("m", nil, nil))
	}
	f.client(t, time.Minute).doAtMost(t.Context(), atOnce, calls...)
	for _, one := range calls {
		require.NoError(t, one.err)
	}
}

func TestNumbersOf64BitsAreExact(t *testing.T) {
	f := serve(t, func(conn net.Conn, in *json.Decoder) {
		var r request
		if in.Decode(&r) == nil {
			reply(conn, r.ID, `{"checksum":18446744073709551557}`)
		}
		swallow(conn, in)
	})
	var sum spdktypes.BdevLvolSnapshotChecksum
	require.NoError(t, f.client(t, time.Minute).call(t.Context(), "bdev_lvol_get_snapshot_checksum", nil, &sum))
	require.Equal(t, uint64(18446744073709551557), sum.Checksum)
}

func TestTheTargetsWordsAreKept(t *testing.T) {
	f := serve(t, func(conn net.Conn, in *json.Decoder) {
		var r request
		if in.Decode(&r) == nil {
			_, _ = fmt.Fprintf(conn, `{"jsonrpc":"2.0","id":%d,"error":{"code":-32602,"message":"File exists"}}`, r.ID)
		}
		swallow(conn, in)
	})
	err := f.client(t, time.Minute).call(t.Context(), "bdev_lvol_clone", nil, nil)
	var refusal *rpcError
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, "bdev_lvol_clone", refusal.Method)
	require.Equal(t, -32602, refusal.Code)
	require.Equal(t, "File exists", refusal.Message)
	require.ErrorIs(t, err, ports.ErrExists)
	require.ErrorContains(t, err, "bdev_lvol_clone on "+f.path)
}

func TestAClientConnectsAgainAfterTheTargetRestarted(t *testing.T) {
	f := serve(t,
		func(conn net.Conn, in *json.Decoder) { // answers once and dies
			var r request
			if in.Decode(&r) == nil {
				reply(conn, r.ID, "1")
			}
		},
		echo)
	c := f.client(t, time.Minute)
	var result int
	require.NoError(t, c.call(t.Context(), "m", nil, &result))
	<-c.conn.broken
	one := newCall("m", 2, &result)
	c.do(t.Context(), one)
	require.NoError(t, one.err)
	require.Equal(t, 2, result)
	require.EqualValues(t, 2, one.conn)
}

// A target that has restarted between two calls has done nothing of the second,
// whether the client has noticed the end of the connection yet or not.
func TestACallAfterARestartGoesOverANewConnection(t *testing.T) {
	for range 200 {
		ended := make(chan struct{})
		f := serve(t, func(conn net.Conn, in *json.Decoder) {
			var r request
			if in.Decode(&r) == nil {
				reply(conn, r.ID, `1`)
			}
			_ = conn.Close()
			close(ended)
		}, echo)
		c := f.client(t, time.Minute)
		require.NoError(t, c.call(t.Context(), "first", 1, nil))
		<-ended
		var answer int
		require.NoError(t, c.call(t.Context(), "second", 2, &answer))
		require.Equal(t, 2, answer)
	}
}

func TestCallsThatGetNoAnswerAreUnavailable(t *testing.T) {
	answerHalf := func(conn net.Conn, in *json.Decoder) {
		var r request
		if in.Decode(&r) == nil {
			reply(conn, r.ID, "true")
		}
	}
	answerIn := func(text string) func(net.Conn, *json.Decoder) {
		return func(conn net.Conn, in *json.Decoder) {
			var r request
			if in.Decode(&r) == nil {
				_, _ = conn.Write([]byte(text))
				swallow(conn, in)
			}
		}
	}
	for name, handler := range map[string]func(net.Conn, *json.Decoder){
		"the target closes the connection": func(_ net.Conn, in *json.Decoder) { _ = in.Decode(new(request)) },
		"it closes in the middle of an answer": func(conn net.Conn, in *json.Decoder) {
			_ = in.Decode(new(request))
			_, _ = conn.Write([]byte(`{"jsonrpc":"2.0","id":1,"resu`))
		},
		"it answers one of two":         answerHalf,
		"it answers garbage":            answerIn("\x00\x01 not JSON"),
		"it could not parse a request":  answerIn(`{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}`),
		"it says something unlike that": answerIn(`{"jsonrpc":"2.0","id":1,"result":{"a":1}}`),
		"it is silent":                  swallow,
	} {
		t.Run(name, func(t *testing.T) {
			f := serve(t, handler)
			c := f.client(t, 100*time.Millisecond)
			var result bool
			one, two := newCall("first", nil, &result), newCall("second", nil, &result)
			c.do(t.Context(), one, two)
			require.ErrorIs(t, two.err, ports.ErrUnavailable)
			require.ErrorContains(t, two.err, "second on "+f.path)
			require.True(t, unsaid(two.err))
			if name == "it answers one of two" {
				require.NoError(t, one.err)
			} else {
				require.ErrorIs(t, one.err, ports.ErrUnavailable)
			}
		})
	}
}

func TestAnAnswerThatComesTooLateIsDropped(t *testing.T) {
	late := make(chan struct{})
	f := serve(t, func(conn net.Conn, in *json.Decoder) {
		var first request
		if in.Decode(&first) != nil {
			return
		}
		<-late
		reply(conn, first.ID, "1")
		echo(conn, in)
	})
	c := f.client(t, 50*time.Millisecond)
	err := c.call(t.Context(), "slow", nil, nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	close(late)
	c.timeout = time.Minute
	var result int
	require.NoError(t, c.call(t.Context(), "m", 2, &result))
	require.Equal(t, 2, result)
}

func TestACallEndsWithItsContext(t *testing.T) {
	f := serve(t, swallow)
	c := f.client(t, time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.call(ctx, "m", nil, nil) }()
	cancel()
	err := <-ended
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, ports.ErrUnavailable)
	require.ErrorIs(t, c.call(ctx, "m", nil, nil), context.Canceled, "nor does a later one begin")
}

func TestATargetThatReadsNothingHoldsNobodyUp(t *testing.T) {
	release := make(chan struct{})
	f := serve(t, func(net.Conn, *json.Decoder) { <-release })
	defer close(release)
	c := f.client(t, time.Hour)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	large := newCall("m", make([]int, 4<<20), nil) // more than a socket's buffer
	c.do(ctx, large)
	require.ErrorIs(t, large.err, context.DeadlineExceeded)
}

func TestASocketThatIsNotThere(t *testing.T) {
	c := newClient(filepath.Join(t.TempDir(), "none"), time.Minute, nil)
	one, two := newCall("m", nil, nil), newCall("n", nil, nil)
	c.do(t.Context(), one, two)
	require.ErrorIs(t, one.err, ports.ErrUnavailable)
	require.ErrorIs(t, two.err, os.ErrNotExist)
	c.close()
	require.ErrorIs(t, c.call(t.Context(), "m", nil, nil), net.ErrClosed)
}

func TestACallThatIsChangingSomethingIsWaitedForAWhile(t *testing.T) {
	begun := make(chan struct{})
	cancelled := make(chan struct{})
	f := serve(t, func(conn net.Conn, in *json.Decoder) {
		var r request
		if in.Decode(&r) != nil {
			return
		}
		close(begun)
		<-cancelled
		reply(conn, r.ID, `"uuid"`)
		swallow(conn, in)
	})
	h := &Host{rpc: f.client(t, time.Minute)}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-begun
		cancel()
		close(cancelled)
	}()
	var uuid string
	require.NoError(t, h.change(ctx, "bdev_lvol_create", nil, &uuid))
	require.Equal(t, "uuid", uuid)
	require.ErrorIs(t, h.change(ctx, "bdev_lvol_create", nil, &uuid), context.Canceled, "nothing new begins")
}
