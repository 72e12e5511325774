package nvmetcp

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

var le = binary.LittleEndian

// pduKind is the first byte of a PDU.
type pduKind byte

const (
	kindICReq      pduKind = 0x00
	kindICResp     pduKind = 0x01
	kindH2CTermReq pduKind = 0x02
	kindC2HTermReq pduKind = 0x03
	kindCommand    pduKind = 0x04
	kindResponse   pduKind = 0x05
	kindH2CData    pduKind = 0x06
	kindC2HData    pduKind = 0x07
	kindR2T        pduKind = 0x09
)

const (
	commonSize  = 8   // bytes of the header that all PDUs have
	icSize      = 128 // of ICReq and ICResp
	commandSize = commonSize + sqeSize
	sqeSize     = 64
	shortSize   = 24 // of all others

	termData = 128 // bytes that a TermReq may quote

	flagDigests = 0x03 // of header and data
	flagLast    = 0x04 // the last data PDU of a transfer
	flagSuccess = 0x08 // of the last C2HData: no response follows
)

// sizeOf is the length of the kind's header, 0 of one that nobody knows.
func (k pduKind) sizeOf() int {
	switch k {
	case kindICReq, kindICResp:
		return icSize
	case kindCommand:
		return commandSize
	case kindH2CTermReq, kindC2HTermReq, kindResponse, kindH2CData, kindC2HData, kindR2T:
		return shortSize
	}
	return 0
}

// String is the kind's name in the specification.
func (k pduKind) String() string {
	switch k {
	case kindICReq:
		return "ICReq"
	case kindICResp:
		return "ICResp"
	case kindH2CTermReq:
		return "H2CTermReq"
	case kindC2HTermReq:
		return "C2HTermReq"
	case kindCommand:
		return "CapsuleCmd"
	case kindResponse:
		return "CapsuleResp"
	case kindH2CData:
		return "H2CData"
	case kindC2HData:
		return "C2HData"
	case kindR2T:
		return "R2T"
	}
	return fmt.Sprintf("PDU of type %#x", byte(k))
}

// protocolError is what the other side must not send. It ends the connection.
type protocolError struct{ what string }

func (p *protocolError) Error() string { return "NVMe/TCP: " + p.what }

func violated(format string, args ...any) error {
	return &protocolError{fmt.Sprintf(format, args...)}
}

// pdu is one that has arrived, up to its data.
type pdu struct {
	kind  pduKind
	flags byte
	head  []byte // header; until the next PDU is read
	data  int    // bytes of data that follow and have to be read next
}

// receiver reads PDUs.
type receiver struct {
	r    *bufio.Reader
	head [icSize]byte
}

func newReceiver(r io.Reader) *receiver {
	return &receiver{r: bufio.NewReaderSize(r, 64<<10)}
}

// next reads a PDU up to its data, of which there are at most so many bytes.
func (in *receiver) next(most int) (pdu, error) {
	common := in.head[:commonSize]
	if _, err := io.ReadFull(in.r, common); err != nil {
		return pdu{}, err
	}
	p := pdu{kind: pduKind(common[0]), flags: common[1]}
	size := p.kind.sizeOf()
	if size == 0 {
		return pdu{}, violated("a %s", p.kind)
	}
	headLength, dataAt, length := int(common[2]), int(common[3]), uint64(le.Uint32(common[4:]))
	if headLength != size || length < uint64(size) {
		return pdu{}, violated("%s of %d bytes with a header of %d", p.kind, length, headLength)
	}
	if p.flags&flagDigests != 0 {
		return pdu{}, violated("%s with a digest, which was not agreed on", p.kind)
	}
	p.head = in.head[:size]
	if _, err := io.ReadFull(in.r, in.head[commonSize:size]); err != nil {
		return pdu{}, cut(err)
	}
	if length == uint64(size) {
		return p, nil
	}
	skip := 0
	switch p.kind {
	case kindH2CTermReq, kindC2HTermReq: // quotes the header that was wrong; has no data offset
		most = termData
	case kindCommand, kindH2CData, kindC2HData:
		if skip = dataAt - size; skip < 0 || uint64(dataAt) > length {
			return pdu{}, violated("%s of %d bytes with its data at %d", p.kind, length, dataAt)
		}
	default:
		return pdu{}, violated("%s of %d bytes, which has no data", p.kind, length)
	}
	data := length - uint64(size) - uint64(skip)
	if most < 0 || data > uint64(most) {
		return pdu{}, violated("%s with %d bytes of data, where at most %d are expected", p.kind, data, most)
	}
	if _, err := in.r.Discard(skip); err != nil {
		return pdu{}, cut(err)
	}
	p.data = int(data)
	return p, nil
}

// read reads data of a PDU.
func (in *receiver) read(p []byte) error {
	_, err := io.ReadFull(in.r, p)
	return cut(err)
}

// cut tells an end in the middle of a PDU from one between two.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// newPDU is the header of a PDU, to be filled in, and padding up to its data, of
// which there are so many bytes. align is what the data's offset is a multiple of.
func newPDU(kind pduKind, flags byte, data, align int) []byte {
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

// alignOf is the alignment that a CPDA or HPDA asks for, in bytes.
func alignOf(pda byte) (int, error) {
	if pda > 31 {
		return 0, violated("data alignment %d, where at most 31 is expected", pda)
	}
	return (int(pda) + 1) * 4, nil
}

// describeTerm tells why the other side gave the connection up.
func describeTerm(p pdu) string {
	reasons := map[uint16]string{
		1: "invalid PDU header field", 2: "PDU sequence error", 3: "header digest error",
		4: "data transfer out of range", 5: "data transfer limit exceeded", 6: "unsupported parameter",
	}
	code := le.Uint16(p.head[8:])
	if reason, known := reasons[code]; known {
		return reason
	}
	return fmt.Sprintf("fatal error %d", code)
}
