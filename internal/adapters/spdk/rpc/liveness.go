package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/longhorn/go-spdk-helper/pkg/jsonrpc"
)

// A target that is stopped, not dead, keeps its socket, and every call would be
// waited for until its own patience ends, one after the other. But one that works
// answers something every few milliseconds, whatever else takes it long. So
// where nothing at all is heard for a while it is asked something cheap, and where
// that is not answered either, it hangs.
type liveness struct {
	listen time.Duration // how often it is looked whether something was heard
	ping   time.Duration // quiet for so long: it is asked something cheap
	hangs  time.Duration // quiet for so long: it hangs

	// What is asked of a target that was found to hang fails at once, and once in a
	// while after a short wait: clean-ups ask many things.
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

// Is tells that no answer came in all the time that it had: asking again takes
// as long.
func (unresponsiveError) Is(target error) bool { return target == context.DeadlineExceeded }

// lastHeard is when something was last heard over a connection, or, if nothing was
// asked meanwhile, asked.
type lastHeard struct {
	at   atomic.Int64 // nanoseconds
	ever atomic.Bool
}

func (h *lastHeard) begin() { h.at.Store(time.Now().UnixNano()) }

func (h *lastHeard) quiet() time.Duration { return time.Duration(time.Now().UnixNano() - h.at.Load()) }

// listener is a connection's socket, and notes when something comes in: also part of
// an answer, which can be long.
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
	switch quiet := conn.heard.quiet(); {
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

// ping asks for what any target answers, if with "Method not found". Nobody waits
// for the answer as such.
func (conn *connection) ping() {
	var request bytes.Buffer
	if json.NewEncoder(&request).Encode(jsonrpc.NewMessage(conn.client.lastID.Add(1), methodGetVersion, nil)) == nil {
		go conn.write(request.Bytes(), make(chan int, 1))
	}
}
