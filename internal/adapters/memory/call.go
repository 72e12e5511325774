package memory

import (
	"context"
	"fmt"
	"time"

	"github.com/rootgraft/rebuild/internal/ports"
)

// Call is one call of a port, as Inject sees it.
type Call struct {
	// Method is one of "list", "look", "free", "create", "graft", "seal", "snapshot",
	// "clone", "delete", "merge", "record", "prove", "receive", "withdraw", "copy",
	// "release", "limit", "peer", "opened", "open", and of what was opened "read" and
	// "write".
	Method string
	// N says the how many-th call of that method on this host it is, from 1.
	N int
	// Name is the name that is to be given (create, seal, snapshot, clone),
	// else that of the lvol concerned; "" where there is none.
	Name string
	// UUID is that of the lvol concerned: what is grafted, sealed, copied; of
	// a clone, the snapshot's. "" where there is none.
	UUID string
}

// Fault is what happens to a call.
type Fault struct {
	// Before is returned, and nothing was done.
	Before error
	// After is returned though the call was carried out: the answer was lost.
	After error
	// Delay is how long the operation takes while it holds its locks; that of
	// a copy is spread over its clusters. It ends with the context.
	Delay time.Duration
	// AfterClusters is for copies: with Before set, the fault happens when so
	// many clusters were written.
	AfterClusters uint64
	// Restart restarts the host when the call would be answered: as if its
	// process had died there. With neither Before nor After set the answer is
	// ErrUnavailable, and the call was carried out.
	Restart bool
	// Spoil is for copies: they write something else and say that all went well.
	Spoil Spoil
	// Unwatched is for copies: who asked for this one is gone once it has begun,
	// and it goes on by itself, as all do that Orphan finds.
	Unwatched bool
}

// Inject has the function asked about each call of a port from now on; nil
// ends it. It may call the host itself.
func (h *Host) Inject(ask func(Call) Fault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.inject = ask
}

// admit counts the call and asks what happens to it. A call whose context has
// ended is not admitted.
func (h *Host) admit(ctx context.Context, call Call) (Fault, error) {
	if err := ended(ctx); err != nil {
		return Fault{}, err
	}
	h.mu.Lock()
	h.calls[call.Method]++
	call.N = h.calls[call.Method]
	ask := h.inject
	h.mu.Unlock()
	if ask == nil {
		return Fault{}, nil
	}
	return ask(call), ended(ctx)
}

// ended tells a context that has ended in a port's words.
func ended(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return whyEnded(ctx)
}

func whyEnded(ctx context.Context) error {
	return fmt.Errorf("%w: %w", ports.ErrUnavailable, ctx.Err())
}

// change is what a call is about to do.
type change struct {
	locks   []*lvol // each takes part in one operation at a time
	parent  *lvol   // locked too: something is to hang on it
	name    string  // to be given; "": none
	refused func()  // called where something of it is busy
	apply   func() error
}

// carryOut is the way of every call but copy: what is wrong with it is found
// at once, then it holds its locks as long as it takes, then it is done in one
// step. prepare and the change run under the host's mutex.
func (h *Host) carryOut(ctx context.Context, call Call, what string, prepare func() (change, error)) error {
	fault, err := h.admit(ctx, call)
	if err == nil {
		err = h.answer(fault, h.attempt(ctx, fault, prepare))
	}
	return h.failed(what, err)
}

// answer is what comes back of a call that ended with that error.
func (h *Host) answer(fault Fault, err error) error {
	if fault.Restart {
		h.Restart()
		if err == nil {
			err = errRestarted
		}
	}
	if fault.After != nil {
		err = fault.After
	}
	return err
}

func (h *Host) attempt(ctx context.Context, fault Fault, prepare func() (change, error)) error {
	if fault.Before != nil && fault.Delay == 0 {
		return fault.Before
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	c, err := prepare()
	if err != nil {
		return err
	}
	if c.busy() {
		if c.refused != nil {
			c.refused()
		}
		return ports.ErrBusy
	}
	if fault.Delay > 0 {
		op := h.begin(c)
		h.mu.Unlock()
		err := op.wait(ctx, fault.Delay)
		h.mu.Lock()
		if op.finished {
			return op.reason
		}
		h.finish(op)
		if err != nil {
			return err
		}
	}
	if fault.Before != nil {
		return fault.Before
	}
	return c.apply()
}
