package nvmf

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/keylock"
	"github.com/rootgraft/rebuild/internal/ports"
)

// tidyFor is how long something is closed after the caller's context has ended.
const tidyFor = 5 * time.Second

// Config says how runs export lvols.
type Config struct {
	Listen   Listen        // zero: DefaultListen
	Ports    PortAllocator // nil: one port of Listen for all subsystems
	HostNQNs HostNQNs
}

// Exports are the exports and attachments of runs on one target.
type Exports struct {
	rpc     *rpc.Client
	store   *rpc.Lvstore
	log     *zap.Logger
	listen  Listen
	ports   PortAllocator
	nqns    hostNQNs
	locks   keylock.Locks // by run
	changes changes

	mu   sync.Mutex
	runs map[ports.Run]*run
}

// WithDefaults sets what is not set. ports.ErrInvalid: nobody can send to Listen.
func (c Config) WithDefaults() (Config, error) {
	if c.Listen == (Listen{}) {
		c.Listen = DefaultListen
	}
	if c.Ports == nil {
		c.Ports = &sharedPort{listen: c.Listen}
	}
	if err := c.Listen.Check(); err != nil {
		return Config{}, fmt.Errorf("Listen: %w: %w", err, ports.ErrInvalid)
	}
	return c, nil
}

// New makes the exports of an lvstore, by a config with its defaults.
func New(store *rpc.Lvstore, config Config, log *zap.Logger) (*Exports, error) {
	nqns, err := config.HostNQNs.draw(store.UUID)
	if err != nil {
		return nil, fmt.Errorf("HostNQNs: %w: %w", err, ports.ErrInvalid)
	}
	client := store.Client
	return &Exports{
		rpc: client, store: store, log: log,
		listen: config.Listen, ports: config.Ports, nqns: nqns,
		changes: changes{rpc: client},
		runs:    make(map[ports.Run]*run),
	}, nil
}

// run has the exports and attachments of one run. The mutex of Exports guards it; calls
// are made under the lock of the run or of a subsystem.
type run struct {
	swept       bool // what earlier runs left has been released
	here        map[peer]bool
	current     [2]*subsystem // with room for more namespaces, by purpose
	subsystems  []*subsystem
	received    map[string]*namespace // by UUID of the lvol; nil: within this target
	opened      map[*Bytes]struct{}
	controllers map[string]*controller // by NQN
}

// A purpose has subsystems of its own: peers that copy are not let in where the engine
// reads.
type purpose int

const (
	forPeers  purpose = iota // other targets copy into it
	forEngine                // this process reads and writes it
)

func (e *Exports) runLocked(r ports.Run) *run {
	state := e.runs[r]
	if state == nil {
		state = &run{
			here:        make(map[peer]bool),
			received:    make(map[string]*namespace),
			opened:      make(map[*Bytes]struct{}),
			controllers: make(map[string]*controller),
		}
		e.runs[r] = state
	}
	return state
}

func (e *Exports) run(r ports.Run) *run {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.runLocked(r)
}

// lock waits until nobody else opens something for the run.
func (e *Exports) lock(ctx context.Context, r ports.Run) (unlock func(), err error) {
	return take(ctx, &e.locks, "run "+r.ID)
}

func take(ctx context.Context, locks *keylock.Locks, keys ...string) (release func(), err error) {
	if release, err = locks.Take(ctx, keys...); err != nil {
		return nil, fmt.Errorf("%w: %w", err, ports.ErrUnavailable)
	}
	return release, nil
}

// Receives reports whether the lvol is received into.
func (e *Exports) Receives(lvol string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, state := range e.runs {
		if _, received := state.received[lvol]; received {
			return true
		}
	}
	return false
}
