package nvmetcp

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmetcp/wire"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget/nvmeserver"
)

// hello is an ICResp, changed.
func hello(change func(p []byte)) []byte {
	p := wire.NewPDU(wire.KindICResp, 0, 0, 1)
	le.PutUint32(p[12:], 128<<10)
	if change != nil {
		change(p)
	}
	return p
}

// said is a PDU of a controller.
func said(kind wire.Kind, flags byte, data int, fill func(p []byte)) []byte {
	p := wire.NewPDU(kind, flags, data, 1)
	if fill != nil {
		fill(p)
	}
	return append(p, make([]byte, data)...)
}

func dataFor(command uint16, from, says uint32, data int) []byte {
	return said(wire.KindC2HData, wire.FlagLast, data, func(p []byte) {
		le.PutUint16(p[8:], command)
		le.PutUint32(p[12:], from)
		le.PutUint32(p[16:], says)
	})
}

func askFor(from, length uint32) []byte {
	return said(wire.KindR2T, 0, 0, func(p []byte) {
		le.PutUint32(p[12:], from)
		le.PutUint32(p[16:], length)
	})
}

// answered is a response to command 0.
func answered(command uint16) []byte {
	return said(wire.KindResponse, 0, 0, func(p []byte) { le.PutUint16(p[20:], command) })
}

// TestInvalidPDUsEndTheQueue: what a controller must not send ends the queue, at
// once and with words. The command on its way is number 0.
func TestInvalidPDUsEndTheQueue(t *testing.T) {
	tests := []struct {
		name  string
		hello []byte
		says  []byte
		write bool
		want  string
	}{
		{name: "no ICResp", hello: said(wire.KindResponse, 0, 0, nil), want: "CapsuleResp instead of an ICResp"},
		{name: "another format", hello: hello(func(p []byte) { p[8] = 1 }), want: "version 1"},
		{name: "digests", hello: hello(func(p []byte) { p[11] = 3 }), want: "digests"},
		{name: "tiny data", hello: hello(func(p []byte) { le.PutUint32(p[12:], 64) }), want: "at most 64 bytes"},
		{name: "wide alignment", hello: hello(func(p []byte) { p[10] = 200 }), want: "alignment 200"},
		{name: "refused", hello: said(wire.KindC2HTermReq, 0, 0, func(p []byte) { p[8] = 6 }), want: "unsupported parameter"},
		{name: "another service", hello: []byte("HTTP/1.1 400 Bad Request\r\n\r\n"), want: "PDU of type 0x48"},
		{name: "cut off", hello: hello(nil)[:100], want: "unexpected EOF"},

		{name: "an unknown PDU", says: []byte{0x42, 0, 8, 0, 8, 0, 0, 0}, want: "PDU of type 0x42"},
		{name: "a PDU of hosts", says: said(wire.KindCommand, 0, 0, nil), want: "a CapsuleCmd from a controller"},
		{name: "a header of another length", says: []byte{byte(wire.KindResponse), 0, 23, 0, 24, 0, 0, 0}, want: "with a header of 23"},
		{name: "shorter than its header", says: []byte{byte(wire.KindResponse), 0, 24, 0, 8, 0, 0, 0}, want: "CapsuleResp of 8 bytes"},
		{name: "a digest", says: []byte{byte(wire.KindResponse), 1, 24, 0, 24, 0, 0, 0}, want: "digest"},
		{name: "an answer with data", says: said(wire.KindResponse, 0, 8, nil), want: "which has no data"},
		{name: "4 GiB of data", says: append([]byte{byte(wire.KindC2HData), 0, 24, 24, 0xff, 0xff, 0xff, 0xff}, make([]byte, 16)...), want: "with 4294967271 bytes of data"},
		{name: "data within the header", says: append([]byte{byte(wire.KindC2HData), 0, 24, 8, 64, 0, 0, 0}, make([]byte, 56)...), want: "with its data at 8"},
		{name: "data beyond the PDU", says: append([]byte{byte(wire.KindC2HData), 0, 24, 200, 64, 0, 0, 0}, make([]byte, 56)...), want: "with its data at 200"},
		{name: "an answer to nothing", says: answered(1), want: "command 1, which is not on its way"},
		{name: "data for nothing", says: dataFor(1, 0, 512, 512), want: "command 1, which is not on its way"},
		{name: "more data than asked for", says: dataFor(0, 0, 5000, 5000), want: "bytes 0 to 5000, where 0 to 4096"},
		{name: "data that wraps around", says: dataFor(0, 0xffffff00, 512, 512), want: "bytes 4294967040 to 4294967552"},
		{name: "data out of order", says: dataFor(0, 512, 512, 512), want: "bytes 512 to 1024, where 0 to 4096"},
		{name: "data twice", says: append(dataFor(0, 0, 512, 512), dataFor(0, 0, 512, 512)...), want: "bytes 0 to 512, where 512 to 4096"},
		{name: "data of another length", says: dataFor(0, 0, 4096, 512), want: "of 512 bytes that says 4096"},
		{name: "half of the data", says: append(dataFor(0, 0, 512, 512), answered(0)...), want: "done after 512 of 4096 bytes"},
		{name: "half of the data, and success", says: said(wire.KindC2HData, wire.FlagLast|wire.FlagSuccess, 512, func(p []byte) { le.PutUint32(p[16:], 512) }), want: "done after 512 of 4096"},
		{name: "no data", says: answered(0), want: "done after 0 of 4096"},
		{name: "data wanted of a read", says: askFor(0, 4096), want: "R2T for bytes 0 to 4096"},
		{name: "an end in the middle", says: dataFor(0, 0, 4096, 4096)[:1000], want: "unexpected EOF"},
		{name: "an end", want: "closed the connection"},
		{name: "it gives up", says: said(wire.KindC2HTermReq, 0, 20, func(p []byte) { p[8] = 4 }), want: "data transfer out of range"},

		{name: "too much wanted", write: true, says: askFor(0, 4097), want: "R2T for bytes 0 to 4097"},
		{name: "nothing wanted", write: true, says: askFor(0, 0), want: "R2T for bytes 0 to 0"},
		{name: "wanted from the middle", write: true, says: askFor(512, 512), want: "R2T for bytes 512 to 1024"},
		{name: "wanted beyond 4 GiB", write: true, says: askFor(0xfffffff0, 0x20), want: "R2T for bytes 4294967280"},
		{name: "wanted twice", write: true, says: append(askFor(0, 4096), askFor(0, 4096)...), want: "where 4096 to 4096 are left"},
		{name: "written though nothing was taken", write: true, says: answered(0), want: "done after 0 of 4096"},
		{name: "data for a write", write: true, says: dataFor(0, 0, 512, 512), want: "bytes 0 to 512, where 0 to 0"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.hello == nil {
				test.hello = hello(nil)
			}
			ours, theirs := tcpPair(t)
			var controller sync.WaitGroup
			defer controller.Wait()
			controller.Go(func() {
				_, _ = io.ReadFull(theirs, make([]byte, wire.ICSize))
				_, _ = theirs.Write(test.hello)
				if len(test.hello) == wire.ICSize {
					_, _ = io.ReadFull(theirs, make([]byte, wire.CommandSize))
					_, _ = theirs.Write(test.says)
				}
				_ = theirs.(*net.TCPConn).CloseWrite()
				_, _ = io.Copy(io.Discard, theirs)
				_ = theirs.Close()
			})
			q, err := newQueue(t.Context(), ours, false, 1, time.Minute)
			if err == nil {
				into, from := make([]byte, 4096), []byte(nil)
				if test.write {
					into, from = nil, into
				}
				var c *command
				c, err = q.start(t.Context(), wire.NewCommand(wire.OpRead, 1), nil, into, from)
				require.NoError(t, err)
				<-c.done
				err = c.err
				q.close()
			}
			require.ErrorContains(t, err, test.want)
		})
	}
}

func tcpPair(t testing.TB) (one, other net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			accepted <- conn
		}
	}()
	one, err = net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	return one, <-accepted
}

// recorded is all that came over a connection.
type recorded struct {
	net.Conn
	mu  sync.Mutex
	got bytes.Buffer
}

func (r *recorded) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got.Write(p[:n])
	return n, err
}

// conversation is what a controller said on both queues, small enough to be a
// fuzzer's beginning: a read and a write of two blocks.
func conversation(t testing.TB) (controllerSaid []byte) {
	server := nvmeserver.NewServer(&shown{disks: map[uint32]*disk{1: newDisk(512, 4096)}})
	defer server.Close()
	ours, theirs := tcpPair(t)
	server.ServeConn(theirs)
	tap := &recorded{Conn: ours}
	q, err := newQueue(t.Context(), tap, true, 2, time.Minute)
	require.NoError(t, err)
	s := &Session{config: Config{NQN: subNQN, HostNQN: hostNQN, Timeout: time.Minute}, admin: q}
	controller, err := s.connect(t.Context(), q, 0, 2, wire.AnyController)
	require.NoError(t, err)
	_, err = s.enable(t.Context())
	require.NoError(t, err)
	controllerSaid = append(controllerSaid, tap.got.Bytes()...)

	ours, theirs = tcpPair(t)
	server.ServeConn(theirs)
	tap = &recorded{Conn: ours}
	s.io, err = newQueue(t.Context(), tap, false, 2, time.Minute)
	require.NoError(t, err)
	_, err = s.connect(t.Context(), s.io, 1, 2, controller)
	require.NoError(t, err)
	s.transfer = 4096
	n := &Namespace{session: s, id: 1, blocks: 8, blockSize: 512}
	require.NoError(t, n.Write(t.Context(), make([]byte, 1024), 0))
	require.NoError(t, n.Read(t.Context(), make([]byte, 1024), 0))
	s.end()
	return append(controllerSaid, tap.got.Bytes()...)
}

// FuzzHost has a host connect to a controller that says anything.
func FuzzHost(f *testing.F) {
	f.Add(conversation(f))
	f.Add(append(hello(nil), append(askFor(0, 4096), answered(0)...)...))
	f.Add(append(hello(nil), dataFor(0, 0, 4096, 4096)...))
	f.Fuzz(func(t *testing.T, says []byte) {
		ours, theirs := net.Pipe()
		var controller sync.WaitGroup
		controller.Go(func() { _, _ = io.Copy(io.Discard, theirs) })
		controller.Go(func() {
			_, _ = theirs.Write(says)
			_ = theirs.Close()
		})
		defer controller.Wait()
		defer theirs.Close()
		q, err := newQueue(t.Context(), ours, false, 2, time.Minute)
		if err != nil {
			return
		}
		defer q.close()
		read, err := q.start(t.Context(), wire.NewCommand(wire.OpRead, 1), nil, make([]byte, 4096), nil)
		if err != nil {
			return
		}
		write, err := q.start(t.Context(), wire.NewCommand(wire.OpWrite, 1), nil, nil, make([]byte, 4096))
		<-read.done
		if err == nil {
			<-write.done
		}
	})
}
