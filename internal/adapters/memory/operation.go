package memory

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rootgraft/rebuild/internal/ports"
)

var (
	errRestarted = fmt.Errorf("%w: the host was restarted", ports.ErrUnavailable)
	errWithdrawn = fmt.Errorf("%w: the address is void", ports.ErrUnavailable)
	errReleased  = fmt.Errorf("%w: the run was released", ports.ErrUnavailable)
)

// operation is something that takes time. Its lvols take part in nothing else
// meanwhile: like on a real target the second one fails at once, nothing
// queues.
type operation struct {
	change
	sends bool      // a copy from this host,
	run   ports.Run // in that run

	finished bool // guarded by the host's mutex

	once    sync.Once
	stopped chan struct{}
	reason  error         // set before stopped is closed
	over    chan struct{} // closed when it holds nothing any more
}

func (c change) busy() bool {
	for _, l := range c.locks {
		if l.busy != nil {
			return true
		}
	}
	return c.parent != nil && c.parent.busy != nil
}

// begin locks what the change needs and reserves its name.
func (h *Host) begin(c change) *operation {
	op := &operation{change: c, stopped: make(chan struct{}), over: make(chan struct{})}
	for _, l := range c.locks {
		l.busy = op
	}
	if c.parent != nil {
		c.parent.busy, c.parent.asParent = op, true
	}
	if c.name != "" {
		h.names[c.name] = nil
	}
	h.operations[op] = struct{}{}
	return op
}

// finish unlocks what begin locked. A second time is no error: a restart
// unlocks at once what was under way.
func (h *Host) finish(op *operation) {
	if op.finished {
		return
	}
	op.finished = true
	close(op.over)
	delete(h.operations, op)
	for _, l := range op.locks {
		l.busy = nil
	}
	if op.parent != nil {
		op.parent.busy, op.parent.asParent = nil, false
	}
	if op.name != "" {
		delete(h.names, op.name)
	}
}

// stop ends the operation, if it has not ended yet. It may be called more
// than once: the first reason counts.
func (op *operation) stop(reason error) {
	op.once.Do(func() {
		op.reason = reason
		close(op.stopped)
	})
}

// wait lets the operation take its time, unless it is stopped.
func (op *operation) wait(ctx context.Context, d time.Duration) error {
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		case <-op.stopped:
		}
	}
	select {
	case <-op.stopped:
		return op.reason
	default:
		return ended(ctx)
	}
}

// freeName refuses a name that cannot be given.
func (h *Host) freeName(name string) error {
	if _, taken := h.names[name]; taken {
		return fmt.Errorf("name %s: %w", name, ports.ErrExists)
	}
	switch {
	case name == "":
		return fmt.Errorf("no name: %w", ports.ErrInvalid)
	case len(name) > h.config.NameLimit:
		return fmt.Errorf("name %s has %d bytes, this host takes %d: %w", name, len(name), h.config.NameLimit, ports.ErrInvalid)
	}
	return nil
}
