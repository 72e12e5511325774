package simtarget

import (
	"context"
	"fmt"
	"net"
	"sync"
	"syscall"
)

// Dial connects to the JSON-RPC socket of a target that is Within the process. The
// error is what a dead unix socket gives where there is none.
func (f *Fabric) Dial(ctx context.Context, socket string) (net.Conn, error) {
	f.mu.Lock()
	t := f.within(socket)
	f.mu.Unlock()
	if t != nil {
		if conn, err := t.socket.(*pipes).dial(ctx); err == nil || ctx.Err() != nil {
			return conn, err
		}
	}
	return nil, fmt.Errorf("dial simulated target %s: %w", socket, syscall.ECONNREFUSED)
}

// within is the target of that socket.
func (f *Fabric) within(socket string) *Target {
	for _, t := range f.targets {
		if t.config.Within && t.config.Socket == socket {
			return t
		}
	}
	return nil
}

// pipes are a listener within the process.
type pipes struct {
	waiting chan net.Conn
	closing sync.Once
	closed  chan struct{}
}

func newPipes() *pipes { return &pipes{waiting: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) dial(ctx context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.waiting <- theirs:
		return ours, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Accept implements net.Listener.
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.waiting:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (p *pipes) Close() error {
	p.closing.Do(func() { close(p.closed) })
	return nil
}

// Addr implements net.Listener.
func (p *pipes) Addr() net.Addr { return pipeAddress{} }

type pipeAddress struct{}

func (pipeAddress) Network() string { return "pipe" }
func (pipeAddress) String() string  { return "pipe" }
