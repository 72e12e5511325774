package rpc

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

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/ports"
)

type request = targettest.Request

var reply = targettest.Reply

// fakeTarget serves one script per connection.
type fakeTarget struct{ path string }

func serve(t *testing.T, scripts ...targettest.Script) *fakeTarget {
	t.Helper()
	return &fakeTarget{targettest.Serve(t, scripts...)}
}

func (f *fakeTarget) client(t *testing.T, timeout time.Duration) *Client {
	c := NewClient(f.path, timeout, nil)
	t.Cleanup(c.Close)
	return c
}

func newCall(method string, params, into any) *Call {
	return &Call{method: method, params: params, into: into}
}

func (c *Client) call(ctx context.Context, method string, params, into any) error {
	return newCall(method, params, into).Do(ctx, c)
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

func TestAnswersAreMatchedByID(t *testing.T) {
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
	calls := make([]*Call, n)
	for i := range calls {
		calls[i] = newCall("m", i, &results[i])
	}
	f.client(t, time.Minute).Do(t.Context(), Requests(calls)...)
	for i, one := range calls {
		require.NoError(t, one.Err)
		require.Equal(t, i, results[i])
	}
}

func TestCallersShareAConnection(t *testing.T) {
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

func TestBatchLargerThanWindow(t *testing.T) {
	const n = 5*window + 3
	f := serve(t, echo)
	calls := make([]*Call, n)
	results := make([]int, n)
	for i := range calls {
		calls[i] = newCall("m", i, &results[i])
	}
	f.client(t, time.Minute).Do(t.Context(), Requests(calls)...)
	for i, one := range calls {
		require.NoError(t, one.Err)
		require.Equal(t, i, results[i])
	}
}

func TestDoAtMostBoundsCallsUnderWay(t *testing.T) {
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
	var calls []*Call
	for range 20 {
		calls = append(calls, newCall("m", nil, nil))
	}
	f.client(t, time.Minute).DoAtMost(t.Context(), atOnce, Requests(calls)...)
	for _, one := range calls {
		require.NoError(t, one.Err)
	}
}

func TestChecksumKeeps64Bits(t *testing.T) {
	f := serve(t, func(conn net.Conn, in *json.Decoder) {
		var r request
		if in.Decode(&r) == nil {
			reply(conn, r.ID, `{"checksum":18446744073709551557}`)
		}
		swallow(conn, in)
	})
	sum, err := GetChecksum("uuid").Do(t.Context(), f.client(t, time.Minute))
	require.NoError(t, err)
	require.Equal(t, uint64(18446744073709551557), sum.Checksum)
}

func TestRefusalKeepsTargetsWords(t *testing.T) {
	f := serve(t, func(conn net.Conn, in *json.Decoder) {
		var r request
		if in.Decode(&r) == nil {
			_, _ = fmt.Fprintf(conn, `{"jsonrpc":"2.0","id":%d,"error":{"code":-32602,"message":"File exists"}}`, r.ID)
		}
		swallow(conn, in)
	})
	err := f.client(t, time.Minute).call(t.Context(), "bdev_lvol_clone", nil, nil)
	var refusal *Refusal
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, "bdev_lvol_clone", refusal.Method)
	require.Equal(t, -32602, refusal.Code)
	require.Equal(t, "File exists", refusal.Message)
	require.ErrorIs(t, err, ports.ErrExists)
	require.ErrorContains(t, err, "bdev_lvol_clone on "+f.path)
}

func TestClientReconnects(t *testing.T) {
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
	c.Do(t.Context(), one)
	require.NoError(t, one.Err)
	require.Equal(t, 2, result)
	require.EqualValues(t, 2, one.conn)
}

// A target that has restarted between two calls has done nothing of the second,
// whether the client has noticed the end of the connection yet or not.
func TestCallAfterRestartIsSentAgain(t *testing.T) {
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

func TestUnansweredCallsAreUnavailable(t *testing.T) {
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
			c.Do(t.Context(), one, two)
			require.ErrorIs(t, two.Err, ports.ErrUnavailable)
			require.ErrorContains(t, two.Err, "second on "+f.path)
			require.True(t, OutcomeUnknown(two.Err))
			if name == "it answers one of two" {
				require.NoError(t, one.Err)
			} else {
				require.ErrorIs(t, one.Err, ports.ErrUnavailable)
			}
		})
	}
}

func TestLateAnswerIsDropped(t *testing.T) {
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
	c.Timeout = time.Minute
	var result int
	require.NoError(t, c.call(t.Context(), "m", 2, &result))
	require.Equal(t, 2, result)
}

func TestCallEndsWithItsContext(t *testing.T) {
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

func TestTargetThatReadsNothing(t *testing.T) {
	release := make(chan struct{})
	f := serve(t, func(net.Conn, *json.Decoder) { <-release })
	defer close(release)
	c := f.client(t, time.Hour)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	large := newCall("m", make([]int, 4<<20), nil) // more than a socket's buffer
	c.Do(ctx, large)
	require.ErrorIs(t, large.Err, context.DeadlineExceeded)
}

func TestMissingSocket(t *testing.T) {
	c := NewClient(filepath.Join(t.TempDir(), "none"), time.Minute, nil)
	one, two := newCall("m", nil, nil), newCall("n", nil, nil)
	c.Do(t.Context(), one, two)
	require.ErrorIs(t, one.Err, ports.ErrUnavailable)
	require.ErrorIs(t, two.Err, os.ErrNotExist)
	c.Close()
	require.ErrorIs(t, c.call(t.Context(), "m", nil, nil), net.ErrClosed)
}

func TestChangeOutlivesItsContext(t *testing.T) {
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
	c := f.client(t, time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-begun
		cancel()
		close(cancelled)
	}()
	uuid, err := CreateLvol("store", "vol-1", 1).Do(ctx, c)
	require.NoError(t, err)
	require.Equal(t, "uuid", uuid)
	_, err = CreateLvol("store", "vol-1", 1).Do(ctx, c)
	require.ErrorIs(t, err, context.Canceled, "nothing new begins")
}
