package nvmetcp

import (
	"bytes"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmetcp/wire"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget/nvmeserver"
)

const (
	subNQN  = "nqn.2026-01.com.example.test:sub"
	hostNQN = "nqn.2026-01.com.example.test:host"
)

// disk is a namespace in memory.
type disk struct {
	blockSize uint64
	nguid     [16]byte

	mu   sync.Mutex
	data []byte
	fail error         // of every access
	gate chan struct{} // nil, or what every access waits for

	reached chan struct{} // one has come to the gate
}

func newDisk(blockSize, size uint64) *disk {
	return &disk{blockSize: blockSize, data: make([]byte, size), nguid: [16]byte{1, 2, 3}, reached: make(chan struct{}, 1)}
}

func (d *disk) Size() uint64      { return uint64(len(d.data)) }
func (d *disk) BlockSize() uint64 { return d.blockSize }
func (d *disk) NGUID() [16]byte   { return d.nguid }

func (d *disk) ReadAt(p []byte, offset int64) (int, error) {
	return d.access(func() int { return copy(p, d.data[offset:]) })
}

func (d *disk) WriteAt(p []byte, offset int64) (int, error) {
	return d.access(func() int { return copy(d.data[offset:], p) })
}

func (d *disk) access(do func() int) (int, error) {
	d.mu.Lock()
	gate := d.gate
	d.mu.Unlock()
	if gate != nil {
		select {
		case d.reached <- struct{}{}:
		default:
		}
		<-gate
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail != nil {
		return 0, d.fail
	}
	return do(), nil
}

// Deallocate implements Deallocator.
func (d *disk) Deallocate(offset, length uint64) error {
	_, err := d.access(func() int { clear(d.data[offset : offset+length]); return 0 })
	return err
}

func (d *disk) failWith(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = err
}

// stop holds every access up until the gate is closed. Once only.
func (d *disk) stop() (gate chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gate = make(chan struct{})
	return d.gate
}

func (d *disk) holds(want []byte) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return bytes.Equal(want, d.data)
}

// shown is a subsystem of disks, for one host.
type shown struct {
	mu    sync.Mutex
	disks map[uint32]*disk
}

func (s *shown) Subsystem(nqn, host string) (nvmeserver.Subsystem, wire.Status) {
	switch {
	case nqn != subNQN:
		return nil, wire.StatusConnectInvalid
	case host != hostNQN:
		return nil, wire.StatusHostNotAllowed
	}
	return s, 0
}

func (s *shown) Export(id uint32) (nvmeserver.Export, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, ok := s.disks[id]
	return d, ok
}

func (s *shown) set(id uint32, d *disk) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d == nil {
		delete(s.disks, id)
		return
	}
	s.disks[id] = d
}

// serve serves the disks until the test ends.
func serve(t *testing.T, s *nvmeserver.Server) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-served, nvmeserver.ErrServerClosed)
	})
	return l.Addr().String()
}

func dial(t *testing.T, address string) *Session {
	t.Helper()
	session, err := Dial(t.Context(), Config{Address: address, NQN: subNQN, HostNQN: hostNQN, Timeout: 20 * time.Second})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, session.Close()) })
	return session
}

func find(t *testing.T, s *Session, id uint32) *Namespace {
	t.Helper()
	n, err := s.Namespace(t.Context(), id)
	require.NoError(t, err)
	return n
}

// open is a namespace over a disk.
func open(t *testing.T, d *disk) *Namespace {
	t.Helper()
	return find(t, dial(t, serve(t, nvmeserver.NewServer(&shown{disks: map[uint32]*disk{1: d}}))), 1)
}
