package simtarget

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// What a target takes in at once, and the longest request
// (SPDK_JSONRPC_RECV_BUF_SIZE).
const (
	receiveBytes = 1 << 20
	longest      = 32 << 10
)

// chunks are what connections read into: each is a MiB to clear, and a test makes
// thousands of connections.
var chunks = sync.Pool{New: func() any { return new([receiveBytes]byte) }}

// connection is one client. Answers wait in it until they are written, so that a
// client that does not read hinders nobody else.
type connection struct {
	target *Target
	raw    net.Conn

	mu      sync.Mutex
	wake    *sync.Cond
	inbox   []*request // those that the target has not looked at yet (Config.Poll)
	held    [][]byte   // answers for the next look at the socket (Config.Poll)
	waiting [][]byte   // answers to be written
	closing bool       // once what is waiting is written
	closed  bool
}

func (t *Target) accept() {
	for {
		raw, err := t.socket.Accept()
		if err != nil {
			return // it was closed
		}
		c := &connection{target: t, raw: raw}
		c.wake = sync.NewCond(&c.mu)
		t.connecting.Lock()
		t.connections[c] = struct{}{}
		t.connecting.Unlock()
		select {
		case <-t.dead: // die has not seen it
			c.close()
		default:
		}
		t.serving.Go(c.read)
		t.serving.Go(c.write)
	}
}

// read takes requests in as they come. Those that come in one piece are taken up
// together.
func (c *connection) read() {
	defer func() {
		c.close()
		c.target.connecting.Lock()
		defer c.target.connecting.Unlock()
		delete(c.target.connections, c)
	}()
	chunk := chunks.Get().(*[receiveBytes]byte)
	defer chunks.Put(chunk)
	var received []byte
	for {
		n, err := c.raw.Read(chunk[:])
		if err != nil {
			return
		}
		received = append(received, chunk[:n]...)
		requests, rest, bad := c.split(received)
		received = append(received[:0], rest...)
		c.arrived(requests)
		if bad || len(received) > longest {
			c.finish()
			return
		}
	}
}

// split cuts whole requests off. Where one is no JSON it is answered, and nothing
// after it can be understood.
func (c *connection) split(received []byte) (requests []*request, rest []byte, bad bool) {
	for {
		received = bytes.TrimLeft(received, " \t\r\n\x00")
		decoder := json.NewDecoder(bytes.NewReader(received))
		var whole json.RawMessage
		err := decoder.Decode(&whole)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return requests, received, false
		}
		if err != nil {
			c.refuse(codeParseError, "Parse error")
			return requests, nil, true
		}
		received = received[decoder.InputOffset():]
		if r := c.parse(whole); r != nil {
			requests = append(requests, r)
		}
	}
}

// parse reads one request. What is none is answered.
func (c *connection) parse(whole json.RawMessage) *request {
	var given struct {
		Version *json.RawMessage `json:"jsonrpc"`
		Method  *string          `json:"method"`
		Params  json.RawMessage  `json:"params"`
		ID      json.RawMessage  `json:"id"`
	}
	fields := json.NewDecoder(bytes.NewReader(whole))
	fields.DisallowUnknownFields()
	if whole[0] != '{' || fields.Decode(&given) != nil || given.Method == nil ||
		given.Version != nil && string(*given.Version) != `"2.0"` ||
		len(given.ID) > 0 && (given.ID[0] == '{' || given.ID[0] == '[' || given.ID[0] == 't' || given.ID[0] == 'f') ||
		len(given.Params) > 0 && given.Params[0] != '{' && given.Params[0] != '[' && string(given.Params) != "null" {
		c.refuse(codeInvalidRequest, "Invalid request")
		return nil
	}
	if string(given.Params) == "null" {
		given.Params = nil
	}
	if given.ID == nil {
		given.ID = json.RawMessage("null")
	}
	return &request{target: c.target, conn: c, id: given.ID, method: *given.Method, params: given.Params}
}

// refuse answers something that is no request, and so has no ID.
func (c *connection) refuse(code int, message string) {
	(&request{target: c.target, conn: c, id: json.RawMessage("null")}).conclude(nil, &Error{code, message})
}

// arrived hands requests on: to the next look at the sockets, or at once.
func (c *connection) arrived(requests []*request) {
	if len(requests) == 0 {
		return
	}
	if c.target.config.Poll > 0 {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.inbox = append(c.inbox, requests...)
		return
	}
	c.target.consider(requests)
}

// poll looks at all connections again and again: what was answered since the last
// time goes out, then what has arrived is taken up.
func (t *Target) poll() {
	ticker := time.NewTicker(t.config.Poll)
	defer ticker.Stop()
	for {
		select {
		case <-t.dead:
			return
		case <-ticker.C:
		}
		var arrived []*request
		t.connecting.Lock()
		for c := range t.connections {
			arrived = append(arrived, c.look()...)
		}
		t.connecting.Unlock()
		t.consider(arrived)
	}
}

func (c *connection) look() (arrived []*request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = append(c.waiting, c.held...)
	c.held = nil
	c.wake.Broadcast()
	arrived, c.inbox = c.inbox, nil
	return arrived
}

// consider asks what faults befall the requests, and has the target take up those
// that are left.
func (t *Target) consider(requests []*request) {
	taken := requests[:0]
	for _, r := range requests {
		fault := t.admit(r)
		if fault.Delay > 0 || fault.Until != nil {
			t.serving.Go(func() { t.delay(r, fault) })
			continue
		}
		if t.befall(r, fault) {
			taken = append(taken, r)
		}
	}
	if len(taken) > 0 {
		t.take(taken)
	}
}

func (t *Target) delay(r *request, fault Fault) {
	timer := time.NewTimer(fault.Delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.dead:
		return
	}
	if fault.Until != nil {
		select {
		case <-fault.Until:
		case <-t.dead:
			return
		}
	}
	if t.befall(r, fault) {
		t.take([]*request{r})
	}
}

// befall reports whether the request is to take effect.
func (t *Target) befall(r *request, fault Fault) bool {
	r.after, r.garble = fault.After, fault.Garble
	if fault.Before == Nothing && fault.Refuse == nil {
		return true
	}
	t.fabric.mu.Lock()
	defer t.fabric.mu.Unlock()
	switch {
	case fault.Before != Nothing:
		r.after = fault.Before
		r.conclude(nil, nil)
	default:
		r.after = Nothing
		r.conclude(nil, fault.Refuse)
	}
	return false
}

// send has an answer written, with Config.Poll at the next look.
func (c *connection) send(answer []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.target.config.Poll > 0 {
		c.held = append(c.held, answer)
		return
	}
	c.waiting = append(c.waiting, answer)
	c.wake.Broadcast()
}

// write writes answers until the connection is closed.
func (c *connection) write() {
	for {
		c.mu.Lock()
		for len(c.waiting) == 0 && !c.closed && !c.closing {
			c.wake.Wait()
		}
		out := net.Buffers(c.waiting)
		c.waiting = nil
		over := c.closed || c.closing
		c.mu.Unlock()
		if _, err := out.WriteTo(c.raw); err != nil || over {
			c.close()
			return
		}
	}
}

// finish closes the connection once what was answered is written.
func (c *connection) finish() {
	c.mu.Lock()
	c.waiting = append(c.waiting, c.held...)
	c.held, c.closing = nil, true
	c.wake.Broadcast()
	for !c.closed {
		c.wake.Wait()
	}
	c.mu.Unlock()
}

func (c *connection) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.closed = true
		_ = c.raw.Close()
		c.wake.Broadcast()
	}
}
