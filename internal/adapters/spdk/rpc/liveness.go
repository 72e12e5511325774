package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/longhorn/go-spdk-helper/pkg/jsonrpc"
)

// liveness finds out that a target hangs. A target that is stopped, not dead, keeps its
// socket, and one call after the other would wait for its own timeout. But a target that
// works answers something every few milliseconds, even if one call takes long. So after
// some quiet it gets a cheap call, and if it does not answer that either, it hangs.
type liveness struct {
	listen time.Duration // how often the quiet is measured
	ping   time.Duration // quiet after which it gets a cheap call
	hangs  time.Duration // quiet after which it hangs

	// Calls to a target that hangs fail at once, or once in a while after a short wait:
	// a cleanup makes many.
	again      time.Duration
	stillHangs time.Duration
}

var usualLiveness = liveness{
	listen: 250 * time.Millisecond, ping: 2 * time.Second, hangs: 5 * time.Second,
	again: time.Second, stillHangs: time.Second,
}

// ErrUnresponsive ends every call to a target that hangs.
var ErrUnresponsive error = unresponsiveError{}

type unresponsiveError struct{}

// Error says what it means.
func (unresponsiveError) Error() string { return "the target hangs: it answers nobody" }

// Is makes it a timeout: a retry would take as long.
func (unresponsiveError) Is(target error) bool { return target == context.DeadlineExceeded }

// lastHeard is how long the target has sent nothing over a connection, since it last did or, if it
// was idle then, since it got its next call. Only time in which this process listens counts: one
// that stood still, or a machine that did, has no news of the target.
type lastHeard struct {
	ever atomic.Bool

	mu     sync.Mutex
	looked time.Time
	silent time.Duration
}

func (h *lastHeard) begin() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.looked, h.silent = time.Now(), 0
}

// quiet is called every so often.
func (h *lastHeard) quiet(every time.Duration) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	h.silent += min(now.Sub(h.looked), every)
	h.looked = now
	return h.silent
}

// listener is a connection's socket, and notes when something comes in, also a part of a
// long answer.
type listener struct{ conn *connection }

func (r listener) Read(p []byte) (int, error) {
	n, err := r.conn.raw.Read(p)
	if n > 0 {
		r.conn.heard.begin()
		r.conn.heard.ever.Store(true)
		r.conn.client.unresponsive.Store(false)
	}
	return n, err
}

// listen is called now and then while answers are waited for.
func (conn *connection) listen() {
	c := conn.client
	patience := c.liveness.hangs
	if c.unresponsive.Load() && !conn.heard.ever.Load() {
		patience = c.liveness.stillHangs
	}
	switch quiet := conn.heard.quiet(c.liveness.listen); {
	case quiet >= patience:
		c.noteUnresponsive()
		conn.breakOff(fmt.Errorf("no answer to anything within %v: %w", patience, ErrUnresponsive))
	case quiet >= c.liveness.ping:
		conn.ping()
	}
}

func (c *Client) noteUnresponsive() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unresponsive.Store(true)
	c.tried = time.Now()
}

// ping sends a call that any target answers, if with "Method not found". Nobody waits for
// the answer.
func (conn *connection) ping() {
	var request bytes.Buffer
	if json.NewEncoder(&request).Encode(jsonrpc.NewMessage(conn.client.lastID.Add(1), methodGetVersion, nil)) == nil {
		go conn.write(request.Bytes(), conn.client.Timeout, make(chan int, 1))
	}
}
