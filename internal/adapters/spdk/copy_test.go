package spdk

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/ports"
)

// answers replies with each text in turn, and closes the connection after the
// last one.
func answers(texts ...string) targettest.Script {
	return func(conn net.Conn, in *json.Decoder) {
		for _, text := range texts {
			var r targettest.Request
			if in.Decode(&r) != nil {
				return
			}
			_, _ = fmt.Fprintf(conn, `{"jsonrpc":"2.0","id":%d,%s}`, r.ID, text)
		}
	}
}

// scripted is a client of a scripted target.
func scripted(t *testing.T, timeout time.Duration, scripts ...targettest.Script) *rpc.Client {
	t.Helper()
	c := rpc.NewClient(targettest.Serve(t, scripts...), timeout, nil)
	t.Cleanup(c.Close)
	return c
}

const (
	inProgress = `"result":{"state":"in progress","copied_clusters":1,"total_clusters":2}`
	complete   = `"result":{"state":"complete","copied_clusters":2,"total_clusters":2}`
	failed     = `"result":{"state":"error","copied_clusters":1,"total_clusters":2,"error":"Input/output error"}`
	noSuch     = `"error":{"code":-19,"message":"No such device"}`
)

func TestCopyEndCountsOnItsOwnConnectionOnly(t *testing.T) {
	for name, c := range map[string]struct {
		conns []targettest.Script
		kind  error
	}{
		"complete":                              {[]targettest.Script{answers(inProgress, complete)}, nil},
		"an error":                              {[]targettest.Script{answers(inProgress, failed)}, ports.ErrUnavailable},
		"told to somebody else":                 {[]targettest.Script{answers(inProgress, noSuch)}, ports.ErrUnavailable},
		"complete, after the connection broke":  {[]targettest.Script{answers(inProgress), answers(inProgress, complete)}, ports.ErrUnavailable},
		"unknown, after the connection broke":   {[]targettest.Script{answers(inProgress), answers(noSuch)}, ports.ErrUnavailable},
		"no answer at all until patience is up": {[]targettest.Script{answers()}, ports.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			copies := &copies{client: scripted(t, 100*time.Millisecond, c.conns...)}
			err := copies.watch(t.Context(), sending{operation: 7, conn: 1, watched: true}, nil)
			if c.kind == nil {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, c.kind)
			}
		})
	}
}

func TestUnwatchedCopyKeepsSnapshotBusy(t *testing.T) {
	ctx := t.Context()
	c := &copies{client: scripted(t, time.Minute, answers(noSuch, inProgress, inProgress, complete))}
	c.Set("a", sending{operation: 7, conn: 1})
	_, err := rpc.GetBdevs().Do(ctx, c.client) // connects
	require.True(t, rpc.IsRefusal(err))
	require.ErrorIs(t, c.none(ctx, "a"), ports.ErrBusy)
	require.ErrorIs(t, c.begin(ctx, "a"), ports.ErrBusy)
	require.NoError(t, c.none(ctx, "b"))
	require.NoError(t, c.begin(ctx, "a"))
	require.ErrorIs(t, c.none(ctx, "a"), ports.ErrBusy, "claimed for the next copy")
	c.Take("a")
	require.NoError(t, c.none(ctx, "a"))
}

func TestCancelledCopyReturnsAtOnce(t *testing.T) {
	c := &copies{client: scripted(t, time.Hour, func(conn net.Conn, in *json.Decoder) {
		for {
			var r targettest.Request
			if in.Decode(&r) != nil {
				return
			}
			_, _ = fmt.Fprintf(conn, `{"jsonrpc":"2.0","id":%d,%s}`, r.ID, inProgress)
		}
	})}
	ctx, cancel := context.WithCancel(t.Context())
	err := c.watch(ctx, sending{operation: 7, conn: 1, watched: true}, func(_, _ uint64) { cancel() })
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, ports.ErrUnavailable)
	require.ErrorIs(t, err, errStillCopying)
}

func TestCopyErrorHasTargetsText(t *testing.T) {
	for text, kind := range map[string]error{
		"Operation not permitted": ports.ErrInvalid,
		"Invalid argument":        ports.ErrInvalid,
		"Device or resource busy": ports.ErrBusy,
		"Input/output error":      ports.ErrUnavailable,
		"No such device":          ports.ErrUnavailable,
		"something new":           ports.ErrUnavailable,
	} {
		err := newCopyError(text)
		require.ErrorIs(t, err, kind, text)
		require.ErrorContains(t, err, text)
	}
}

// TestCopyWithoutDestinationKeepsController has a namespace appear late. A target that detaches the
// controller then crashes when the destination changes its namespaces.
func TestCopyWithoutDestinationKeepsController(t *testing.T) {
	t.Parallel()
	fabric := simtarget.NewFabric()
	p := &pair{targettest.Simulate(t, fabric, simtarget.Fork), targettest.Simulate(t, fabric, simtarget.Fork)}
	s := stage(t, p)
	var late, detached atomic.Bool
	late.Store(true)
	p.from.Simulated().Inject(func(r simtarget.Request) simtarget.Fault {
		switch {
		case r.Method == "bdev_nvme_detach_controller":
			detached.Store(true)
		case r.Method == "bdev_lvol_start_shallow_copy" && late.Load():
			return simtarget.Fault{Refuse: &simtarget.Error{Code: -32602, Message: "No such device"}}
		}
		return simtarget.Fault{}
	})
	require.ErrorIs(t, s.from.Copy(t.Context(), s.run, s.filled, s.address, nil), ports.ErrUnavailable)
	late.Store(false)
	require.NoError(t, s.from.Copy(t.Context(), s.run, s.filled, s.address, nil))
	require.False(t, detached.Load())
	require.NoError(t, s.from.Release(t.Context(), s.run))
	require.True(t, detached.Load())
}
