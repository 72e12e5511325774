package histories

import (
	"context"
	"fmt"
	"sync"

	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/ports"
)

// process is an engine's process, which can crash at any call. Later calls reach no host;
// calls that were sent before go on there.
type process struct {
	world       *world
	number      int
	engine      *app.Engine
	queue       *app.Queue
	connections map[*target]*connection

	mu     sync.Mutex
	dead   chan struct{} // closed when it dies
	died   bool
	calls  int
	dieAt  int  // number of the call at which it dies; 0: none
	sent   bool // that call has been sent
	claims map[int]func()
	claim  int
}

// errDied is the error of all calls of a dead process.
var errDied = fmt.Errorf("%w: the process is dead", ports.ErrUnavailable)

// newProcess starts an engine.
func (w *world) newProcess(limits app.Limits) *process {
	w.processes++
	p := &process{world: w, number: w.processes, engine: app.New(nil), connections: make(map[*target]*connection), dead: make(chan struct{}), claims: make(map[int]func())}
	p.queue = app.NewQueue(p.engine, limits)
	for _, s := range w.targets {
		p.connections[s] = &connection{process: p, target: s}
	}
	return p
}

// dieSoon lets it die at a call after that many more.
func (p *process) dieSoon(calls int, sent bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dieAt, p.sent = p.calls+calls, sent
}

// disarm undoes dieSoon and reports whether the process is alive.
func (p *process) disarm() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dieAt = 0
	return !p.died
}

// admit counts a call. It returns an error if the process is dead; dies if it dies as soon
// as the call is sent.
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

// die ends the process and its claims.
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
	p.world.tracef("process %d dies", p.number)
}

// holdClaim keeps a claim until it is released or the process dies.
func (p *process) holdClaim(release func()) (give func(), err error) {
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

// at is a replica as the process accesses it.
func (p *process) at(r *replica) app.Site {
	return app.Site{Host: p.connections[r.at], Replica: r.name}
}

// quit ends the process in an orderly way.
func (p *process) quit(ctx context.Context) error { return p.queue.Close(ctx) }
