package spdk

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/longhorn/go-spdk-helper/pkg/jsonrpc"
	helpertypes "github.com/longhorn/go-spdk-helper/pkg/types"
)

// client speaks JSON-RPC with one target. It connects at the first call and
// again after the connection broke, so a target may restart under it. Calls
// share one connection; answers are matched by id, since SPDK gives them in
// the order in which it finishes.
//
// go-spdk-helper's own client is not used: it looks for one answer every 10 ms
// (64 calls at once take 641 ms instead of 5), takes no context, and decodes
// results into interface{}, where a 64-bit checksum becomes a float.
type client struct {
	path    string
	dial    Dialer
	timeout time.Duration
	ears    ears

	lastID atomic.Uint32
	deaf   atomic.Bool // the last connection ended because the target hangs

	mu     sync.Mutex
	tried  time.Time // while it is deaf: when it was last asked
	conn   *connection
	dials  uint64 // connections so far: the number of the current one
	closed bool
}

func newClient(path string, timeout time.Duration, dial Dialer) *client {
	if dial == nil {
		dial = dialUnix
	}
	return &client{path: path, dial: dial, timeout: timeout, ears: usualEars}
}

func dialUnix(ctx context.Context, path string) (net.Conn, error) {
	var dialer net.Dialer
	return dialer.DialContext(ctx, helpertypes.DefaultJSONServerNetwork, path)
}

// call is one request and what came of it. It is used once.
type call struct {
	method  string
	params  any
	into    any           // where the result is decoded, nil: it is not looked at
	patient time.Duration // on top of the client's timeout, for what reads data
	id      uint32
	conn    uint64 // the number of the connection that it went over
	err     error
}

func newCall(method string, params, into any) *call {
	return &call{method: method, params: params, into: into}
}

// window is how many calls of one batch are under way at once. It is large
// enough that the 4 ms between two polls of the target do not count, and keeps
// what waits in the target's memory small.
const window = 256

// call does one call.
func (c *client) call(ctx context.Context, method string, params, into any) error {
	one := newCall(method, params, into)
	c.do(ctx, one)
	return one.err
}

// do does calls that do not depend on each other, and returns when each has
// its result or its error. The first window of them leaves in one write; the
// others follow as answers come in.
func (c *client) do(ctx context.Context, calls ...*call) {
	c.doAtMost(ctx, window, calls...)
}

// doAtMost is do with another window: what reads data is not asked for all at
// once.
func (c *client) doAtMost(ctx context.Context, atOnce int, calls ...*call) {
	if len(calls) == 0 {
		return
	}
	// A target that was restarted since the last call has closed the connection,
	// which may not be known yet: then nothing is sent, and nothing is done.
	for attempt := 0; ; attempt++ {
		conn, err := c.connected(ctx)
		if err != nil {
			for _, one := range calls {
				one.err = c.failed(one, err)
			}
			return
		}
		c.doOver(ctx, conn, atOnce, calls)
		if attempt > 0 || !allUnsent(calls) {
			return
		}
	}
}

func allUnsent(calls []*call) bool {
	for _, one := range calls {
		if !errors.Is(one.err, errNothingSent) {
			return false
		}
	}
	return true
}

// doOver does calls over one connection.
func (c *client) doOver(ctx context.Context, conn *connection, atOnce int, calls []*call) {
	var err error
	answered := make(chan struct{}, len(calls))
	sent, done := 0, 0
	var written []<-chan int
	send := func(n int) {
		batch := calls[sent:min(sent+n, len(calls))]
		sent += len(batch)
		written = append(written, conn.send(c, batch, answered))
	}
	patience := c.timeout
	for _, one := range calls {
		patience = max(patience, c.timeout+one.patient)
	}
	// Each answer buys the others the whole patience again: a large batch may
	// take long, a target that is silent may not.
	silent := time.NewTimer(patience)
	defer silent.Stop()
	listening := time.NewTicker(c.ears.listen)
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
			conn.listen(c)
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
	for left := conn.abandon(c, calls[:sent], err); done < sent-left; done++ {
		<-answered
	}
	for _, one := range calls[sent:] {
		one.err = c.failed(one, err)
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
func (c *client) connected(ctx context.Context) (*connection, error) {
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
	if c.deaf.Load() {
		if time.Since(c.tried) < c.ears.again {
			return nil, errDeaf
		}
		c.tried = time.Now()
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	raw, err := c.dial(ctx, c.path)
	if err != nil {
		return nil, c.whyNotDialed(err)
	}
	c.dials++
	c.conn = newConnection(raw, c)
	return c.conn, nil
}

// connectionNumber tells one connection from the next: 0 for none, or a broken
// one.
func (c *client) connectionNumber() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil || c.conn.isBroken() {
		return 0
	}
	return c.conn.number
}

// close ends the connection; calls under way fail, later ones too.
func (c *client) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.conn != nil {
		c.conn.breakOff(net.ErrClosed)
	}
}

func (c *client) failed(one *call, err error) error {
	return &unreachableError{Target: c.path, Method: one.method, Err: err}
}

// connection is one socket. A goroutine of it reads until it breaks.
type connection struct {
	raw    net.Conn
	number uint64
	client *client

	writing sync.Mutex
	hearing hearing

	mu      sync.Mutex
	pending map[uint32]*pending
	err     error
	broken  chan struct{}
}

type pending struct {
	call     *call
	client   *client
	answered chan<- struct{}
}

// answer is one response. jsonrpc.Response of go-spdk-helper has the same
// fields, but decodes Result into interface{}.
type answer struct {
	ID     *uint32                `json:"id"`
	Result json.RawMessage        `json:"result"`
	Error  *jsonrpc.ResponseError `json:"error"`
}

func newConnection(raw net.Conn, c *client) *connection {
	conn := &connection{raw: raw, number: c.dials, client: c, pending: make(map[uint32]*pending), broken: make(chan struct{})}
	go conn.read()
	return conn
}

// send has the calls written as one buffer, and does not wait for that: a
// target that is stopped, not dead, reads nothing, and its socket fills. A call
// that cannot be encoded has its error at once. written tells how many bytes
// have left, once that is known.
func (conn *connection) send(c *client, calls []*call, answered chan<- struct{}) (written <-chan int) {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	conn.mu.Lock()
	if len(conn.pending) == 0 {
		conn.hearing.begin()
	}
	for _, one := range calls {
		one.id, one.conn = c.lastID.Add(1), conn.number
		mark := buffer.Len()
		if err := encoder.Encode(jsonrpc.NewMessage(one.id, one.method, one.params)); err != nil {
			buffer.Truncate(mark)
			one.err = c.failed(one, err)
			answered <- struct{}{}
			continue
		}
		conn.pending[one.id] = &pending{call: one, client: c, answered: answered}
	}
	conn.mu.Unlock()

	bytes := make(chan int, 1)
	go conn.write(buffer.Bytes(), c.timeout, bytes)
	return bytes
}

func (conn *connection) write(requests []byte, timeout time.Duration, written chan<- int) {
	conn.writing.Lock()
	defer conn.writing.Unlock()
	err := conn.raw.SetWriteDeadline(time.Now().Add(timeout))
	n := 0
	if err == nil {
		n, err = conn.raw.Write(requests)
	}
	written <- n
	if err != nil {
		conn.breakOff(err) // half a request may be out: nothing can follow it
	}
}

// read hands out answers until the connection breaks.
func (conn *connection) read() {
	decoder := json.NewDecoder(bufio.NewReaderSize(heard{conn}, 64<<10))
	for {
		var a answer
		if err := decoder.Decode(&a); err != nil {
			conn.breakOff(whyNotRead(err))
			return
		}
		if a.ID == nil {
			// SPDK answers without an id what it could not parse, and closes.
			conn.breakOff(errors.New("the target could not parse a request"))
			return
		}
		conn.mu.Lock()
		p := conn.pending[*a.ID]
		delete(conn.pending, *a.ID)
		conn.mu.Unlock()
		if p != nil { // else its caller has given up
			p.call.err = p.client.decode(p.call, a)
			p.answered <- struct{}{}
		}
	}
}

// whyNotRead says what an error of a connection means.
func whyNotRead(err error) error {
	bad := (*json.SyntaxError)(nil)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return errors.New("the target closed the connection")
	case errors.As(err, &bad):
		return fmt.Errorf("the answer is not JSON, so this is not a target's JSON-RPC socket: %w", err)
	}
	return err
}

// whyNotDialed: that a file is no socket is said in the same words as that nobody
// serves it.
func (c *client) whyNotDialed(err error) error {
	if found, statErr := os.Stat(c.path); statErr == nil && found.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("it is no socket, expected a target's JSON-RPC socket: %w", err)
	}
	return err
}

func (c *client) decode(one *call, a answer) error {
	if a.Error != nil {
		return newRPCError(c.path, one.method, *a.Error)
	}
	if one.into == nil {
		return nil
	}
	if err := json.Unmarshal(a.Result, one.into); err != nil {
		return c.failed(one, fmt.Errorf("unexpected result: %w", err))
	}
	return nil
}

// abandon gives the error to every call that has no answer yet, and says to
// how many.
func (conn *connection) abandon(c *client, calls []*call, err error) (abandoned int) {
	conn.mu.Lock()
	defer conn.mu.Unlock()
	for _, one := range calls {
		if p := conn.pending[one.id]; p != nil && p.call == one {
			delete(conn.pending, one.id)
			one.err = c.failed(one, err)
			abandoned++
		}
	}
	return abandoned
}

func (conn *connection) breakOff(err error) {
	conn.mu.Lock()
	defer conn.mu.Unlock()
	if conn.err == nil {
		conn.err = err
		close(conn.broken)
		_ = conn.raw.Close()
	}
}

func (conn *connection) isBroken() bool { return conn.reason() != nil }

func (conn *connection) reason() error {
	conn.mu.Lock()
	defer conn.mu.Unlock()
	return conn.err
}
