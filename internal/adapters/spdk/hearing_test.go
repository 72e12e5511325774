package spdk

import (
	"context"
	"encoding/json"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/ports"
)

// quickEars make a target that hangs known within a blink.
var quickEars = ears{
	listen: time.Millisecond, ping: 10 * time.Millisecond, deaf: 50 * time.Millisecond,
	again: time.Hour, stillDeaf: time.Millisecond,
}

func TestATargetThatAnswersNothingHangs(t *testing.T) {
	f := serve(t, swallow)
	c := f.client(t, time.Hour)
	c.ears = quickEars
	one, two := newCall("first", nil, nil), newCall("second", nil, nil)
	c.do(t.Context(), one, two)
	for _, ended := range []*call{one, two} {
		require.ErrorIs(t, ended.err, errDeaf)
		require.ErrorIs(t, ended.err, ports.ErrUnavailable)
		require.ErrorIs(t, ended.err, context.DeadlineExceeded, "it is not worth a retry")
		require.True(t, unsaid(ended.err), "it may have taken effect")
	}
	require.ErrorIs(t, c.call(t.Context(), "third", nil, nil), errDeaf, "at once, it is not asked again for an hour")
	require.EqualValues(t, 1, c.dials)
}

func TestASlowCallIsWaitedForWhileTheTargetAnswersOthers(t *testing.T) {
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
			if time.Since(began) > 2*quickEars.deaf {
				reply(conn, slow.ID, "1")
			}
		}
	})
	c := f.client(t, time.Hour)
	c.ears = quickEars
	c.ears.deaf = time.Hour // not the point, and the machine may be busy
	var result int
	require.NoError(t, c.call(t.Context(), "slow", nil, &result))
	require.Equal(t, 1, result)
	require.NotEmpty(t, pinged)
}

func TestATargetThatHungIsHeardAgain(t *testing.T) {
	var dialled atomic.Int32
	f := serve(t, func(conn net.Conn, in *json.Decoder) {
		if dialled.Add(1) <= 2 {
			swallow(conn, in)
		} else {
			echo(conn, in)
		}
	})
	c := f.client(t, time.Hour)
	c.ears = quickEars
	c.ears.again = 0
	require.ErrorIs(t, c.call(t.Context(), "m", nil, nil), errDeaf)
	c.ears.deaf = time.Hour
	require.ErrorIs(t, c.call(t.Context(), "m", nil, nil), errDeaf, "one that has hung is waited for a moment only")
	c.ears = usualEars
	var result int
	require.Eventually(t, func() bool { return c.call(t.Context(), "m", 3, &result) == nil }, time.Minute, time.Millisecond)
	require.Equal(t, 3, result)
	require.False(t, c.deaf.Load())
}
