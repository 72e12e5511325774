package rpc

import (
	"context"
	"encoding/json"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/ports"
)

// quickLiveness make a target that hangs known within a blink.
var quickLiveness = liveness{
	listen: time.Millisecond, ping: 10 * time.Millisecond, hangs: 50 * time.Millisecond,
	again: time.Hour, stillHangs: time.Millisecond,
}

func TestSilentTargetHangs(t *testing.T) {
	f := serve(t, swallow)
	c := f.client(t, time.Hour)
	c.liveness = quickLiveness
	one, two := newCall("first", nil, nil), newCall("second", nil, nil)
	c.Do(t.Context(), one, two)
	for _, ended := range []*Call{one, two} {
		require.ErrorIs(t, ended.Err, ErrUnresponsive)
		require.ErrorIs(t, ended.Err, ports.ErrUnavailable)
		require.ErrorIs(t, ended.Err, context.DeadlineExceeded, "it is not worth a retry")
		require.True(t, OutcomeUnknown(ended.Err), "it may have taken effect")
	}
	require.ErrorIs(t, c.call(t.Context(), "third", nil, nil), ErrUnresponsive, "at once, it is not asked again for an hour")
	require.EqualValues(t, 1, c.dials)
}

func TestSlowCallWaitsWhilePingsAreAnswered(t *testing.T) {
	pinged := make(chan struct{}, 1000)
	f := serve(t, func(conn net.Conn, in *json.Decoder) {
		var slow request
		if in.Decode(&slow) != nil {
			return
		}
		began := time.Now()
		for {
			var ping request
			if in.Decode(&ping) != nil {
				return
			}
			pinged <- struct{}{}
			reply(conn, ping.ID, `"a version"`)
			if time.Since(began) > 2*quickLiveness.hangs {
				reply(conn, slow.ID, "1")
			}
		}
	})
	c := f.client(t, time.Hour)
	c.liveness = quickLiveness
	c.liveness.hangs = time.Hour // not the point, and the machine may be busy
	var result int
	require.NoError(t, c.call(t.Context(), "slow", nil, &result))
	require.Equal(t, 1, result)
	require.NotEmpty(t, pinged)
}

func TestHungTargetRecovers(t *testing.T) {
	f := serve(t, append(slices.Repeat([]targettest.Script{swallow}, 2), echo)...)
	c := f.client(t, time.Hour)
	c.liveness = quickLiveness
	c.liveness.again = 0
	require.ErrorIs(t, c.call(t.Context(), "m", nil, nil), ErrUnresponsive)
	c.liveness.hangs = time.Hour
	require.ErrorIs(t, c.call(t.Context(), "m", nil, nil), ErrUnresponsive, "one that has hung is waited for a moment only")
	c.liveness = usualLiveness
	var result int
	require.Eventually(t, func() bool { return c.call(t.Context(), "m", 3, &result) == nil }, time.Minute, time.Millisecond)
	require.Equal(t, 3, result)
	require.False(t, c.unresponsive.Load())
}
