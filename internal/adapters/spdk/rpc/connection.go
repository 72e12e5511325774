package rpc

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/longhorn/go-spdk-helper/pkg/jsonrpc"
)

// connection is one socket. A goroutine of it reads until it breaks.
type connection struct {
	raw    net.Conn
	number uint64
	client *Client

	writing sync.Mutex
	heard   lastHeard

	mu      sync.Mutex
	pending map[uint32]*pending
	err     error
	broken  chan struct{}
}

type pending struct {
	call     *Call
	answered chan<- struct{}
}

// answer is one response. jsonrpc.Response of go-spdk-helper has the same
// fields, but decodes Result into interface{}.
type answer struct {
	ID     *uint32                `json:"id"`
	Result json.RawMessage        `json:"result"`
	Error  *jsonrpc.ResponseError `json:"error"`
}

func newConnection(raw net.Conn, c *Client) *connection {
	conn := &connection{raw: raw, number: c.dials, client: c, pending: make(map[uint32]*pending), broken: make(chan struct{})}
	go conn.read()
	return conn
}

// send has the calls written as one buffer, and does not wait for that: a
// target that is stopped, not dead, reads nothing, and its socket fills. A call
// that cannot be encoded has its error at once. written tells how many bytes
// have left, once that is known.
func (conn *connection) send(calls []*Call, answered chan<- struct{}) (written <-chan int) {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	conn.mu.Lock()
	if len(conn.pending) == 0 {
		conn.heard.begin()
	}
	for _, one := range calls {
		one.id, one.conn = conn.client.lastID.Add(1), conn.number
		mark := buffer.Len()
		if err := encoder.Encode(jsonrpc.NewMessage(one.id, one.method, one.params)); err != nil {
			buffer.Truncate(mark)
			one.Err = conn.client.failed(one, err)
			answered <- struct{}{}
			continue
		}
		conn.pending[one.id] = &pending{one, answered}
	}
	conn.mu.Unlock()

	bytes := make(chan int, 1)
	go conn.write(buffer.Bytes(), conn.client.Timeout, bytes)
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
	decoder := json.NewDecoder(bufio.NewReaderSize(listener{conn}, 64<<10))
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
			p.call.Err = conn.client.decode(p.call, a)
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
func (c *Client) whyNotDialed(err error) error {
	if found, statErr := os.Stat(c.path); statErr == nil && found.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("it is no socket, expected a target's JSON-RPC socket: %w", err)
	}
	return err
}

func (c *Client) decode(one *Call, a answer) error {
	if a.Error != nil {
		return newRefusal(c.path, one.method, *a.Error)
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
func (conn *connection) abandon(calls []*Call, err error) (abandoned int) {
	conn.mu.Lock()
	defer conn.mu.Unlock()
	for _, one := range calls {
		if p := conn.pending[one.id]; p != nil && p.call == one {
			delete(conn.pending, one.id)
			one.Err = conn.client.failed(one, err)
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
