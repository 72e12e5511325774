package rpc

import (
	"context"
	"encoding/json"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// piped is a client of a target that each connection to is handled so, within a bubble
// of virtual time. What is asked is read at once, as a socket would take it.
func piped(handle func(conn net.Conn, asked <-chan request)) *Client {
	return NewClient("piped", time.Hour, func(context.Context, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		asked := make(chan request, 1000)
		go func() {
			defer close(asked)
			in := json.NewDecoder(theirs)
			for {
				var r request
				if in.Decode(&r) != nil {
					return
				}
				asked <- r
			}
		}()
		go func() {
			defer func() { _ = theirs.Close() }()
			handle(theirs, asked)
		}()
		return ours, nil
	})
}

// Whatever a target answers, it is alive: another call may take it as long as that
// takes, minutes where a checksum is computed.
func TestSlowCallIsNoHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := piped(func(conn net.Conn, asked <-chan request) {
			slow := <-asked
			began := time.Now()
			for ping := range asked {
				reply(conn, ping.ID, `"a version"`)
				if time.Since(began) > time.Minute {
					reply(conn, slow.ID, "1")
				}
			}
		})
		defer c.Close()
		began := time.Now()
		require.NoError(t, c.call(t.Context(), "slow", nil, nil))
		require.Greater(t, time.Since(began), time.Minute)
		require.False(t, c.unresponsive.Load())
	})
}

// A long answer comes in parts, each of which says that the target is alive.
func TestAnswerInPartsIsNoHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := piped(func(conn net.Conn, asked <-chan request) {
			<-asked // pings are not answered
			for _, part := range []string{`{"jsonrpc":"2.0",`, `"id":1,`, `"result":[`, `1,`, `2`, `]}`} {
				time.Sleep(4 * time.Second)
				if _, err := conn.Write([]byte(part)); err != nil {
					return
				}
			}
			for range asked {
			}
		})
		defer c.Close()
		var result []int
		require.NoError(t, c.call(t.Context(), "long", nil, &result))
		require.Equal(t, []int{1, 2}, result)
	})
}

// While nothing is asked nothing is heard, however long that is: a call after it has all
// the time that the first one had.
func TestIdleTimeIsNoHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := piped(func(conn net.Conn, asked <-chan request) {
			for r := range asked {
				time.Sleep(time.Second)
				reply(conn, r.ID, "1")
			}
		})
		defer c.Close()
		for range 3 {
			require.NoError(t, c.call(t.Context(), "m", nil, nil))
			time.Sleep(time.Hour)
		}
		require.EqualValues(t, 1, c.dials)
	})
}

// After a time in which this process, or the machine, stood still, the target gets the chance to
// answer.
func TestTimeNotListenedIsNoHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h lastHeard
		h.begin()
		time.Sleep(time.Hour)
		require.Less(t, h.quiet(usualLiveness.listen), usualLiveness.ping)
		for range 2 * usualLiveness.hangs / usualLiveness.listen {
			time.Sleep(usualLiveness.listen / 2) // two calls listen
			h.quiet(usualLiveness.listen)
		}
		require.GreaterOrEqual(t, h.quiet(usualLiveness.listen), usualLiveness.hangs)
	})
}

// One that has hung is asked again for a moment only. Once it has answered it has the
// usual patience again.
func TestRecoveredTargetHasUsualPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var answers atomic.Bool
		c := piped(func(conn net.Conn, asked <-chan request) {
			for r := range asked {
				if answers.Load() {
					time.Sleep(500 * time.Millisecond)
					if r.Method == "slow" {
						time.Sleep(3 * time.Second)
					}
					reply(conn, r.ID, "1")
				}
			}
		})
		defer time.Sleep(time.Minute) // the target, which may be at work still
		defer c.Close()
		took := func(method string) (time.Duration, error) {
			began := time.Now()
			err := c.call(t.Context(), method, nil, nil)
			return time.Since(began), err
		}
		first, err := took("m")
		require.ErrorIs(t, err, ErrUnresponsive)
		require.GreaterOrEqual(t, first, usualLiveness.hangs)
		time.Sleep(usualLiveness.again)
		second, err := took("m")
		require.ErrorIs(t, err, ErrUnresponsive)
		require.Less(t, second, 2*usualLiveness.stillHangs)
		time.Sleep(usualLiveness.again)
		answers.Store(true)
		_, err = took("slow")
		require.ErrorIs(t, err, ErrUnresponsive, "longer than one that has hung is waited for")
		time.Sleep(usualLiveness.again)
		_, err = took("m")
		require.NoError(t, err)
		_, err = took("slow")
		require.NoError(t, err)
		require.False(t, c.unresponsive.Load())
	})
}
