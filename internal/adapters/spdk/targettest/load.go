package targettest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmetcp"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmetcp/wire"
)

// Load is clients that read and write a volume over NVMe/TCP without a pause, each of them blocks
// of its own, and compare every block with the last one that was written there.
type Load struct {
	stop context.CancelFunc
	done sync.WaitGroup

	mu    sync.Mutex
	trace LoadTrace
}

// LoadTrace is what clients have met with.
type LoadTrace struct {
	Reads, Writes int
	Kept          int           // commands that were sent again, since the namespace was inaccessible
	Longest       time.Duration // of one command, with its repetitions
	Latencies     []time.Duration
	Errors        []error // failed commands, and blocks with other content
}

const clientsOfLoad = 4

// Volume is what clients read and write.
type Volume struct {
	Address string // host:port of a listener
	NQN     string // of its subsystem, which has it as namespace 1
	HostNQN string // whom it admits

	Filled  byte   // what every byte is; 0: unknown, a block is written before it is read
	Written uint64 // bytes from the beginning on that are written, the rest is read only; 0: all
	Clients int    // 0: 4
}

// StartLoad connects clients, and has them begin.
func StartLoad(ctx context.Context, v Volume) (*Load, error) {
	ctx, cancel := context.WithCancel(ctx)
	l := &Load{stop: cancel}
	if v.Clients == 0 {
		v.Clients = clientsOfLoad
	}
	for i := range v.Clients {
		s, err := nvmetcp.Dial(ctx, nvmetcp.Config{Address: v.Address, NQN: v.NQN, HostNQN: v.HostNQN})
		if err == nil {
			var n *nvmetcp.Namespace
			if n, err = s.Namespace(ctx, 1); err == nil {
				c := &loadClient{load: l, volume: v, namespace: n, number: uint64(i), random: rand.New(rand.NewPCG(uint64(i), 1)), wrote: make(map[uint64]byte)}
				l.done.Go(func() {
					c.run(ctx)
					_ = s.Close() // it may have ended
				})
				continue
			}
			_ = s.Close()
		}
		l.Stop()
		return nil, err
	}
	return l, nil
}

// Stop ends the clients when each has ended its command, and returns what they met with.
func (l *Load) Stop() LoadTrace {
	l.stop()
	l.done.Wait()
	return l.Trace()
}

// Trace is what they have met with so far.
func (l *Load) Trace() LoadTrace {
	l.mu.Lock()
	defer l.mu.Unlock()
	trace := l.trace
	trace.Latencies = slices.Clone(trace.Latencies)
	trace.Errors = slices.Clone(trace.Errors)
	return trace
}

type loadClient struct {
	load      *Load
	volume    Volume
	namespace *nvmetcp.Namespace
	number    uint64
	random    *rand.Rand
	wrote     map[uint64]byte // by block: what it is filled with
}

// run is stopped between two commands only: the end of a command's context ends its session.
func (c *loadClient) run(ctx context.Context) {
	blocks := c.namespace.Size() / blockSize
	p := make([]byte, blockSize)
	for ctx.Err() == nil {
		clients := uint64(c.volume.Clients)
		block := c.random.Uint64N(blocks/clients)*clients + c.number
		fill, known := c.wrote[block]
		if !known {
			fill, known = c.volume.Filled, c.volume.Filled != 0
		}
		readOnly := c.volume.Written > 0 && (block+1)*blockSize > c.volume.Written
		if !known || !readOnly && c.random.IntN(2) == 0 {
			fill = byte(1 + c.random.IntN(255))
			for i := range p {
				p[i] = fill
			}
			if !c.do("write", block, func() error { return c.namespace.Write(context.WithoutCancel(ctx), p, block*blockSize) }) {
				return
			}
			c.wrote[block] = fill
			continue
		}
		if !c.do("read", block, func() error { return c.namespace.Read(context.WithoutCancel(ctx), p, block*blockSize) }) {
			return
		}
		if !bytes.Equal(p, bytes.Repeat([]byte{fill}, blockSize)) {
			c.failed(fmt.Errorf("block %d reads %d…, expected %d", block, p[0], fill))
			return
		}
	}
}

// again is how long a client waits before it sends a command once more.
const again = 2 * time.Millisecond

// do does a command, again as long as the namespace is inaccessible, as hosts do.
func (c *loadClient) do(what string, block uint64, command func() error) (ok bool) {
	began, kept := time.Now(), 0
	err := command()
	for ; isInaccessible(err); err = command() {
		kept++
		time.Sleep(again)
	}
	if err != nil {
		c.failed(fmt.Errorf("%s of block %d after %v: %w", what, block, time.Since(began), err))
		return false
	}
	took := time.Since(began)
	l := c.load
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trace.Kept += kept
	l.trace.Longest = max(l.trace.Longest, took)
	l.trace.Latencies = append(l.trace.Latencies, took)
	if what == "read" {
		l.trace.Reads++
	} else {
		l.trace.Writes++
	}
	return true
}

func isInaccessible(err error) bool {
	var refusal *wire.StatusError
	return errors.As(err, &refusal) && refusal.Status == wire.StatusInaccessible
}

func (c *loadClient) failed(err error) {
	c.load.mu.Lock()
	defer c.load.mu.Unlock()
	c.load.trace.Errors = append(c.load.trace.Errors, fmt.Errorf("client %d: %w", c.number, err))
}
