package wire

import "bytes"

// Opcode of a command. Those of admin and I/O queues overlap, OpFabrics is the
// same on both.
type Opcode byte

// The opcodes.
const (
	OpFlush     Opcode = 0x00
	OpWrite     Opcode = 0x01
	OpRead      Opcode = 0x02
	OpZeroes    Opcode = 0x08
	OpManage    Opcode = 0x09 // dataset management
	OpIdentify  Opcode = 0x06 // admin
	OpKeepAlive Opcode = 0x18 // admin
	OpFabrics   Opcode = 0x7f
)

// Fabrics is the type of a fabrics command.
type Fabrics byte

// The types of fabrics commands.
const (
	FabricsPropertySet Fabrics = 0x00
	FabricsConnect     Fabrics = 0x01
	FabricsPropertyGet Fabrics = 0x04
)

// Properties: a controller's registers.
const (
	RegisterCAP  = 0x00
	RegisterVS   = 0x08
	RegisterCC   = 0x14
	RegisterCSTS = 0x1c

	ConfigEnable = 1
	ConfigSizes  = 4<<20 | 6<<16 // queue entries of 16 and 64 bytes, as powers of two

	StatusReady = 1
	StatusFatal = 2
)

// What Identify tells of.
const (
	IdentifyNamespace  = 0x00
	IdentifyController = 0x01

	IdentifySize = 4096
)

// Data pointers: an SGL entry's type and subtype.
const (
	SGLInCapsule = 0x01
	SGLTransport = 0x5a
	usesSGL      = 0x40 // PSDT
)

// ConnectSize is the length of a Connect's data in bytes.
const ConnectSize = 1024

// Entry is a submission queue entry: a command.
type Entry [EntrySize]byte

// NewCommand makes a command on a namespace; 0: none.
func NewCommand(op Opcode, namespace uint32) *Entry {
	e := &Entry{byte(op), usesSGL}
	le.PutUint32(e[4:], namespace)
	return e
}

// NewFabrics makes a fabrics command.
func NewFabrics(kind Fabrics) *Entry {
	e := &Entry{byte(OpFabrics), usesSGL}
	e[4] = byte(kind)
	return e
}

// Opcode is that of the command.
func (e *Entry) Opcode() Opcode { return Opcode(e[0]) }

// Fabrics is the type of a fabrics command.
func (e *Entry) Fabrics() Fabrics { return Fabrics(e[4]) }

// ID is the command identifier.
func (e *Entry) ID() uint16 { return le.Uint16(e[2:]) }

// SetID sets the command identifier.
func (e *Entry) SetID(id uint16) { le.PutUint16(e[2:], id) }

// Transfers says how many bytes the command moves, and where its data is.
func (e *Entry) Transfers(length int, sgl byte) {
	le.PutUint32(e[32:], uint32(length))
	e[39] = sgl
}

// Blocks says which blocks are read or written.
func (e *Entry) Blocks(first uint64, count int) {
	le.PutUint64(e[40:], first)
	le.PutUint16(e[48:], uint16(count-1))
}

// Dataset management: what it tells of a range.
const (
	Deallocates = 1 << 2
	RangeSize   = 16 // bytes of one
)

// DeallocatesRanges says how many ranges the command's data has.
func (e *Entry) DeallocatesRanges(count int) {
	le.PutUint32(e[40:], uint32(count-1))
	le.PutUint32(e[44:], Deallocates)
}

// Property says which register a Property Get or Set is about, and its value.
func (e *Entry) Property(register uint32, value uint64) {
	if register == RegisterCAP {
		e[40] = 1 // 8 bytes
	}
	le.PutUint32(e[44:], register)
	le.PutUint64(e[48:], value)
}

// Connects asks for a queue of size entries.
func (e *Entry) Connects(queue, size uint16) {
	le.PutUint16(e[42:], queue)
	le.PutUint16(e[44:], size-1)
}

// Words is the command's name.
func (e *Entry) Words(admin bool) string {
	switch op := e.Opcode(); {
	case op == OpFabrics && e.Fabrics() == FabricsConnect:
		return "connect"
	case op == OpFabrics:
		return "property access"
	case admin && op == OpIdentify:
		return "identify"
	case admin && op == OpKeepAlive:
		return "keep alive"
	case !admin && op == OpRead:
		return "read"
	case !admin && op == OpWrite:
		return "write"
	case !admin && op == OpFlush:
		return "flush"
	case !admin && op == OpZeroes:
		return "write zeroes"
	case !admin && op == OpManage:
		return "deallocate"
	}
	return "command"
}

// ConnectData is the data of a Connect.
type ConnectData struct {
	HostID     [16]byte
	Controller uint16
	Subsystem  string
	Host       string
}

// AnyController has the subsystem choose one.
const AnyController = 0xffff

// Lengths and places in the data of a Connect.
const (
	nqnField   = 256 // bytes in a Connect
	NQNMost    = 223 // bytes that an NQN may have
	subNQNAt   = 256
	hostNQNAt  = 512
	hostIDSize = 16
)

// Bytes are the data as a Connect carries it.
func (d ConnectData) Bytes() []byte {
	p := make([]byte, ConnectSize)
	copy(p, d.HostID[:])
	le.PutUint16(p[hostIDSize:], d.Controller)
	copy(p[subNQNAt:], d.Subsystem)
	copy(p[hostNQNAt:], d.Host)
	return p
}

// ParseConnect parses the ConnectSize bytes that a Connect carries.
func ParseConnect(p []byte) ConnectData {
	d := ConnectData{
		Controller: le.Uint16(p[hostIDSize:]),
		Subsystem:  untilZero(p[subNQNAt : subNQNAt+nqnField]),
		Host:       untilZero(p[hostNQNAt : hostNQNAt+nqnField]),
	}
	copy(d.HostID[:], p)
	return d
}

func untilZero(p []byte) string {
	text, _, _ := bytes.Cut(p, []byte{0})
	return string(text)
}
