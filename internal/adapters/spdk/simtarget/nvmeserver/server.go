package nvmeserver

import (
	"errors"
	"io"
	"net"
	"sync"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmetcp/wire"
)

// What a server shows. It asks for it anew at every command, so that what is gone
// is gone at once.
type (
	// Subsystems are what a server serves.
	Subsystems interface {
		// Subsystem is the one of that NQN for that host, or why there is none:
		// StatusConnectInvalid, or StatusHostNotAllowed. 0: there is one.
		Subsystem(nqn, hostNQN string) (Subsystem, wire.Status)
	}

	// Subsystem is one set of namespaces.
	Subsystem interface {
		// Export is the namespace of that ID; ok is false where there is none.
		Export(id uint32) (export Export, ok bool)
	}

	// Export is what a namespace is served from. Offsets and lengths are whole
	// blocks within its size. An error is answered as a media error, one that
	// wraps a StatusError with its status.
	Export interface {
		io.ReaderAt
		io.WriterAt
		// Size is in bytes.
		Size() uint64
		// BlockSize is in bytes, a power of two from 512 to 65536.
		BlockSize() uint64
		// NGUID is its globally unique identifier; zeros: none.
		NGUID() [16]byte
	}
)

// Server serves subsystems over any number of listeners.
type Server struct {
	Limits Limits // may be changed before the first connection

	subsystems Subsystems

	mu          sync.Mutex
	closed      bool
	listeners   map[net.Listener]bool
	connections map[*connection]bool
	controllers map[uint16]*controller
	next        uint16
	serves      sync.WaitGroup
}

// Limits are what a server tells hosts, so that tests can have others.
type Limits struct {
	Data     int  // bytes in one H2CData
	Answer   int  // bytes in one C2HData
	Align    byte // CPDA
	Transfer byte // MDTS, a power of two of pages
	Success  bool // the last C2HData is the answer
	Entries  int  // of a queue
}

// controller is a host's admin queue and what belongs to it.
type controller struct {
	id       uint16
	nqn      string
	host     string
	admin    *connection
	enabled  bool // guarded by the server's mutex
	settings uint64
}

// NewServer makes a server. It serves nobody until Serve is called.
func NewServer(subsystems Subsystems) *Server {
	return &Server{
		subsystems:  subsystems,
		Limits:      Limits{Data: 128 << 10, Answer: 128 << 10, Transfer: 5, Success: true, Entries: 128},
		listeners:   make(map[net.Listener]bool),
		connections: make(map[*connection]bool),
		controllers: make(map[uint16]*controller),
	}
}

// ErrServerClosed is what Serve returns after Close.
var ErrServerClosed = errors.New("the NVMe/TCP server is closed")

// Serve accepts connections until the listener or the server is closed. The
// listener is closed when it returns; what was accepted stays.
func (s *Server) Serve(l net.Listener) error {
	defer func() { _ = l.Close() }()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrServerClosed
	}
	s.listeners[l] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.listeners, l)
		s.mu.Unlock()
	}()
	for {
		conn, err := l.Accept()
		if err != nil {
			if s.isClosed() {
				return ErrServerClosed
			}
			return err
		}
		if !s.ServeConn(conn) {
			return ErrServerClosed
		}
	}
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// ServeConn serves a connection in the background; false: the server is closed.
func (s *Server) ServeConn(conn net.Conn) bool {
	c := newConnection(s, conn)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = conn.Close()
		return false
	}
	s.connections[c] = true
	s.serves.Go(func() {
		c.serve()
		s.ended(c)
	})
	return true
}

// ended forgets a connection. With an admin queue the controller goes, and its
// I/O queue with it.
func (s *Server) ended(c *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.connections, c)
	if c.controller != nil && c.controller.admin == c {
		delete(s.controllers, c.controller.id)
		s.cutLocked(func(other *connection) bool { return other.controller == c.controller })
	}
}

// Disconnect ends the connections to a subsystem, as deleting one does.
func (s *Server) Disconnect(nqn string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cutLocked(func(c *connection) bool { return c.controller != nil && c.controller.nqn == nqn })
}

// DisconnectHost ends a host's connections to a subsystem, as taking the host
// from its list does.
func (s *Server) DisconnectHost(nqn, hostNQN string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cutLocked(func(c *connection) bool {
		return c.controller != nil && c.controller.nqn == nqn && c.controller.host == hostNQN
	})
}

func (s *Server) cutLocked(which func(*connection) bool) {
	for c := range s.connections {
		if which(c) {
			_ = c.conn.Close()
		}
	}
}

// Close ends all listeners and connections, and returns when nothing is served
// any more.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	for l := range s.listeners {
		_ = l.Close()
	}
	s.cutLocked(func(*connection) bool { return true })
	s.mu.Unlock()
	s.serves.Wait()
	return nil
}

// admit makes a connection the queue that its Connect asks for, and returns the
// controller's ID.
func (s *Server) admit(c *connection, e *entry, data wire.ConnectData) (uint16, wire.Status) {
	if e.connectFormat() != 0 {
		return 0, 0x180
	}
	if e.queueSize() < 2 || int(e.queueSize()) > s.Limits.Entries {
		return 0, wire.StatusConnectInvalid
	}
	if _, refusal := s.subsystems.Subsystem(data.Subsystem, data.Host); refusal != 0 {
		return 0, refusal
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.queue() != 0 {
		one := s.controllers[data.Controller]
		if one == nil || one.nqn != data.Subsystem || one.host != data.Host || !one.enabled {
			return 0, wire.StatusConnectInvalid
		}
		c.controller, c.entries = one, int(e.queueSize())
		return one.id, 0
	}
	if data.Controller != wire.AnyController || len(s.controllers) > 1000 {
		return 0, wire.StatusConnectInvalid
	}
	for s.next++; s.next == 0 || s.next >= 0xfff0 || s.controllers[s.next] != nil; s.next++ {
	}
	c.controller = &controller{id: s.next, nqn: data.Subsystem, host: data.Host, admin: c}
	c.entries = int(e.queueSize())
	s.controllers[s.next] = c.controller
	return s.next, 0
}
