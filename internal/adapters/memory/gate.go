package memory

import (
	"context"
	"fmt"
	"sync"

	"github.com/rootgraft/rebuild/internal/ports"
)

// gate lets reads and writes pass until it is closed.
type gate struct {
	mu       sync.Mutex
	opened   chan struct{} // closed when the gate opens; nil: it is open
	inFlight int
	idle     chan struct{} // closed when nothing is in flight any more; nil: nobody waits
}

// enter waits until the gate is open. leave must follow.
func (g *gate) enter() {
	for {
		g.mu.Lock()
		opened := g.opened
		if opened == nil {
			g.inFlight++
			g.mu.Unlock()
			return
		}
		g.mu.Unlock()
		<-opened
	}
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inFlight--
	if g.inFlight == 0 && g.idle != nil {
		close(g.idle)
		g.idle = nil
	}
}

// close closes the gate and waits until nothing is in flight. It stays open if ctx ends
// before.
func (g *gate) close(ctx context.Context) error {
	g.mu.Lock()
	if g.opened != nil {
		g.mu.Unlock()
		return fmt.Errorf("it is suspended already: %w", ports.ErrBusy)
	}
	opened, idle := make(chan struct{}), make(chan struct{})
	g.opened = opened
	if g.inFlight == 0 {
		close(idle)
	} else {
		g.idle = idle
	}
	g.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		g.open(opened)
		return contextError(ctx)
	}
}

// open opens the gate if it was closed that time; nil: whenever that was.
func (g *gate) open(closed chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened == nil || closed != nil && g.opened != closed {
		return
	}
	close(g.opened)
	g.opened, g.idle = nil, nil
}
