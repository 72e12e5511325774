package rpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	helpertypes "github.com/longhorn/go-spdk-helper/pkg/types"
)

// Client speaks JSON-RPC with one target. It connects at the first call and
// again after the connection broke, so a target may restart under it. Calls
// share one connection; answers are matched by id, since SPDK gives them in
// the order in which it finishes.
//
// go-spdk-helper's own client is not used: it looks for one answer every 10 ms
// (64 calls at once take 641 ms instead of 5), takes no context, and decodes
// results into interface{}, where a 64-bit checksum becomes a float.
type Client struct {
	Timeout time.Duration // how long the target may be silent

	path     string
	dial     func(ctx context.Context, socket string) (net.Conn, error)
	liveness liveness

	lastID       atomic.Uint32
	unresponsive atomic.Bool // the last connection ended because the target hangs

	mu     sync.Mutex
	tried  time.Time // while it is unresponsive: when it was last asked
	conn   *connection
	dials  uint64 // connections so far: the number of the current one
	closed bool
}

// NewClient is a client of the target with that socket. A nil dial takes it for
// a unix socket of this machine.
func NewClient(path string, timeout time.Duration, dial func(ctx context.Context, socket string) (net.Conn, error)) *Client {
	if dial == nil {
		dial = dialUnix
	}
	return &Client{Timeout: timeout, path: path, dial: dial, liveness: usualLiveness}
}

func dialUnix(ctx context.Context, path string) (net.Conn, error) {
	var dialer net.Dialer
	return dialer.DialContext(ctx, helpertypes.DefaultJSONServerNetwork, path)
}

// Path is that of the target's socket.
func (c *Client) Path() string { return c.path }

// window is how many calls of one batch are under way at once. It is large
// enough that the 4 ms between two polls of the target do not count, and keeps
// what waits in the target's memory small.
const window = 256

// Do sends calls that do not depend on each other, and returns when each has its
// result or its error. The first window of them leaves in one write; the others
// follow as answers come in. A call that changes something, and has begun, is not
// given up at once when the context ends (Grace).
func (c *Client) Do(ctx context.Context, requests ...Request) {
	c.DoAtMost(ctx, window, requests...)
}

// DoAtMost is Do with another window: calls that read data do not all begin at
// once.
func (c *Client) DoAtMost(ctx context.Context, atOnce int, requests ...Request) {
	calls := make([]*Call, len(requests))
	changes := false
	for i, one := range requests {
		calls[i] = one.base()
		changes = changes || calls[i].changes
	}
	if changes {
		var end context.CancelFunc
		ctx, end = withGrace(ctx)
		defer end()
	}
	c.do(ctx, atOnce, calls)
}

func (c *Client) do(ctx context.Context, atOnce int, calls []*Call) {
	if len(calls) == 0 {
		return
	}
	// A target that was restarted since the last call has closed the connection,
	// which may not be known yet: then nothing is sent, and nothing is done.
	for attempt := 0; ; attempt++ {
		conn, err := c.connected(ctx)
		if err != nil {
			for _, one := range calls {
				one.Err = c.failed(one, err)
			}
			return
		}
		c.doOver(ctx, conn, atOnce, calls)
		if attempt > 0 || !allUnsent(calls) {
			return
		}
	}
}

func allUnsent(calls []*Call) bool {
	for _, one := range calls {
		if !errors.Is(one.Err, errNothingSent) {
			return false
		}
	}
	return true
}

// doOver does calls over one connection.
func (c *Client) doOver(ctx context.Context, conn *connection, atOnce int, calls []*Call) {
	var err error
	answered := make(chan struct{}, len(calls))
	sent, done := 0, 0
	var written []<-chan int
	send := func(n int) {
		batch := calls[sent:min(sent+n, len(calls))]
		sent += len(batch)
		written = append(written, conn.send(batch, answered))
	}
	patience := c.Timeout
	for _, one := range calls {
		patience = max(patience, c.Timeout+one.patience)
	}
	// Each answer buys the others the whole patience again: a large batch may
	// take long, a target that is silent may not.
	silent := time.NewTimer(patience)
	defer silent.Stop()
	listening := time.NewTicker(c.liveness.listen)
	defer listening.Stop()

	send(atOnce)
	for err == nil && done < len(calls) {
		select {
		case <-answered:
			done++
			for len(answered) > 0 {
				<-answered
				done++
			}
			if sent < len(calls) {
				send(atOnce - (sent - done))
			}
			silent.Reset(patience)
		case <-conn.broken:
			err = conn.reason()
			if done == 0 && nothing(written) {
				err = fmt.Errorf("%w: %w", errNothingSent, err)
			}
		case <-listening.C:
			conn.listen()
		case <-silent.C:
			err = fmt.Errorf("no answer within %v: %w", patience, context.DeadlineExceeded)
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	if err == nil {
		return
	}
	// What the reader has taken up already keeps its answer.
	for left := conn.abandon(calls[:sent], err); done < sent-left; done++ {
		<-answered
	}
	for _, one := range calls[sent:] {
		one.Err = c.failed(one, err)
	}
}

// nothing reports whether no byte was written. The connection must be broken:
// then no write takes long.
func nothing(written []<-chan int) bool {
	for _, bytes := range written {
		if <-bytes > 0 {
			return false
		}
	}
	return true
}

// errNothingSent: not a byte of the requests has left.
var errNothingSent = errors.New("the connection was closed before the call")

// connected is the connection, a new one if the last one broke.
func (c *Client) connected(ctx context.Context) (*connection, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, net.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if c.conn != nil && !c.conn.isBroken() {
		return c.conn, nil
	}
	if c.unresponsive.Load() {
		if time.Since(c.tried) < c.liveness.again {
			return nil, ErrUnresponsive
		}
		c.tried = time.Now()
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	raw, err := c.dial(ctx, c.path)
	if err != nil {
		return nil, c.whyNotDialed(err)
	}
	c.dials++
	c.conn = newConnection(raw, c)
	return c.conn, nil
}

// ConnectionNumber tells one connection from the next: 0 for none, or a broken
// one.
func (c *Client) ConnectionNumber() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil || c.conn.isBroken() {
		return 0
	}
	return c.conn.number
}

// Close ends the connection; calls under way fail, later ones too.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.conn != nil {
		c.conn.breakOff(net.ErrClosed)
	}
}

func (c *Client) failed(one *Call, err error) error {
	return &Unanswered{Target: c.path, Method: one.method, Err: err}
}
