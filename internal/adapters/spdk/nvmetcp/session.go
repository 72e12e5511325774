package nvmetcp

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmetcp/wire"
)

const (
	// DefaultTimeout is how long a command may take.
	DefaultTimeout = 30 * time.Second
	// DefaultDepth is how many commands are on their way at once: with 128 KiB
	// each, SPDK's largest, that is 4 MiB, enough to keep a disk busy.
	DefaultDepth = 32

	adminDepth = 4
	// mostTransfer is what one command moves at most, whatever the controller
	// would take.
	mostTransfer = 1 << 20
)

// Config says what to connect to, and as whom.
type Config struct {
	Address string        // host:port of a listener
	NQN     string        // of the subsystem
	HostNQN string        // who connects; a subsystem may allow some hosts only
	Depth   int           // commands on their way at once; 0: DefaultDepth
	Timeout time.Duration // how long a command may take; 0: DefaultTimeout
}

func (c *Config) check() error {
	for _, nqn := range []struct{ what, is string }{{"NQN", c.NQN}, {"HostNQN", c.HostNQN}} {
		if nqn.is == "" || len(nqn.is) > wire.NQNMost {
			return fmt.Errorf("%s %q: expected 1 to %d bytes", nqn.what, nqn.is, wire.NQNMost)
		}
	}
	if c.Depth < 0 || c.Depth > 1024 {
		return fmt.Errorf("Depth %d: expected 1 to 1024", c.Depth)
	}
	c.Depth = cmp.Or(c.Depth, DefaultDepth)
	c.Timeout = cmp.Or(c.Timeout, DefaultTimeout)
	return nil
}

// Session is a connection to a subsystem: an admin queue and one I/O queue. Its
// methods, and those of its namespaces, may be called from several goroutines.
//
// A command cannot be taken back, and until it has ended its buffer is in use.
// So when a context ends, or a command takes longer than the timeout, the whole
// session ends, with all that is on its way.
type Session struct {
	config    Config
	admin, io *queue
	transfer  int // bytes that one command may move
}

// Dial connects to a subsystem. The context counts for that alone.
func Dial(ctx context.Context, config Config) (*Session, error) {
	s := &Session{config: config}
	if err := s.config.check(); err != nil {
		return nil, fmt.Errorf("connect to %s at %s: %w", config.NQN, config.Address, err)
	}
	if err := s.open(ctx); err != nil {
		s.end()
		return nil, fmt.Errorf("connect to %s at %s: %w", config.NQN, config.Address, err)
	}
	return s, nil
}

func (s *Session) open(ctx context.Context) (err error) {
	if s.admin, err = s.dial(ctx, true, adminDepth); err != nil {
		return err
	}
	controller, err := s.connect(ctx, s.admin, 0, adminDepth, wire.AnyController)
	if err != nil {
		return err
	}
	most, err := s.enable(ctx)
	if err != nil {
		return err
	}
	if s.transfer, err = s.transferLimit(ctx); err != nil {
		return err
	}
	depth := min(s.config.Depth, most)
	if s.io, err = s.dial(ctx, false, depth); err != nil {
		return err
	}
	_, err = s.connect(ctx, s.io, 1, depth, controller)
	return err
}

func (s *Session) dial(ctx context.Context, admin bool, depth int) (*queue, error) {
	dialer := net.Dialer{Timeout: s.config.Timeout}
	conn, err := dialer.DialContext(ctx, "tcp", s.config.Address)
	if err != nil {
		return nil, err
	}
	return newQueue(ctx, conn, admin, depth, s.config.Timeout)
}

// connect makes a connection a queue. It has one entry more than there are
// commands on their way: a queue that is full could not be told from an empty one.
func (s *Session) connect(ctx context.Context, q *queue, id uint16, depth int, controller uint16) (uint16, error) {
	e := wire.NewFabrics(wire.FabricsConnect)
	e.Transfers(wire.ConnectSize, wire.SGLInCapsule)
	size := uint16(depth + 1)
	if id == 0 {
		size = max(size, 32) // the least that SPDK takes
	}
	e.Connects(id, size)
	data := wire.ConnectData{Controller: controller, Subsystem: s.config.NQN, Host: s.config.HostNQN}
	digest := sha256.Sum256([]byte(s.config.HostNQN)) // a host's ID belongs to its NQN
	copy(data.HostID[:], digest[:])
	result, err := q.do(ctx, e, data.Bytes(), nil)
	if err != nil {
		return 0, err
	}
	if result>>16&3 != 0 {
		return 0, errors.New("connect: the subsystem wants authentication, which this host has not")
	}
	return uint16(result), nil
}

// enable starts the controller and waits until it is ready. It returns how many
// commands a queue of it takes.
func (s *Session) enable(ctx context.Context) (most int, err error) {
	capabilities, err := s.property(ctx, wire.RegisterCAP)
	if err != nil {
		return 0, err
	}
	if smallest := capabilities >> 48 & 0xf; smallest != 0 {
		return 0, fmt.Errorf("the controller's smallest page has %d bytes, expected %d", wire.PageSize<<smallest, wire.PageSize)
	}
	most = int(capabilities & 0xffff) // entries but one
	if most == 0 {
		return 0, wire.Violated("a controller whose queues have one entry")
	}
	set := wire.NewFabrics(wire.FabricsPropertySet)
	set.Property(wire.RegisterCC, wire.ConfigSizes|wire.ConfigEnable)
	if _, err := s.admin.do(ctx, set, nil, nil); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.config.Timeout,
		fmt.Errorf("the controller is not ready after %v", s.config.Timeout))
	defer cancel()
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		status, err := s.property(ctx, wire.RegisterCSTS)
		switch {
		case err != nil:
			return 0, err
		case status&wire.StatusFatal != 0:
			return 0, errors.New("the controller has failed for good")
		case status&wire.StatusReady != 0:
			return most, nil
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return 0, context.Cause(ctx)
		}
	}
}

func (s *Session) property(ctx context.Context, register uint32) (uint64, error) {
	get := wire.NewFabrics(wire.FabricsPropertyGet)
	get.Property(register, 0)
	return s.admin.do(ctx, get, nil, nil)
}

func (s *Session) identify(ctx context.Context, what byte, namespace uint32) ([]byte, error) {
	e := wire.NewCommand(wire.OpIdentify, namespace)
	e.Transfers(wire.IdentifySize, wire.SGLTransport)
	e[40] = what
	p := make([]byte, wire.IdentifySize)
	_, err := s.admin.do(ctx, e, nil, p)
	return p, err
}

// transferLimit is what the controller takes in one command: MDTS, a power of two
// of pages, 0 for no limit.
func (s *Session) transferLimit(ctx context.Context) (int, error) {
	p, err := s.identify(ctx, wire.IdentifyController, 0)
	if err != nil {
		return 0, err
	}
	if power := p[77]; power > 0 && power < 8 { // from 8 on it is more than ours
		return wire.PageSize << power, nil
	}
	return mostTransfer, nil
}

// Close ends the session. What is on its way fails.
func (s *Session) Close() error {
	s.end()
	return nil
}

func (s *Session) end() {
	for _, q := range []*queue{s.io, s.admin} {
		if q != nil {
			q.close()
		}
	}
}
