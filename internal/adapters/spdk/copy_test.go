package spdk

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/ports"
)

// answers replies with each text in turn, and closes the connection after the
// last one.
func answers(texts ...string) func(net.Conn, *json.Decoder) {
	return func(conn net.Conn, in *json.Decoder) {
		for _, text := range texts {
			var r request
			if in.Decode(&r) != nil {
				return
			}
			_, _ = fmt.Fprintf(conn, `{"jsonrpc":"2.0","id":%d,%s}`, r.ID, text)
		}
	}
}

const (
	inProgress = `"result":{"state":"in progress","copied_clusters":1,"total_clusters":2}`
	complete   = `"result":{"state":"complete","copied_clusters":2,"total_clusters":2}`
	failed     = `"result":{"state":"error","copied_clusters":1,"total_clusters":2,"error":"Input/output error"}`
	noSuch     = `"error":{"code":-19,"message":"No such device"}`
)

func TestTheEndOfACopyIsBelievedOnlyOverTheConnectionThatBeganIt(t *testing.T) {
	for name, c := range map[string]struct {
		conns []func(net.Conn, *json.Decoder)
		kind  error
	}{
		"complete":                              {[]func(net.Conn, *json.Decoder){answers(inProgress, complete)}, nil},
		"an error":                              {[]func(net.Conn, *json.Decoder){answers(inProgress, failed)}, ports.ErrUnavailable},
		"told to somebody else":                 {[]func(net.Conn, *json.Decoder){answers(inProgress, noSuch)}, ports.ErrUnavailable},
		"complete, after the connection broke":  {[]func(net.Conn, *json.Decoder){answers(inProgress), answers(inProgress, complete)}, ports.ErrUnavailable},
		"unknown, after the connection broke":   {[]func(net.Conn, *json.Decoder){answers(inProgress), answers(noSuch)}, ports.ErrUnavailable},
		"no answer at all until patience is up": {[]func(net.Conn, *json.Decoder){answers()}, ports.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			h := &Host{rpc: serve(t, c.conns...).client(t, 100*time.Millisecond)}
			err := h.watch(t.Context(), sending{operation: 7, conn: 1, watched: true}, nil)
			if c.kind == nil {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, c.kind)
			}
		})
	}
}

func TestACopyThatNobodyWatchesKeepsItsSnapshotBusyUntilItIsOver(t *testing.T) {
	ctx := t.Context()
	h := &Host{rpc: serve(t, answers(inProgress, inProgress, complete)).client(t, time.Minute), copies: map[string]sending{"a": {operation: 7, conn: 1}}}
	_, err := h.rpc.connected(ctx)
	require.NoError(t, err)
	require.ErrorIs(t, h.notCopied(ctx, "a"), ports.ErrBusy)
	require.ErrorIs(t, h.claimSource(ctx, "a"), ports.ErrBusy)
	require.NoError(t, h.notCopied(ctx, "b"))
	require.NoError(t, h.claimSource(ctx, "a"))
	require.ErrorIs(t, h.notCopied(ctx, "a"), ports.ErrBusy, "claimed for the next copy")
	h.unclaimSource("a")
	require.NoError(t, h.notCopied(ctx, "a"))
}

func TestACancelledCopyReturnsAtOnce(t *testing.T) {
	h := &Host{rpc: serve(t, func(conn net.Conn, in *json.Decoder) {
		for {
			var r request
			if in.Decode(&r) != nil {
				return
			}
			_, _ = fmt.Fprintf(conn, `{"jsonrpc":"2.0","id":%d,%s}`, r.ID, inProgress)
		}
	}).client(t, time.Hour)}
	ctx, cancel := context.WithCancel(t.Context())
	err := h.watch(ctx, sending{operation: 7, conn: 1, watched: true}, func(_, _ uint64) { cancel() })
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, ports.ErrUnavailable)
	require.ErrorIs(t, err, errStillCopying)
}
