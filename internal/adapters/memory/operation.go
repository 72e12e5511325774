package memory

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rootgraft/rebuild/internal/ports"
)

var (
	errRestarted = fmt.Errorf("%w: the host was restarted", ports.ErrUnavailable)
	errDown      = fmt.Errorf("%w: the host is down", ports.ErrUnavailable)
	errCutOff    = fmt.Errorf("%w: the host is cut off", ports.ErrUnavailable)
	errWithdrawn = fmt.Errorf("%w: the address is not valid any more", ports.ErrUnavailable)
	errReleased  = fmt.Errorf("%w: the run was released", ports.ErrUnavailable)
)

// operation is a change that takes time. Its lvols take part in no other operation
// meanwhile: as on a real target, a second one fails at once and is not queued.
type operation struct {
	change
	sends bool      // a copy from this host,
	run   ports.Run // in that run

	finished bool // guarded by the host's mutex

	once    sync.Once
	stopped chan struct{}
	reason  error         // set before stopped is closed
	over    chan struct{} // closed when its locks are released
}

func (c change) busy() bool {
	return c.parent != nil && c.parent.busy != nil || slices.ContainsFunc(c.locks, func(l *lvol) bool { return l.busy != nil })
}

// begin locks the lvols of the change and reserves its name.
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

// finish undoes begin. A second call is no error: a restart finishes all running
// operations.
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

// awaitQuiet waits until the lvol takes part in no operation during which it is not
// accessed.
func (h *Host) awaitQuiet(uuid string) {
	for {
		h.mu.Lock()
		l := h.lvols[uuid]
		if l == nil || l.busy == nil || !l.busy.quiet {
			h.mu.Unlock()
			return
		}
		over := l.busy.over
		h.mu.Unlock()
		<-over
	}
}

// stop ends the operation. It may be called more than once; the first reason counts.
func (op *operation) stop(reason error) {
	op.once.Do(func() {
		op.reason = reason
		close(op.stopped)
	})
}

// wait waits for the duration, unless the operation is stopped.
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

// checkName refuses a name that is taken or not allowed.
func (h *Host) checkName(name string) error {
	if _, taken := h.names[name]; taken {
		return fmt.Errorf("name %s: %w", name, ports.ErrExists)
	}
	switch {
	case name == "":
		return fmt.Errorf("no name: %w", ports.ErrInvalid)
	case len(name) > h.config.NameLimit:
		return fmt.Errorf("name %s has %d bytes, this host allows %d: %w", name, len(name), h.config.NameLimit, ports.ErrInvalid)
	}
	return nil
}
