package nvmeserver

import (
	"errors"
	"net"
	"sync"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmetcp/wire"
)

// connection is a server's side of a queue.
type connection struct {
	server *Server
	conn   net.Conn
	in     *wire.Receiver
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
		server: s, conn: conn, in: wire.NewReceiver(conn), writes: make(map[uint16]*write), busy: make(map[uint16]bool), align: 4,
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
		p, err := c.in.Next(c.mostData())
		if err == nil {
			err = c.take(p)
		}
		if err != nil {
			c.giveUp(err)
			return
		}
	}
}

func (c *connection) mostData() int { return max(c.server.Limits.Data, wire.ConnectSize) }

func (c *connection) shakeHands() error {
	hello, err := c.in.Next(0)
	if err != nil {
		return err
	}
	if hello.Kind != wire.KindICReq || le.Uint16(hello.Head[8:]) != 0 {
		return wire.Violated("%s instead of an ICReq", hello.Kind)
	}
	if c.align, err = wire.AlignOf(hello.Head[10]); err != nil {
		return err
	}
	answer := wire.NewPDU(wire.KindICResp, 0, 0, 1)
	answer[10] = c.server.Limits.Align
	le.PutUint32(answer[12:], uint32(c.server.Limits.Data))
	return c.write(answer, nil)
}

// giveUp tells the host what it did wrong.
func (c *connection) giveUp(err error) {
	var wrong *wire.ProtocolError
	if !errors.As(err, &wrong) {
		return
	}
	p := wire.NewPDU(wire.KindC2HTermReq, 0, 0, 1)
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

func (c *connection) take(p wire.PDU) error {
	switch p.Kind {
	case wire.KindCommand:
		var e entry
		copy(e.Entry[:], p.Head[wire.CommonSize:])
		data := make([]byte, p.Data)
		if err := c.in.Read(data); err != nil {
			return err
		}
		return c.command(&e, data)
	case wire.KindH2CData:
		return c.takeData(p)
	default:
		return wire.Violated("a %s from a host", p.Kind)
	}
}

func (c *connection) command(e *entry, data []byte) error {
	entries := c.entries
	if entries == 0 {
		entries = beforeConnect
	}
	c.mu.Lock()
	if c.busy[e.ID()] || len(c.busy) >= entries {
		c.mu.Unlock()
		return wire.Violated("command %d, which is on its way, or more commands than the queue has entries", e.ID())
	}
	c.busy[e.ID()] = true
	c.mu.Unlock()

	if c.controller == nil {
		if e.Opcode() != wire.OpFabrics || e.Fabrics() != wire.FabricsConnect {
			return c.answer(e.ID(), 0, wire.StatusSequenceError)
		}
		if e.sgl() != wire.SGLInCapsule || e.length() != wire.ConnectSize || len(data) != wire.ConnectSize {
			return c.answer(e.ID(), 0, wire.StatusInvalidSGL)
		}
		id, refusal := c.server.admit(c, e, wire.ParseConnect(data))
		return c.answer(e.ID(), uint64(id), refusal)
	}
	if len(data) > 0 { // no I/O queue of ours takes data in a capsule (IOCCSZ)
		return c.answer(e.ID(), 0, wire.StatusInvalidSGL)
	}
	if c.controller.admin == c {
		return c.adminCommand(e)
	}
	return c.ioCommand(e)
}

// answer completes a command.
func (c *connection) answer(id uint16, result uint64, status wire.Status) error {
	c.done(id)
	p := wire.NewPDU(wire.KindResponse, 0, 0, 1)
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
	limits := c.server.Limits
	for from := 0; from < len(data); {
		part := data[from:min(from+limits.Answer, len(data))]
		flags := byte(0)
		if from+len(part) == len(data) {
			flags = wire.FlagLast
			if limits.Success {
				flags |= wire.FlagSuccess
				c.done(id)
			}
		}
		head := wire.NewPDU(wire.KindC2HData, flags, len(part), c.align)
		le.PutUint16(head[8:], id)
		le.PutUint32(head[12:], uint32(from))
		le.PutUint32(head[16:], uint32(len(part)))
		if err := c.write(head, part); err != nil {
			return err
		}
		from += len(part)
	}
	if limits.Success {
		return nil
	}
	return c.answer(id, 0, 0)
}

func (c *connection) adminCommand(e *entry) error {
	switch op := e.Opcode(); {
	case op == wire.OpFabrics && e.Fabrics() == wire.FabricsPropertyGet:
		value, known := c.property(e.register())
		if !known {
			return c.answer(e.ID(), 0, wire.StatusInvalidField)
		}
		return c.answer(e.ID(), value, 0)
	case op == wire.OpFabrics && e.Fabrics() == wire.FabricsPropertySet && e.register() == wire.RegisterCC:
		c.server.mu.Lock()
		c.controller.settings = e.value()
		c.controller.enabled = e.value()&wire.ConfigEnable != 0
		c.server.mu.Unlock()
		return c.answer(e.ID(), 0, 0)
	case op == wire.OpFabrics:
		return c.answer(e.ID(), 0, wire.StatusInvalidField)
	case op == wire.OpKeepAlive:
		return c.answer(e.ID(), 0, 0)
	case op == wire.OpIdentify && (e.sgl() != wire.SGLTransport || e.length() != wire.IdentifySize):
		return c.answer(e.ID(), 0, wire.StatusInvalidSGL)
	case op == wire.OpIdentify && e.identifies() == wire.IdentifyController:
		return c.answerData(e.ID(), c.describeController())
	case op == wire.OpIdentify && e.identifies() == wire.IdentifyNamespace:
		export, refusal := c.export(e.namespace())
		if refusal != 0 {
			return c.answer(e.ID(), 0, refusal)
		}
		return c.answerData(e.ID(), describeExport(export))
	case op == wire.OpIdentify:
		return c.answer(e.ID(), 0, wire.StatusInvalidField)
	}
	return c.answer(e.ID(), 0, wire.StatusInvalidOpcode)
}

func (c *connection) property(register uint32) (value uint64, known bool) {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	switch register {
	case wire.RegisterCAP:
		return uint64(c.server.Limits.Entries-1) | 1<<16 | 20<<24 | 1<<37, true // contiguous queues, 10 s, NVM commands
	case wire.RegisterVS:
		return 0x00010300, true
	case wire.RegisterCC:
		return c.controller.settings, true
	case wire.RegisterCSTS:
		if c.controller.enabled {
			return wire.StatusReady, true
		}
		return 0, true
	}
	return 0, false
}

func (c *connection) describeController() []byte {
	p := make([]byte, wire.IdentifySize)
	copy(p[4:24], "00000000000000000000")                      // serial number
	copy(p[24:64], "NVMe/TCP server                         ") // model
	p[77] = c.server.Limits.Transfer
	le.PutUint16(p[78:], c.controller.id)
	le.PutUint32(p[80:], 0x00010300)
	p[512], p[513] = 0x66, 0x44                            // queue entries of 64 and 16 bytes
	le.PutUint16(p[514:], uint16(c.server.Limits.Entries)) // commands at once
	le.PutUint32(p[516:], 0xffffffff)                      // namespaces
	le.PutUint16(p[520:], 1<<2|1<<3)                       // dataset management, write zeroes
	le.PutUint32(p[536:], 1)                               // SGLs
	copy(p[768:1024], c.controller.nqn)
	le.PutUint32(p[1792:], commandIOSize)
	le.PutUint32(p[1796:], 1)
	return p
}

// commandIOSize is IOCCSZ: a submission queue entry without data, in units of 16.
const commandIOSize = wire.EntrySize / 16

func describeExport(export Export) []byte {
	p := make([]byte, wire.IdentifySize)
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

func (c *connection) export(id uint32) (Export, wire.Status) {
	subsystem, refusal := c.server.subsystems.Subsystem(c.controller.nqn, c.controller.host)
	if refusal != 0 {
		return nil, wire.StatusInvalidNamespace
	}
	export, ok := subsystem.Export(id)
	if !ok {
		return nil, wire.StatusInvalidNamespace
	}
	return export, 0
}

func (c *connection) ioCommand(e *entry) error {
	op := e.Opcode()
	if op != wire.OpRead && op != wire.OpWrite && op != wire.OpFlush && op != wire.OpZeroes && op != wire.OpManage {
		return c.answer(e.ID(), 0, wire.StatusInvalidOpcode)
	}
	export, refusal := c.export(e.namespace())
	if refusal == 0 && op == wire.OpFlush {
		return c.answer(e.ID(), 0, 0)
	}
	if refusal == 0 {
		refusal = c.check(e, export)
	}
	if refusal != 0 {
		return c.answer(e.ID(), 0, refusal)
	}
	if op == wire.OpZeroes {
		return c.writeZeroes(e, export)
	}
	id, data, offset := e.ID(), make([]byte, e.length()), e.firstBlock()*export.BlockSize()
	if op == wire.OpRead {
		c.work(func() error {
			if _, err := export.ReadAt(data, int64(offset)); err != nil {
				return c.answer(id, 0, statusFor(err, wire.StatusReadError))
			}
			return c.answerData(id, data)
		})
		return nil
	}
	c.writes[id] = &write{export: export, offset: offset, data: data, ranges: op == wire.OpManage}
	ask := wire.NewPDU(wire.KindR2T, 0, 0, 1)
	le.PutUint16(ask[8:], id)
	le.PutUint16(ask[10:], id) // transfer tag
	le.PutUint32(ask[16:], uint32(len(data)))
	return c.write(ask, nil)
}

// check refuses what does not fit into the namespace, or is not what it says.
func (c *connection) check(e *entry, export Export) wire.Status {
	if e.Opcode() == wire.OpManage {
		return e.checkRanges()
	}
	blockSize, blocks := export.BlockSize(), export.Size()/export.BlockSize()
	first, count := e.firstBlock(), e.blockCount()
	switch {
	case e.Opcode() == wire.OpZeroes && first <= blocks && count <= blocks-first:
		return 0 // without data
	case e.sgl() != wire.SGLTransport:
		return wire.StatusInvalidSGL
	case first > blocks || count > blocks-first:
		return wire.StatusOutOfRange
	case uint64(e.length()) != count*blockSize:
		return wire.StatusInvalidField
	case count*blockSize > wire.PageSize<<c.server.Limits.Transfer:
		return wire.StatusInvalidField
	}
	return 0
}

func (c *connection) writeZeroes(e *entry, export Export) error {
	id, offset, zeros := e.ID(), e.firstBlock()*export.BlockSize(), make([]byte, e.blockCount()*export.BlockSize())
	c.work(func() error {
		_, err := export.WriteAt(zeros, int64(offset))
		return c.answer(id, 0, statusFor(err, wire.StatusWriteFault))
	})
	return nil
}

// takeData takes a part of what is to be written, in order.
func (c *connection) takeData(p wire.PDU) error {
	id := le.Uint16(p.Head[8:])
	w := c.writes[id]
	if w == nil || le.Uint16(p.Head[10:]) != id {
		return wire.Violated("H2CData for command %d, which has not asked for any", id)
	}
	from, length := uint64(le.Uint32(p.Head[12:])), uint64(le.Uint32(p.Head[16:]))
	if length == 0 || length != uint64(p.Data) || from != uint64(w.moved) || from+length > uint64(len(w.data)) {
		return wire.Violated("H2CData of %d bytes that says %d to %d, where %d to %d are missing", p.Data, from, from+length, w.moved, len(w.data))
	}
	if err := c.in.Read(w.data[from : from+length]); err != nil {
		return err
	}
	w.moved += p.Data
	last := p.Flags&wire.FlagLast != 0
	if last != (w.moved == len(w.data)) {
		return wire.Violated("the last H2CData after %d of %d bytes", w.moved, len(w.data))
	}
	if !last {
		return nil
	}
	delete(c.writes, id)
	if w.ranges {
		c.work(func() error { return c.answer(id, 0, statusFor(deallocate(w.export, w.data), wire.StatusWriteFault)) })
		return nil
	}
	c.work(func() error {
		if _, err := w.export.WriteAt(w.data, int64(w.offset)); err != nil {
			return c.answer(id, 0, statusFor(err, wire.StatusWriteFault))
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

func statusFor(err error, otherwise wire.Status) wire.Status {
	if err == nil {
		return 0
	}
	var said *wire.StatusError
	if errors.As(err, &said) {
		return said.Status
	}
	return otherwise
}
