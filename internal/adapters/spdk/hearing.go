package spdk

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
type ears struct {
	listen time.Duration // how often it is looked whether something was heard
	ping   time.Duration // quiet for so long: it is asked something cheap
	deaf   time.Duration // quiet for so long: it hangs

	// What is asked of a target that was found to hang fails at once, and once in a
	// while after a short wait: clean-ups ask many things.
	again     time.Duration
	stillDeaf time.Duration
}

var usualEars = ears{
	listen: 250 * time.Millisecond, ping: 2 * time.Second, deaf: 5 * time.Second,
	again: time.Second, stillDeaf: time.Second,
}

// errDeaf is what every call ends with that is asked of a target that hangs.
var errDeaf error = deafError{}

type deafError struct{}

// Error says what it means.
func (deafError) Error() string { return "the target hangs: it answers nobody" }

// Is tells that no answer came in all the time that it had: asking again takes
// as long.
func (deafError) Is(target error) bool { return target == context.DeadlineExceeded }

// hearing is when something was last heard over a connection, or, if nothing was
// asked meanwhile, asked.
type hearing struct {
	at   atomic.Int64 // nanoseconds
	ever atomic.Bool
}

func (h *hearing) begin() { h.at.Store(time.Now().UnixNano()) }

func (h *hearing) quiet() time.Duration { return time.Duration(time.Now().UnixNano() - h.at.Load()) }

// heard is a connection's socket, and notes when something comes in: also part of
// an answer, which can be long.
type heard struct{ conn *connection }

func (r heard) Read(p []byte) (int, error) {
	n, err := r.conn.raw.Read(p)
	if n > 0 {
		r.conn.hearing.begin()
		r.conn.hearing.ever.Store(true)
		r.conn.client.deaf.Store(false)
	}
	return n, err
}

// listen is called now and then while answers are waited for.
func (conn *connection) listen(c *client) {
	patience := c.ears.deaf
	if c.deaf.Load() && !conn.hearing.ever.Load() {
		patience = c.ears.stillDeaf
	}
	switch quiet := conn.hearing.quiet(); {
	case quiet >= patience:
		c.isDeaf()
		conn.breakOff(fmt.Errorf("no answer to anything within %v: %w", patience, errDeaf))
	case quiet >= c.ears.ping:
		conn.ping(c)
	}
}

func (c *client) isDeaf() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deaf.Store(true)
	c.tried = time.Now()
}

// ping asks for what any target answers, if with "Method not found". Nobody waits
// for the answer as such.
func (conn *connection) ping(c *client) {
	var request bytes.Buffer
	if json.NewEncoder(&request).Encode(jsonrpc.NewMessage(c.lastID.Add(1), "spdk_get_version", nil)) == nil {
		go conn.write(request.Bytes(), c.timeout, make(chan int, 1))
	}
}
