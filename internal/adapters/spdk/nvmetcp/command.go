package nvmetcp

// opcode of a command. Those of admin and I/O queues overlap, fabrics' is the
// same on both.
type opcode byte

const (
	opFlush     opcode = 0x00
	opWrite     opcode = 0x01
	opRead      opcode = 0x02
	opZeroes    opcode = 0x08
	opManage    opcode = 0x09 // dataset management
	opIdentify  opcode = 0x06 // admin
	opKeepAlive opcode = 0x18 // admin
	opFabrics   opcode = 0x7f
)

// fabrics is the type of a fabrics command.
type fabrics byte

const (
	fabricsPropertySet fabrics = 0x00
	fabricsConnect     fabrics = 0x01
	fabricsPropertyGet fabrics = 0x04
)

// Properties: a controller's registers.
const (
	registerCAP  = 0x00
	registerVS   = 0x08
	registerCC   = 0x14
	registerCSTS = 0x1c

	configEnable = 1
	configSizes  = 4<<20 | 6<<16 // queue entries of 16 and 64 bytes, as powers of two

	statusReady = 1
	statusFatal = 2
)

// What Identify tells of.
const (
	identifyNamespace  = 0x00
	identifyController = 0x01

	identifySize = 4096
)

// Data pointers: an SGL entry's type and subtype.
const (
	sglInCapsule = 0x01
	sglTransport = 0x5a
	usesSGL      = 0x40 // PSDT
)

const connectSize = 1024 // bytes of a Connect's data

// sqe is a submission queue entry.
type sqe [sqeSize]byte

func newCommand(op opcode, namespace uint32) *sqe {
	e := &sqe{byte(op), usesSGL}
	le.PutUint32(e[4:], namespace)
	return e
}

func newFabrics(kind fabrics) *sqe {
	e := &sqe{byte(opFabrics), usesSGL}
	e[4] = byte(kind)
	return e
}

func (e *sqe) opcode() opcode    { return opcode(e[0]) }
func (e *sqe) fabrics() fabrics  { return fabrics(e[4]) }
func (e *sqe) namespace() uint32 { return le.Uint32(e[4:]) }

func (e *sqe) id() uint16      { return le.Uint16(e[2:]) }
func (e *sqe) setID(id uint16) { le.PutUint16(e[2:], id) }

// transfers says how many bytes the command moves, and where its data is.
func (e *sqe) transfers(length int, sgl byte) {
	le.PutUint32(e[32:], uint32(length))
	e[39] = sgl
}

func (e *sqe) length() uint32 { return le.Uint32(e[32:]) }
func (e *sqe) sgl() byte      { return e[39] }

// blocks says which ones are read or written.
func (e *sqe) blocks(first uint64, count int) {
	le.PutUint64(e[40:], first)
	le.PutUint16(e[48:], uint16(count-1))
}

func (e *sqe) firstBlock() uint64 { return le.Uint64(e[40:]) }
func (e *sqe) blockCount() uint64 { return uint64(le.Uint16(e[48:])) + 1 }

// Dataset management: what it tells of a range.
const (
	deallocates = 1 << 2
	rangeSize   = 16 // bytes of one
)

// deallocatesRanges says how many ranges the command's data has.
func (e *sqe) deallocatesRanges(count int) {
	le.PutUint32(e[40:], uint32(count-1))
	le.PutUint32(e[44:], deallocates)
}

func (e *sqe) rangeCount() uint32   { return le.Uint32(e[40:])&0xff + 1 }
func (e *sqe) isDeallocation() bool { return le.Uint32(e[44:])&deallocates != 0 }

// property says which register a Property Get or Set is about, and its value.
func (e *sqe) property(register uint32, value uint64) {
	if register == registerCAP {
		e[40] = 1 // 8 bytes
	}
	le.PutUint32(e[44:], register)
	le.PutUint64(e[48:], value)
}

func (e *sqe) register() uint32 { return le.Uint32(e[44:]) }
func (e *sqe) value() uint64    { return le.Uint64(e[48:]) }

// connects asks for a queue of size entries.
func (e *sqe) connects(queue, size uint16) {
	le.PutUint16(e[42:], queue)
	le.PutUint16(e[44:], size-1)
}

func (e *sqe) queue() uint16     { return le.Uint16(e[42:]) }
func (e *sqe) queueSize() uint32 { return uint32(le.Uint16(e[44:])) + 1 }
func (e *sqe) connectFormat() uint16 {
	return le.Uint16(e[40:])
}

// words is the command's name.
func (e *sqe) words(admin bool) string {
	switch op := e.opcode(); {
	case op == opFabrics && e.fabrics() == fabricsConnect:
		return "connect"
	case op == opFabrics:
		return "property access"
	case admin && op == opIdentify:
		return "identify"
	case admin && op == opKeepAlive:
		return "keep alive"
	case !admin && op == opRead:
		return "read"
	case !admin && op == opWrite:
		return "write"
	case !admin && op == opFlush:
		return "flush"
	case !admin && op == opZeroes:
		return "write zeroes"
	case !admin && op == opManage:
		return "deallocate"
	}
	return "command"
}

// connectData is what a Connect carries.
type connectData struct {
	hostID     [16]byte
	controller uint16
	subsystem  string
	host       string
}

// anyController has the subsystem choose one.
const anyController = 0xffff

const (
	nqnField   = 256 // bytes in a Connect
	nqnMost    = 223 // bytes that an NQN may have
	subNQNAt   = 256
	hostNQNAt  = 512
	hostIDSize = 16
)

func (d connectData) bytes() []byte {
	p := make([]byte, connectSize)
	copy(p, d.hostID[:])
	le.PutUint16(p[hostIDSize:], d.controller)
	copy(p[subNQNAt:], d.subsystem)
	copy(p[hostNQNAt:], d.host)
	return p
}

func parseConnect(p []byte) connectData {
	d := connectData{controller: le.Uint16(p[hostIDSize:])}
	copy(d.hostID[:], p)
	d.subsystem = untilZero(p[subNQNAt : subNQNAt+nqnField])
	d.host = untilZero(p[hostNQNAt : hostNQNAt+nqnField])
	return d
}

func untilZero(p []byte) string {
	for i, c := range p {
		if c == 0 {
			return string(p[:i])
		}
	}
	return string(p)
}
