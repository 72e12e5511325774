package nvmetcp

import (
	"errors"
	"net"
	"sync"
)

// connection is a server's side of a queue.
type connection struct {
	server *Server
	conn   net.Conn
	in     *receiver
	align  int // of data that is sent

	sending sync.Mutex
	working sync.WaitGroup // commands that are carried out

	// What follows is the serving goroutine's alone, but for controller, which
	// the server's mutex guards.
	controller *controller
	entries    int
	writes     map[uint16]*write // by command

	mu   sync.Mutex
	busy map[uint16]bool // commands that have no answer yet
}

// write is a command that waits for its data.
type write struct {
	export Export
	offset uint64
	data   []byte
	moved  int
	ranges bool // the data says what is to be deallocated
}

// beforeConnect is how many commands may be on their way before the queue has a
// size: the Connect.
const beforeConnect = 1

func newConnection(s *Server, conn net.Conn) *connection {
	return &connection{
		server: s, conn: conn, in: newReceiver(conn), writes: make(map[uint16]*write), busy: make(map[uint16]bool), align: 4,
	}
}

// serve returns when the connection has ended and nothing of it is under way.
func (c *connection) serve() {
	defer c.working.Wait()
	defer func() { _ = c.conn.Close() }()
	if err := c.shakeHands(); err != nil {
		return
	}
	for {
		p, err := c.in.next(c.mostData())
		if err == nil {
			err = c.take(p)
		}
		if err != nil {
			c.giveUp(err)
			return
		}
	}
}

func (c *connection) mostData() int { return max(c.server.limits.data, connectSize) }

func (c *connection) shakeHands() error {
	hello, err := c.in.next(0)
	if err != nil {
		return err
	}
	if hello.kind != kindICReq || le.Uint16(hello.head[8:]) != 0 {
		return violated("%s instead of an ICReq", hello.kind)
	}
	if c.align, err = alignOf(hello.head[10]); err != nil {
		return err
	}
	answer := newPDU(kindICResp, 0, 0, 1)
	answer[10] = c.server.limits.align
	le.PutUint32(answer[12:], uint32(c.server.limits.data))
	return c.write(answer, nil)
}

// giveUp tells the host what it did wrong.
func (c *connection) giveUp(err error) {
	var wrong *protocolError
	if !errors.As(err, &wrong) {
		return
	}
	p := newPDU(kindC2HTermReq, 0, 0, 1)
	le.PutUint16(p[8:], 2) // PDU sequence error, or near enough
	_ = c.write(p, nil)    // it may have gone
}

func (c *connection) write(head, data []byte) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	parts := net.Buffers{head, data}
	_, err := parts.WriteTo(c.conn)
	return err
}

func (c *connection) take(p pdu) error {
	switch p.kind {
	case kindCommand:
		var e sqe
		copy(e[:], p.head[commonSize:])
		data := make([]byte, p.data)
		if err := c.in.read(data); err != nil {
			return err
		}
		return c.command(&e, data)
	case kindH2CData:
		return c.takeData(p)
	default:
		return violated("a %s from a host", p.kind)
	}
}

func (c *connection) command(e *sqe, data []byte) error {
	entries := c.entries
	if entries == 0 {
		entries = beforeConnect
	}
	c.mu.Lock()
	if c.busy[e.id()] || len(c.busy) >= entries {
		c.mu.Unlock()
		return violated("command %d, which is on its way, or more commands than the queue has entries", e.id())
	}
	c.busy[e.id()] = true
	c.mu.Unlock()

	if c.controller == nil {
		if e.opcode() != opFabrics || e.fabrics() != fabricsConnect {
			return c.answer(e.id(), 0, StatusSequenceError)
		}
		if e.sgl() != sglInCapsule || e.length() != connectSize || len(data) != connectSize {
			return c.answer(e.id(), 0, StatusInvalidSGL)
		}
		id, refusal := c.server.admit(c, e, parseConnect(data))
		return c.answer(e.id(), uint64(id), refusal)
	}
	if len(data) > 0 { // no I/O queue of ours takes data in a capsule (IOCCSZ)
		return c.answer(e.id(), 0, StatusInvalidSGL)
	}
	if c.controller.admin == c {
		return c.adminCommand(e)
	}
	return c.ioCommand(e)
}

// answer completes a command.
func (c *connection) answer(id uint16, result uint64, status Status) error {
	c.done(id)
	p := newPDU(kindResponse, 0, 0, 1)
	le.PutUint64(p[8:], result)
	le.PutUint16(p[20:], id)
	le.PutUint16(p[22:], uint16(status)<<1)
	return c.write(p, nil)
}

func (c *connection) done(id uint16) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.busy, id)
}

// answerData sends what was read, and completes the command.
func (c *connection) answerData(id uint16, data []byte) error {
	limits := c.server.limits
	for from := 0; from < len(data); {
		part := data[from:min(from+limits.answer, len(data))]
		flags := byte(0)
		if from+len(part) == len(data) {
			flags = flagLast
			if limits.success {
				flags |= flagSuccess
				c.done(id)
			}
		}
		head := newPDU(kindC2HData, flags, len(part), c.align)
		le.PutUint16(head[8:], id)
		le.PutUint32(head[12:], uint32(from))
		le.PutUint32(head[16:], uint32(len(part)))
		if err := c.write(head, part); err != nil {
			return err
		}
		from += len(part)
	}
	if limits.success {
		return nil
	}
	return c.answer(id, 0, 0)
}

func (c *connection) adminCommand(e *sqe) error {
	switch op := e.opcode(); {
	case op == opFabrics && e.fabrics() == fabricsPropertyGet:
		value, known := c.property(e.register())
		if !known {
			return c.answer(e.id(), 0, StatusInvalidField)
		}
		return c.answer(e.id(), value, 0)
	case op == opFabrics && e.fabrics() == fabricsPropertySet && e.register() == registerCC:
		c.server.mu.Lock()
		c.controller.settings = e.value()
		c.controller.enabled = e.value()&configEnable != 0
		c.server.mu.Unlock()
		return c.answer(e.id(), 0, 0)
	case op == opFabrics:
		return c.answer(e.id(), 0, StatusInvalidField)
	case op == opKeepAlive:
		return c.answer(e.id(), 0, 0)
	case op == opIdentify && (e.sgl() != sglTransport || e.length() != identifySize):
		return c.answer(e.id(), 0, StatusInvalidSGL)
	case op == opIdentify && e[40] == identifyController:
		return c.answerData(e.id(), c.describeController())
	case op == opIdentify && e[40] == identifyNamespace:
		export, refusal := c.export(e.namespace())
		if refusal != 0 {
			return c.answer(e.id(), 0, refusal)
		}
		return c.answerData(e.id(), describeExport(export))
	case op == opIdentify:
		return c.answer(e.id(), 0, StatusInvalidField)
	}
	return c.answer(e.id(), 0, StatusInvalidOpcode)
}

func (c *connection) property(register uint32) (value uint64, known bool) {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	switch register {
	case registerCAP:
		return uint64(c.server.limits.entries-1) | 1<<16 | 20<<24 | 1<<37, true // contiguous queues, 10 s, NVM commands
	case registerVS:
		return 0x00010300, true
	case registerCC:
		return c.controller.settings, true
	case registerCSTS:
		if c.controller.enabled {
			return statusReady, true
		}
		return 0, true
	}
	return 0, false
}

func (c *connection) describeController() []byte {
	p := make([]byte, identifySize)
	copy(p[4:24], "00000000000000000000")                      // serial number
	copy(p[24:64], "NVMe/TCP server                         ") // model
	p[77] = c.server.limits.transfer
	le.PutUint16(p[78:], c.controller.id)
	le.PutUint32(p[80:], 0x00010300)
	p[512], p[513] = 0x66, 0x44                            // queue entries of 64 and 16 bytes
	le.PutUint16(p[514:], uint16(c.server.limits.entries)) // commands at once
	le.PutUint32(p[516:], 0xffffffff)                      // namespaces
	le.PutUint16(p[520:], 1<<2|1<<3)                       // dataset management, write zeroes
	le.PutUint32(p[536:], 1)                               // SGLs
	copy(p[768:1024], c.controller.nqn)
	le.PutUint32(p[1792:], commandIOSize)
	le.PutUint32(p[1796:], 1)
	return p
}

// commandIOSize is IOCCSZ: a submission queue entry without data, in units of 16.
const commandIOSize = sqeSize / 16

func describeExport(export Export) []byte {
	p := make([]byte, identifySize)
	power := byte(0)
	for size := export.BlockSize(); size > 1; size >>= 1 {
		power++
	}
	blocks := export.Size() / export.BlockSize()
	for _, at := range []int{0, 8, 16} { // size, capacity, use
		le.PutUint64(p[at:], blocks)
	}
	nguid := export.NGUID()
	copy(p[104:], nguid[:])
	p[130] = power // of format 0
	return p
}

func (c *connection) export(id uint32) (Export, Status) {
	subsystem, refusal := c.server.subsystems.Subsystem(c.controller.nqn, c.controller.host)
	if refusal != 0 {
		return nil, StatusInvalidNamespace
	}
	export, ok := subsystem.Export(id)
	if !ok {
		return nil, StatusInvalidNamespace
	}
	return export, 0
}

func (c *connection) ioCommand(e *sqe) error {
	op := e.opcode()
	if op != opRead && op != opWrite && op != opFlush && op != opZeroes && op != opManage {
		return c.answer(e.id(), 0, StatusInvalidOpcode)
	}
	export, refusal := c.export(e.namespace())
	if refusal == 0 && op == opFlush {
		return c.answer(e.id(), 0, 0)
	}
	if refusal == 0 {
		refusal = c.check(e, export)
	}
	if refusal != 0 {
		return c.answer(e.id(), 0, refusal)
	}
	if op == opZeroes {
		return c.writeZeroes(e, export)
	}
	id, data, offset := e.id(), make([]byte, e.length()), e.firstBlock()*export.BlockSize()
	if op == opRead {
		c.work(func() error {
			if _, err := export.ReadAt(data, int64(offset)); err != nil {
				return c.answer(id, 0, statusFor(err, StatusReadError))
			}
			return c.answerData(id, data)
		})
		return nil
	}
	c.writes[id] = &write{export: export, offset: offset, data: data, ranges: op == opManage}
	ask := newPDU(kindR2T, 0, 0, 1)
	le.PutUint16(ask[8:], id)
	le.PutUint16(ask[10:], id) // transfer tag
	le.PutUint32(ask[16:], uint32(len(data)))
	return c.write(ask, nil)
}

// check refuses what does not fit into the namespace, or is not what it says.
func (c *connection) check(e *sqe, export Export) Status {
	if e.opcode() == opManage {
		return e.checkRanges()
	}
	blockSize, blocks := export.BlockSize(), export.Size()/export.BlockSize()
	first, count := e.firstBlock(), e.blockCount()
	switch {
	case e.opcode() == opZeroes && first <= blocks && count <= blocks-first:
		return 0 // without data
	case e.sgl() != sglTransport:
		return StatusInvalidSGL
	case first > blocks || count > blocks-first:
		return StatusOutOfRange
	case uint64(e.length()) != count*blockSize:
		return StatusInvalidField
	case count*blockSize > pageSize<<c.server.limits.transfer:
		return StatusInvalidField
	}
	return 0
}

// checkRanges refuses ranges that are not as long as they say.
func (e *sqe) checkRanges() Status {
	switch {
	case e.sgl() != sglTransport:
		return StatusInvalidSGL
	case e.length() != e.rangeCount()*rangeSize, !e.isDeallocation():
		return StatusInvalidField
	}
	return 0
}

func (c *connection) writeZeroes(e *sqe, export Export) error {
	id, offset, zeros := e.id(), e.firstBlock()*export.BlockSize(), make([]byte, e.blockCount()*export.BlockSize())
	c.work(func() error {
		_, err := export.WriteAt(zeros, int64(offset))
		return c.answer(id, 0, statusFor(err, StatusWriteFault))
	})
	return nil
}

// takeData takes a part of what is to be written, in order.
func (c *connection) takeData(p pdu) error {
	id := le.Uint16(p.head[8:])
	w := c.writes[id]
	if w == nil || le.Uint16(p.head[10:]) != id {
		return violated("H2CData for command %d, which has not asked for any", id)
	}
	from, length := uint64(le.Uint32(p.head[12:])), uint64(le.Uint32(p.head[16:]))
	if length == 0 || length != uint64(p.data) || from != uint64(w.moved) || from+length > uint64(len(w.data)) {
		return violated("H2CData of %d bytes that says %d to %d, where %d to %d are missing", p.data, from, from+length, w.moved, len(w.data))
	}
	if err := c.in.read(w.data[from : from+length]); err != nil {
		return err
	}
	w.moved += p.data
	last := p.flags&flagLast != 0
	if last != (w.moved == len(w.data)) {
		return violated("the last H2CData after %d of %d bytes", w.moved, len(w.data))
	}
	if !last {
		return nil
	}
	delete(c.writes, id)
	if w.ranges {
		c.work(func() error { return c.answer(id, 0, statusFor(deallocate(w.export, w.data), StatusWriteFault)) })
		return nil
	}
	c.work(func() error {
		if _, err := w.export.WriteAt(w.data, int64(w.offset)); err != nil {
			return c.answer(id, 0, statusFor(err, StatusWriteFault))
		}
		return c.answer(id, 0, 0)
	})
	return nil
}

// work carries a command out beside the others.
func (c *connection) work(do func() error) {
	c.working.Go(func() {
		if err := do(); err != nil {
			_ = c.conn.Close() // the answer cannot be sent
		}
	})
}

func statusFor(err error, otherwise Status) Status {
	if err == nil {
		return 0
	}
	var said *StatusError
	if errors.As(err, &said) {
		return said.Status
	}
	return otherwise
}
