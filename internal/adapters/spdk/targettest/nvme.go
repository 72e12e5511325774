package targettest

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// A small NVMe/TCP host, enough to read and write one namespace with one
// command at a time: NVMe over Fabrics 1.1, NVMe/TCP transport 1.0.

const (
	pduICReq       = 0x00
	pduICResp      = 0x01
	pduCapsule     = 0x04
	pduResponse    = 0x05
	pduH2CData     = 0x06
	pduC2HData     = 0x07
	pduR2T         = 0x09
	pduFlagLast    = 0x04
	pduFlagSuccess = 0x08

	opWrite   = 0x01
	opRead    = 0x02
	opFabrics = 0x7f

	fabricsPropertySet = 0x00
	fabricsConnect     = 0x01
	fabricsPropertyGet = 0x04

	registerCC   = 0x14
	registerCSTS = 0x1c

	ioSize    = 128 << 10 // SPDK's max_io_size
	ioTimeout = 30 * time.Second
)

var le = binary.LittleEndian

// queue is one connection.
type queue struct {
	conn   net.Conn
	reader *bufio.Reader
}

// hostNQN is who connects.
const hostNQN = "nqn.2026-01.com.example.test:host"

// session is a connection to a subsystem.
type session struct {
	admin, io *queue
}

// namespace is one of the subsystem's, whether it was there when the session
// began or not.
type namespace struct {
	session *session
	nsid    uint32
}

func connect(address, nqn string) (*session, error) {
	admin, err := dial(address)
	if err != nil {
		return nil, err
	}
	s := &session{admin: admin}
	controller, err := admin.fabricsConnect(nqn, 0, 31, 0xffff)
	if err == nil {
		err = admin.enable()
	}
	if err == nil {
		s.io, err = dial(address)
	}
	if err == nil {
		_, err = s.io.fabricsConnect(nqn, 1, 31, controller)
	}
	if err != nil {
		s.close()
		return nil, fmt.Errorf("connect to %s: %w", nqn, err)
	}
	return s, nil
}

func (s *session) close() {
	for _, q := range []*queue{s.io, s.admin} {
		if q != nil {
			_ = q.conn.Close()
		}
	}
}

func (n *namespace) read(p []byte, offset uint64) error  { return n.each(opRead, p, offset) }
func (n *namespace) write(p []byte, offset uint64) error { return n.each(opWrite, p, offset) }

func (n *namespace) each(opcode byte, p []byte, offset uint64) error {
	for len(p) > 0 {
		part := p[:min(len(p), ioSize)]
		var sqe [64]byte
		sqe[0] = opcode
		sqe[1] = 0x40 // SGL
		le.PutUint32(sqe[4:], n.nsid)
		le.PutUint32(sqe[32:], uint32(len(part)))
		sqe[39] = 0x5a // transport data block
		le.PutUint64(sqe[40:], offset/blockSize)
		le.PutUint16(sqe[48:], uint16(len(part)/blockSize-1))
		if _, err := n.session.io.do(sqe, nil, part, opcode == opWrite); err != nil {
			return fmt.Errorf("I/O at %d: %w", offset, err)
		}
		p, offset = p[len(part):], offset+uint64(len(part))
	}
	return nil
}

func dial(address string) (*queue, error) {
	conn, err := net.DialTimeout("tcp", address, ioTimeout)
	if err != nil {
		return nil, err
	}
	q := &queue{conn: conn, reader: bufio.NewReader(conn)}
	var hello [128]byte
	hello[0], hello[2] = pduICReq, 128
	le.PutUint32(hello[4:], 128)
	if err = conn.SetDeadline(time.Now().Add(ioTimeout)); err == nil {
		_, err = conn.Write(hello[:])
	}
	if err == nil {
		var kind byte
		if kind, _, _, err = q.receive(); err == nil && kind != pduICResp {
			err = fmt.Errorf("unexpected PDU %#x", kind)
		}
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return q, nil
}

// receive returns a PDU's type and flags, and all of it.
func (q *queue) receive() (kind, flags byte, pdu []byte, err error) {
	var header [8]byte
	if _, err := io.ReadFull(q.reader, header[:]); err != nil {
		return 0, 0, nil, err
	}
	length := le.Uint32(header[4:])
	if length < 8 || length > 1<<20 {
		return 0, 0, nil, fmt.Errorf("a PDU of %d bytes", length)
	}
	pdu = make([]byte, length)
	copy(pdu, header[:])
	_, err = io.ReadFull(q.reader, pdu[8:])
	return header[0], header[1], pdu, err
}

func (q *queue) fabricsConnect(nqn string, id, size, controller uint16) (uint16, error) {
	var sqe [64]byte
	sqe[0], sqe[1], sqe[4] = opFabrics, 0x40, fabricsConnect
	le.PutUint32(sqe[32:], 1024)
	sqe[39] = 0x01 // data follows in the capsule
	le.PutUint16(sqe[42:], id)
	le.PutUint16(sqe[44:], size)
	data := make([]byte, 1024)
	copy(data, "a test's host ID")
	le.PutUint16(data[16:], controller)
	copy(data[256:], nqn)
	copy(data[512:], hostNQN)
	result, err := q.do(sqe, data, nil, false)
	return uint16(result), err
}

// enable sets CC.EN and waits for CSTS.RDY.
func (q *queue) enable() error {
	var set [64]byte
	set[0], set[1], set[4] = opFabrics, 0x40, fabricsPropertySet
	le.PutUint32(set[44:], registerCC)
	le.PutUint64(set[48:], 4<<20|6<<16|1) // entry sizes of 16 and 64 bytes
	if _, err := q.do(set, nil, nil, false); err != nil {
		return err
	}
	for deadline := time.Now().Add(ioTimeout); time.Now().Before(deadline); {
		var get [64]byte
		get[0], get[1], get[4] = opFabrics, 0x40, fabricsPropertyGet
		le.PutUint32(get[44:], registerCSTS)
		status, err := q.do(get, nil, nil, false)
		if err != nil || status&1 == 1 {
			return err
		}
	}
	return errors.New("the controller does not become ready")
}

// do carries out one command: with data in its capsule, or with p to be read
// into or written from.
func (q *queue) do(sqe [64]byte, inCapsule, p []byte, write bool) (result uint64, err error) {
	if err := q.conn.SetDeadline(time.Now().Add(ioTimeout)); err != nil {
		return 0, err
	}
	var request bytes.Buffer
	header := [8]byte{pduCapsule, 0, 72, 0}
	if len(inCapsule) > 0 {
		header[3] = 72
	}
	le.PutUint32(header[4:], uint32(72+len(inCapsule)))
	request.Write(header[:])
	request.Write(sqe[:])
	request.Write(inCapsule)
	if _, err := q.conn.Write(request.Bytes()); err != nil {
		return 0, err
	}
	for {
		kind, flags, pdu, err := q.receive()
		if err != nil {
			return 0, err
		}
		switch kind {
		case pduC2HData:
			from, length, start := le.Uint32(pdu[12:]), le.Uint32(pdu[16:]), uint32(pdu[3])
			if int(from+length) > len(p) || int(start+length) > len(pdu) {
				return 0, errors.New("more data than asked for")
			}
			copy(p[from:from+length], pdu[start:])
			if flags&pduFlagSuccess != 0 {
				return 0, nil
			}
		case pduR2T:
			if !write {
				return 0, errors.New("data asked for by a command that has none")
			}
			from, length := le.Uint32(pdu[12:]), le.Uint32(pdu[16:])
			if err := q.sendData(pdu[8:10], pdu[10:12], p[from:from+length], from); err != nil {
				return 0, err
			}
		case pduResponse:
			if status := le.Uint16(pdu[22:]) >> 1; status != 0 {
				return 0, fmt.Errorf("status %#x of opcode %#x", status, sqe[0])
			}
			return le.Uint64(pdu[8:]), nil
		default:
			return 0, fmt.Errorf("unexpected PDU %#x", kind)
		}
	}
}

func (q *queue) sendData(command, transfer, data []byte, offset uint32) error {
	var header [24]byte
	header[0], header[1], header[2], header[3] = pduH2CData, pduFlagLast, 24, 24
	le.PutUint32(header[4:], uint32(24+len(data)))
	copy(header[8:], command)
	copy(header[10:], transfer)
	le.PutUint32(header[12:], offset)
	le.PutUint32(header[16:], uint32(len(data)))
	if _, err := q.conn.Write(header[:]); err != nil {
		return err
	}
	_, err := q.conn.Write(data)
	return err
}
