package nvmeserver

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmetcp"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmetcp/wire"
)

const (
	subNQN  = "nqn.2026-01.com.example.test:sub"
	hostNQN = "nqn.2026-01.com.example.test:host"
)

// disk is the only namespace of a subsystem.
type disk struct {
	mu   sync.Mutex
	data [4096]byte
}

func (d *disk) Subsystem(_, _ string) (Subsystem, wire.Status) { return d, 0 }
func (d *disk) Export(id uint32) (Export, bool)                { return d, id == 1 }

func (d *disk) Size() uint64      { return uint64(len(d.data)) }
func (d *disk) BlockSize() uint64 { return 512 }
func (d *disk) NGUID() [16]byte   { return [16]byte{1, 2, 3} }

func (d *disk) ReadAt(p []byte, offset int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return copy(p, d.data[offset:]), nil
}

func (d *disk) WriteAt(p []byte, offset int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return copy(d.data[offset:], p), nil
}

// conversation is what a host said on both queues, small enough to be a fuzzer's
// beginning: a read and a write of two blocks.
func conversation(t testing.TB) []byte {
	server := NewServer(&disk{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	tap := &tapped{Listener: l}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(tap) })
	session, err := nvmetcp.Dial(t.Context(), nvmetcp.Config{Address: l.Addr().String(), NQN: subNQN, HostNQN: hostNQN, Depth: 2})
	require.NoError(t, err)
	n, err := session.Namespace(t.Context(), 1)
	require.NoError(t, err)
	require.NoError(t, n.Write(t.Context(), make([]byte, 1024), 0))
	require.NoError(t, n.Read(t.Context(), make([]byte, 1024), 0))
	require.NoError(t, session.Close())
	require.NoError(t, server.Close())
	serving.Wait()
	return bytes.Join(tap.said(), nil)
}

// tapped records what comes over the connections that it accepts.
type tapped struct {
	net.Listener
	all []*bytes.Buffer
}

func (l *tapped) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	heard := new(bytes.Buffer)
	l.all = append(l.all, heard)
	return &recorded{conn, io.TeeReader(conn, heard)}, nil
}

func (l *tapped) said() (all [][]byte) {
	for _, heard := range l.all {
		all = append(all, heard.Bytes())
	}
	return all
}

type recorded struct {
	net.Conn
	tee io.Reader
}

func (r *recorded) Read(p []byte) (int, error) { return r.tee.Read(p) }

// FuzzServer has a server listen to a host that says anything.
func FuzzServer(f *testing.F) {
	hostSaid := conversation(f)
	require.Greater(f, len(hostSaid), 2048)
	f.Add(hostSaid)
	f.Fuzz(func(t *testing.T, says []byte) {
		server := NewServer(&disk{})
		// As if an I/O queue could be connected without an admin queue.
		server.controllers[1] = &controller{id: 1, nqn: subNQN, host: hostNQN, enabled: true}
		ours, theirs := net.Pipe()
		server.ServeConn(theirs)
		var host sync.WaitGroup
		host.Go(func() { _, _ = io.Copy(io.Discard, ours) })
		_, _ = ours.Write(says)
		_ = ours.Close()
		host.Wait()
		require.NoError(t, server.Close())
	})
}
