package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

var le = binary.LittleEndian

// PageSize is the unit of a controller's transfer limit in bytes, for a CAP.MPSMIN of 0.
const PageSize = 4096

// Kind is the first byte of a PDU.
type Kind byte

// The kinds of PDUs.
const (
	KindICReq      Kind = 0x00
	KindICResp     Kind = 0x01
	KindH2CTermReq Kind = 0x02
	KindC2HTermReq Kind = 0x03
	KindCommand    Kind = 0x04
	KindResponse   Kind = 0x05
	KindH2CData    Kind = 0x06
	KindC2HData    Kind = 0x07
	KindR2T        Kind = 0x09
)

// Lengths of headers in bytes, and flags.
const (
	CommonSize  = 8   // bytes of the header that all PDUs have
	ICSize      = 128 // of ICReq and ICResp
	CommandSize = CommonSize + EntrySize
	EntrySize   = 64
	shortSize   = 24 // of all others

	termData = 128 // bytes that a TermReq may quote

	flagDigests = 0x03 // of header and data
	FlagLast    = 0x04 // the last data PDU of a transfer
	FlagSuccess = 0x08 // of the last C2HData: no response follows
)

// sizeOf is the length of the kind's header, 0 of one that nobody knows.
func (k Kind) sizeOf() int {
	switch k {
	case KindICReq, KindICResp:
		return ICSize
	case KindCommand:
		return CommandSize
	case KindH2CTermReq, KindC2HTermReq, KindResponse, KindH2CData, KindC2HData, KindR2T:
		return shortSize
	}
	return 0
}

// String is the kind's name in the specification.
func (k Kind) String() string {
	switch k {
	case KindICReq:
		return "ICReq"
	case KindICResp:
		return "ICResp"
	case KindH2CTermReq:
		return "H2CTermReq"
	case KindC2HTermReq:
		return "C2HTermReq"
	case KindCommand:
		return "CapsuleCmd"
	case KindResponse:
		return "CapsuleResp"
	case KindH2CData:
		return "H2CData"
	case KindC2HData:
		return "C2HData"
	case KindR2T:
		return "R2T"
	}
	return fmt.Sprintf("PDU of type %#x", byte(k))
}

// ProtocolError is what the other side must not send. It ends the connection.
type ProtocolError struct{ what string }

// Error is the violation in words.
func (p *ProtocolError) Error() string { return "NVMe/TCP: " + p.what }

// Violated is a ProtocolError.
func Violated(format string, args ...any) error {
	return &ProtocolError{fmt.Sprintf(format, args...)}
}

// PDU is one that has arrived, up to its data.
type PDU struct {
	Kind  Kind
	Flags byte
	Head  []byte // header; until the next PDU is read
	Data  int    // bytes of data that follow and have to be read next
}

// Receiver reads PDUs.
type Receiver struct {
	r    *bufio.Reader
	head [ICSize]byte
}

// NewReceiver reads from a connection.
func NewReceiver(r io.Reader) *Receiver {
	return &Receiver{r: bufio.NewReaderSize(r, 64<<10)}
}

// Next reads a PDU up to its data, of which there are at most so many bytes.
func (in *Receiver) Next(most int) (PDU, error) {
	common := in.head[:CommonSize]
	if _, err := io.ReadFull(in.r, common); err != nil {
		return PDU{}, err
	}
	p := PDU{Kind: Kind(common[0]), Flags: common[1]}
	size := p.Kind.sizeOf()
	if size == 0 {
		return PDU{}, Violated("a %s", p.Kind)
	}
	headLength, dataAt, length := int(common[2]), int(common[3]), uint64(le.Uint32(common[4:]))
	if headLength != size || length < uint64(size) {
		return PDU{}, Violated("%s of %d bytes with a header of %d", p.Kind, length, headLength)
	}
	if p.Flags&flagDigests != 0 {
		return PDU{}, Violated("%s with a digest, which was not agreed on", p.Kind)
	}
	p.Head = in.head[:size]
	if _, err := io.ReadFull(in.r, in.head[CommonSize:size]); err != nil {
		return PDU{}, Unexpected(err)
	}
	if length == uint64(size) {
		return p, nil
	}
	skip := 0
	switch p.Kind {
	case KindH2CTermReq, KindC2HTermReq: // quotes the header that was wrong; has no data offset
		most = termData
	case KindCommand, KindH2CData, KindC2HData:
		if skip = dataAt - size; skip < 0 || uint64(dataAt) > length {
			return PDU{}, Violated("%s of %d bytes with its data at %d", p.Kind, length, dataAt)
		}
	default:
		return PDU{}, Violated("%s of %d bytes, which has no data", p.Kind, length)
	}
	data := length - uint64(size) - uint64(skip)
	if most < 0 || data > uint64(most) {
		return PDU{}, Violated("%s with %d bytes of data, where at most %d are expected", p.Kind, data, most)
	}
	if _, err := in.r.Discard(skip); err != nil {
		return PDU{}, Unexpected(err)
	}
	p.Data = int(data)
	return p, nil
}

// Read reads data of a PDU.
func (in *Receiver) Read(p []byte) error {
	_, err := io.ReadFull(in.r, p)
	return Unexpected(err)
}

// Unexpected tells an end in the middle of a PDU from one between two: io.EOF becomes
// io.ErrUnexpectedEOF.
func Unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// NewPDU is the header of a PDU, to be filled in, and padding up to its data, of
// which there are so many bytes. align is what the data's offset is a multiple of.
func NewPDU(kind Kind, flags byte, data, align int) []byte {
	size := kind.sizeOf()
	at := size
	if data > 0 {
		at = (size + align - 1) / align * align
	}
	p := make([]byte, at)
	p[0], p[1], p[2] = byte(kind), flags, byte(size)
	if data > 0 {
		p[3] = byte(at)
	}
	le.PutUint32(p[4:], uint32(at+data))
	return p
}

// AlignOf is the alignment that a CPDA or HPDA asks for, in bytes.
func AlignOf(pda byte) (int, error) {
	if pda > 31 {
		return 0, Violated("data alignment %d, where at most 31 is expected", pda)
	}
	return (int(pda) + 1) * 4, nil
}
