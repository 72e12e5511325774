package memory

import (
	"context"
	"fmt"
	"time"

	"github.com/rootgraft/rebuild/internal/ports"
)

// Call is one call of a port.
type Call struct {
	// Method is one of "list", "look", "free", "create", "graft", "seal", "snapshot",
	// "clone", "delete", "merge", "rename", "record", "prove", "receive", "withdraw",
	// "copy", "release", "limit", "peer", "opened", "offer", "show",
	// "hide", "hide-head", "connect", "graft-external", "open", and "read" and "write" of
	// opened bytes.
	Method string
	// N counts the calls of that method on this host, from 1.
	N int
	// Name is the new name (create, seal, snapshot, clone, rename) or that of the lvol
	// concerned; "" if there is none.
	Name string
	// UUID is that of the lvol concerned: the one that is grafted, sealed or copied;
	// for a clone, the snapshot. "" if there is none.
	UUID string
}

// onLvol is a call that concerns an lvol.
func (h *Host) onLvol(method, uuid string) Call {
	return Call{Method: method, UUID: uuid, Name: h.nameOf(uuid)}
}

// Fault describes how a call fails or is delayed.
type Fault struct {
	// Before is returned, and the call is not carried out.
	Before error
	// After is returned although the call is carried out: the answer is lost.
	After error
	// Delay is the duration of the operation, which holds its locks; that of a copy is
	// spread over its clusters. It ends with the context.
	Delay time.Duration
	// AfterClusters is for copies: with Before set, the copy fails after that many
	// clusters.
	AfterClusters uint64
	// Restart restarts the host when the call would be answered, as if its process had
	// died. If neither Before nor After is set, the call is carried out and returns
	// ErrUnavailable.
	Restart bool
	// Kill is Restart without the start: the host stays down until Start.
	Kill bool
	// Spoil is for copies: they write wrong data and report success.
	Spoil Spoil
	// Unwatched is for copies: the engine ends after the copy has begun, and the copy
	// goes on by itself, as after Orphan.
	Unwatched bool
}

// Inject calls the function for each call of a port from now on; nil ends that. The
// function may call the host itself.
func (h *Host) Inject(ask func(Call) Fault) { h.faults.inject(ask) }

// admit counts the call and gets its fault. A call whose context has ended is not
// admitted.
func (h *Host) admit(ctx context.Context, call Call) (Fault, error) {
	if err := ended(ctx); err != nil {
		return Fault{}, err
	}
	fault := h.faults.next(call)
	if h.down.Load() {
		return fault, errDown
	}
	return fault, ended(ctx)
}

// ended returns an error of the ports if the context has ended.
func ended(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return contextError(ctx)
}

func contextError(ctx context.Context) error {
	return fmt.Errorf("%w: %w", ports.ErrUnavailable, ctx.Err())
}

// change is the effect of a call.
type change struct {
	locks   []*lvol // each takes part in one operation at a time
	parent  *lvol   // locked, too: it gets a clone
	name    string  // new name; "": none
	refused func()  // called if an lvol is busy
	quiet   bool    // mirrors do not access the lvols meanwhile
	apply   func() error
}

// carryOut carries out every call except copy: prepare checks it at once, then it holds
// its locks for the fault's delay, then apply runs in one step. prepare and apply run
// under the host's mutex.
func (h *Host) carryOut(ctx context.Context, call Call, what string, prepare func() (change, error)) error {
	fault, err := h.admit(ctx, call)
	if err == nil {
		err = h.answer(fault, h.attempt(ctx, fault, prepare))
	}
	return h.wrap(what, err)
}

// perform is carryOut for a call that locks nothing and needs no name.
func (h *Host) perform(ctx context.Context, call Call, what string, apply func() error) error {
	return h.carryOut(ctx, call, what, func() (change, error) { return change{apply: apply}, nil })
}

// unlessLost is the result of a call: nothing after an error, since the answer was lost then.
func unlessLost[T any](value T, err error) (T, error) {
	if err != nil {
		var none T
		return none, err
	}
	return value, nil
}

// answer is the result of a call that ended with that error.
func (h *Host) answer(fault Fault, err error) error {
	if fault.Restart || fault.Kill {
		h.Kill()
		if !fault.Kill {
			h.Start()
		}
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
