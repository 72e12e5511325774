package nvmeserver

import (
	"encoding/binary"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmetcp/wire"
)

var le = binary.LittleEndian

// entry is a command of a host, with what only a server reads of it.
type entry struct{ wire.Entry }

func (e *entry) namespace() uint32 { return le.Uint32(e.Entry[4:]) }

func (e *entry) length() uint32 { return le.Uint32(e.Entry[32:]) }
func (e *entry) sgl() byte      { return e.Entry[39] }

func (e *entry) firstBlock() uint64 { return le.Uint64(e.Entry[40:]) }
func (e *entry) blockCount() uint64 { return uint64(le.Uint16(e.Entry[48:])) + 1 }

func (e *entry) rangeCount() uint32   { return le.Uint32(e.Entry[40:])&0xff + 1 }
func (e *entry) isDeallocation() bool { return le.Uint32(e.Entry[44:])&wire.Deallocates != 0 }

// identifies is what an Identify asks for.
func (e *entry) identifies() byte { return e.Entry[40] }

func (e *entry) register() uint32 { return le.Uint32(e.Entry[44:]) }
func (e *entry) value() uint64    { return le.Uint64(e.Entry[48:]) }

// Of a Connect.
func (e *entry) connectFormat() uint16 { return le.Uint16(e.Entry[40:]) }
func (e *entry) queue() uint16         { return le.Uint16(e.Entry[42:]) }
func (e *entry) queueSize() uint32     { return uint32(le.Uint16(e.Entry[44:])) + 1 }

// checkRanges refuses ranges that are not as long as they say.
func (e *entry) checkRanges() wire.Status {
	switch {
	case e.sgl() != wire.SGLTransport:
		return wire.StatusInvalidSGL
	case e.length() != e.rangeCount()*wire.RangeSize, !e.isDeallocation():
		return wire.StatusInvalidField
	}
	return 0
}
