package nvmetcp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmetcp/wire"
)

var le = binary.LittleEndian

// errClosed is what commands fail with once the session was closed.
var errClosed = errors.New("the connection was closed")

// queue is one connection, with several commands on their way.
//
// Two goroutines serve it. The one that reads must never wait for the wire to
// take something: both sides would wait for each other. So all that is sent is
// handed to the other one.
type queue struct {
	conn    net.Conn
	in      *wire.Receiver
	admin   bool
	timeout time.Duration // what a command may take

	mostData int // bytes in one H2CData
	align    int // of data that is sent

	out    chan outgoing
	free   chan uint16   // identifiers of commands
	failed chan struct{} // closed when the connection is given up
	serves sync.WaitGroup

	mu      sync.Mutex
	pending map[uint16]*command
	failure error
}

// outgoing is a capsule to be sent, or data of a command, which takes as many
// PDUs as the controller wants.
type outgoing struct {
	head, data []byte
	of         *command // data: whose it is
	tags       [4]byte  // data: which transfer it is
	from       uint32   // data: its offset in the command's
}

// command is one on its way.
type command struct {
	sqe  *wire.Entry
	into []byte // what is read goes here
	from []byte // what is written comes from here

	moved    int  // bytes that have arrived, or were asked for
	sending  int  // data PDUs that are being sent
	answered bool // but from may still be read
	expires  *time.Timer

	result uint64
	err    error
	done   chan struct{} // closed when nobody touches into and from any more
}

// newQueue shakes hands and begins to serve. The connection is the queue's.
func newQueue(ctx context.Context, conn net.Conn, admin bool, depth int, timeout time.Duration) (*queue, error) {
	q := &queue{
		conn: conn, in: wire.NewReceiver(conn), admin: admin, timeout: timeout,
		out: make(chan outgoing, 2*depth), free: make(chan uint16, depth), failed: make(chan struct{}),
		pending: make(map[uint16]*command),
	}
	for id := range depth {
		q.free <- uint16(id)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	err := conn.SetDeadline(time.Now().Add(timeout))
	if err == nil {
		err = q.shakeHands()
	}
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		_ = conn.Close()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("shake hands: %w", wire.Unexpected(err))
	}
	q.serves.Go(q.receive)
	q.serves.Go(q.send)
	go q.abandonPending()
	return q, nil
}

func (q *queue) shakeHands() error {
	// No digests, data anywhere, one R2T a command: all zero.
	if _, err := q.conn.Write(wire.NewPDU(wire.KindICReq, 0, 0, 1)); err != nil {
		return err
	}
	answer, err := q.in.Next(0)
	switch {
	case err != nil:
		return err
	case answer.Kind == wire.KindC2HTermReq:
		return wire.Violated("refused: %s", describeTerm(answer))
	case answer.Kind != wire.KindICResp:
		return wire.Violated("%s instead of an ICResp", answer.Kind)
	}
	version, digests, mostData := le.Uint16(answer.Head[8:]), answer.Head[11], le.Uint32(answer.Head[12:])
	switch {
	case version != 0:
		return wire.Violated("version %d of the PDU format", version)
	case digests != 0:
		return wire.Violated("digests, which were not asked for")
	case mostData < 4096:
		return wire.Violated("at most %d bytes of data in a PDU, where at least 4096 are expected", mostData)
	}
	q.mostData = int(min(mostData, mostTransfer))
	q.align, err = wire.AlignOf(answer.Head[10])
	return err
}

// start sends a command, with data in its capsule, or with a buffer to read into
// or write from. The context, or whoever it belongs to, must fail the queue when
// it ends: until done is closed the buffers are in use.
func (q *queue) start(ctx context.Context, e *wire.Entry, inCapsule, into, from []byte) (*command, error) {
	c := &command{sqe: e, into: into, from: from, done: make(chan struct{})}
	var id uint16
	select {
	case id = <-q.free:
	case <-q.failed:
		return nil, q.why()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	e.SetID(id)
	capsule := wire.NewPDU(wire.KindCommand, 0, len(inCapsule), q.align)
	copy(capsule[wire.CommonSize:], e[:])

	q.mu.Lock()
	if q.failure != nil {
		q.mu.Unlock()
		return nil, q.why()
	}
	q.pending[id] = c
	c.expires = time.AfterFunc(q.timeout, func() {
		q.fail(fmt.Errorf("%s: no answer for %v", e.Words(q.admin), q.timeout))
	})
	q.mu.Unlock()
	select {
	case q.out <- outgoing{head: capsule, data: inCapsule}:
	case <-q.failed: // abandonPending ends the command
	}
	return c, nil
}

// do carries out one command and returns its result.
func (q *queue) do(ctx context.Context, e *wire.Entry, inCapsule, into []byte) (uint64, error) {
	stop := q.failWith(ctx)
	defer stop()
	c, err := q.start(ctx, e, inCapsule, into, nil)
	if err != nil {
		return 0, err
	}
	<-c.done
	return c.result, c.err
}

// failWith fails the queue when the context ends.
func (q *queue) failWith(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() { q.fail(context.Cause(ctx)) })
}

// fail gives the connection up. The first reason counts.
func (q *queue) fail(reason error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.failure != nil {
		return
	}
	q.failure = reason
	close(q.failed)
	_ = q.conn.Close()
}

func (q *queue) why() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.failure
}

// close ends the connection and waits until nothing uses it.
func (q *queue) close() {
	q.fail(errClosed)
	q.serves.Wait()
}

// abandonPending ends what is on its way once nobody serves the queue any more.
func (q *queue) abandonPending() {
	q.serves.Wait()
	q.mu.Lock()
	defer q.mu.Unlock()
	for id, c := range q.pending {
		c.err = q.failure
		q.finish(id, c)
	}
}

// finish ends a command. The queue's mutex must be held.
func (q *queue) finish(id uint16, c *command) {
	delete(q.pending, id)
	c.expires.Stop()
	close(c.done)
	q.free <- id // there is always room
}

// send is the goroutine that sends.
func (q *queue) send() {
	for {
		select {
		case o := <-q.out:
			parts := net.Buffers{o.head, o.data}
			if o.of != nil {
				parts = q.dataPDUs(o)
			}
			if _, err := parts.WriteTo(q.conn); err != nil {
				q.fail(fmt.Errorf("send: %w", err))
				return
			}
			if o.of != nil {
				q.sent(o.of)
			}
		case <-q.failed:
			return
		}
	}
}

// dataPDUs are what a transfer is sent as.
func (q *queue) dataPDUs(o outgoing) net.Buffers {
	var parts net.Buffers
	for from, data := o.from, o.data; len(data) > 0; {
		part := data[:min(len(data), q.mostData)]
		data = data[len(part):]
		flags := byte(0)
		if len(data) == 0 {
			flags = wire.FlagLast
		}
		head := wire.NewPDU(wire.KindH2CData, flags, len(part), q.align)
		copy(head[8:12], o.tags[:])
		le.PutUint32(head[12:], from)
		le.PutUint32(head[16:], uint32(len(part)))
		from += uint32(len(part))
		parts = append(parts, head, part)
	}
	return parts
}

// sent notes that the command's data was sent. Its answer may have come already.
func (q *queue) sent(c *command) {
	q.mu.Lock()
	defer q.mu.Unlock()
	c.sending--
	if c.answered && c.sending == 0 {
		q.finish(c.sqe.ID(), c)
	}
}

// receive is the goroutine that reads.
func (q *queue) receive() {
	for {
		err := q.receiveOne()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("the other side has closed the connection")
			}
			q.fail(err)
			return
		}
	}
}

func (q *queue) receiveOne() error {
	p, err := q.in.Next(mostTransfer)
	if err != nil {
		return err
	}
	switch p.Kind {
	case wire.KindC2HData:
		return q.takeData(p)
	case wire.KindR2T:
		return q.giveData(p)
	case wire.KindResponse:
		c, err := q.command(le.Uint16(p.Head[20:]), p.Kind)
		if err != nil {
			return err
		}
		status := wire.StatusOf(le.Uint16(p.Head[22:]))
		if status == 0 && c.moved != len(c.into)+len(c.from) {
			return wire.Violated("%s is done after %d of %d bytes", c.sqe.Words(q.admin), c.moved, len(c.into)+len(c.from))
		}
		q.answer(c, le.Uint64(p.Head[8:]), status)
		return nil
	case wire.KindC2HTermReq:
		return wire.Violated("the other side gives up: %s", describeTerm(p))
	default:
		return wire.Violated("a %s from a controller", p.Kind)
	}
}

// command finds what a PDU belongs to.
func (q *queue) command(id uint16, kind wire.Kind) (*command, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	c := q.pending[id]
	if c == nil || c.answered {
		return nil, wire.Violated("%s for command %d, which is not on its way", kind, id)
	}
	return c, nil
}

func (q *queue) answer(c *command, result uint64, status wire.Status) {
	q.mu.Lock()
	defer q.mu.Unlock()
	c.result = result
	if status != 0 {
		c.err = &wire.StatusError{Command: c.sqe.Words(q.admin), Status: status}
	}
	c.answered = true
	if c.sending == 0 {
		q.finish(c.sqe.ID(), c)
	}
}

// takeData reads what a command has asked for.
func (q *queue) takeData(p wire.PDU) error {
	c, err := q.command(le.Uint16(p.Head[8:]), p.Kind)
	if err != nil {
		return err
	}
	from, length := uint64(le.Uint32(p.Head[12:])), uint64(le.Uint32(p.Head[16:]))
	switch {
	case length != uint64(p.Data):
		return wire.Violated("C2HData of %d bytes that says %d", p.Data, length)
	case from != uint64(c.moved) || from+length > uint64(len(c.into)):
		return wire.Violated("C2HData of bytes %d to %d, where %d to %d are missing", from, from+length, c.moved, len(c.into))
	}
	if err := q.in.Read(c.into[from : from+length]); err != nil {
		return err
	}
	c.moved += p.Data
	if p.Flags&wire.FlagSuccess == 0 {
		return nil
	}
	if c.moved != len(c.into) {
		return wire.Violated("%s is done after %d of %d bytes", c.sqe.Words(q.admin), c.moved, len(c.into))
	}
	q.answer(c, 0, 0)
	return nil
}

// giveData sends what the controller asks for.
func (q *queue) giveData(p wire.PDU) error {
	id := le.Uint16(p.Head[8:])
	c, err := q.command(id, p.Kind)
	if err != nil {
		return err
	}
	from, length := uint64(le.Uint32(p.Head[12:])), uint64(le.Uint32(p.Head[16:]))
	if length == 0 || from != uint64(c.moved) || from+length > uint64(len(c.from)) {
		return wire.Violated("R2T for bytes %d to %d, where %d to %d are left", from, from+length, c.moved, len(c.from))
	}
	c.moved += int(length)
	q.mu.Lock()
	c.sending++
	q.mu.Unlock()
	o := outgoing{data: c.from[from : from+length], of: c, from: uint32(from)}
	copy(o.tags[:], p.Head[8:12])
	select {
	case q.out <- o:
		return nil
	case <-q.failed:
		return q.why()
	}
}

// describeTerm tells why the other side gave the connection up.
func describeTerm(p wire.PDU) string {
	reasons := map[uint16]string{
		1: "invalid PDU header field", 2: "PDU sequence error", 3: "header digest error",
		4: "data transfer out of range", 5: "data transfer limit exceeded", 6: "unsupported parameter",
	}
	code := le.Uint16(p.Head[8:])
	if reason, known := reasons[code]; known {
		return reason
	}
	return fmt.Sprintf("fatal error %d", code)
}
