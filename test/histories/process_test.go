package histories

import (
	"context"
	"fmt"
	"sync"

	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/ports"
)

// process is an engine's process: it can die at any call. Nothing of it reaches a
// host from then on, and what it has asked for goes on there without it.
type process struct {
	world  *world
	number int
	engine *app.Engine
	queue  *app.Queue
	lines  map[*site]*line

	mu     sync.Mutex
	dead   chan struct{} // closed when it dies
	died   bool
	calls  int
	dieAt  int  // at which of its calls; 0: at none
	sent   bool // the call at which it dies has left already
	claims map[int]func()
	claim  int
}

// errDied is what a dead process' goroutines hear, which nobody sees.
var errDied = fmt.Errorf("%w: the process is dead", ports.ErrUnavailable)

// newProcess starts an engine.
func (w *world) newProcess(limits app.Limits) *process {
	w.processes++
	p := &process{world: w, number: w.processes, engine: app.New(nil), lines: make(map[*site]*line), dead: make(chan struct{}), claims: make(map[int]func())}
	p.queue = app.NewQueue(p.engine, limits)
	for _, s := range w.sites {
		p.lines[s] = &line{process: p, site: s}
	}
	return p
}

// dieSoon has it die at the call after that many more.
func (p *process) dieSoon(calls int, sent bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dieAt, p.sent = p.calls+calls, sent
}

// live disarms dieSoon, and reports whether it lives.
func (p *process) live() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dieAt = 0
	return !p.died
}

// admit counts a call. An error says that the process is dead; dies, that it dies
// as soon as the call is on its way.
func (p *process) admit() (dies bool, err error) {
	p.mu.Lock()
	if p.died {
		p.mu.Unlock()
		return false, errDied
	}
	p.calls++
	now := p.calls == p.dieAt
	sent := p.sent
	p.mu.Unlock()
	if now && !sent {
		p.die()
		return false, errDied
	}
	return now, nil
}

// die ends the process, and with it its claims.
func (p *process) die() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.died {
		return
	}
	p.died = true
	close(p.dead)
	for _, release := range p.claims {
		release()
	}
	p.world.note("process %d dies", p.number)
}

// hold keeps a claim for as long as the process lives.
func (p *process) hold(release func()) (give func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.died {
		release()
		return nil, errDied
	}
	p.claim++
	number := p.claim
	p.claims[number] = release
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if release, held := p.claims[number]; held {
			delete(p.claims, number)
			if !p.died {
				release()
			}
		}
	}, nil
}

// at is a replica as the process reaches it.
func (p *process) at(r *replica) app.Site { return app.Site{Host: p.lines[r.at], Replica: r.name} }

// quit ends the process in good order.
func (p *process) quit(ctx context.Context) error { return p.queue.Close(ctx) }
