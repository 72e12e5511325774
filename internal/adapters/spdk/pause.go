package spdk

import (
	"context"
	"fmt"
	"slices"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
)

// SPDK changes a subsystem while it is paused, and a pause waits for the I/O of one
// namespace: the one that is removed. Where a second change begins before the first
// is over, it finds the subsystem paused and waits for nothing
// (nvmf_subsystem_do_state_change). If it removes a namespace that a copy is just
// writing into, these writes come back to memory that is freed, and the target and
// all that it serves are gone. So one change of a subsystem follows the other; one
// whose answer was lost is waited for as well.

// everyNamespace is the NSID that stands for all of them (SPDK_NVME_GLOBAL_NS_TAG).
// None can be removed by it, but the pause for it waits for the I/O of them all.
const everyNamespace = 1<<32 - 1

// changeSubsystem does one call that pauses the subsystem.
func (h *Host) changeSubsystem(ctx context.Context, nqn string, change *rpc.Call) error {
	leave, err := h.turnsOf(ctx, nqn)
	if err != nil {
		return err
	}
	defer leave()
	if err := h.settle(ctx, nqn); err != nil {
		return err
	}
	err = change.Do(ctx, h.rpc)
	h.setSettled(nqn, !rpc.OutcomeUnknown(err))
	return err
}

// deleteSubsystems deletes those that are there. What is not this host's may have
// been left by an engine that ended in the middle of a change.
func (h *Host) deleteSubsystems(ctx context.Context, nqns ...string) error {
	leave, err := h.turnsOf(ctx, nqns...)
	if err != nil {
		return err
	}
	defer leave()
	if err := h.settle(ctx, nqns...); err != nil {
		return err
	}
	calls := make([]rpc.Request, len(nqns))
	for i, nqn := range nqns {
		calls[i] = rpc.DeleteSubsystem(nqn)
	}
	h.rpc.Do(ctx, calls...)
	for _, nqn := range nqns {
		h.setSettled(nqn, false)
	}
	return rpc.FirstErr(calls, ports.ErrInvalid, ports.ErrNotFound) // "Invalid parameters": there is none of that name
}

// turnsOf waits until nobody changes any of the subsystems.
func (h *Host) turnsOf(ctx context.Context, nqns ...string) (leave func(), err error) {
	var held []func()
	leave = func() {
		for _, release := range held {
			release()
		}
	}
	for _, nqn := range slices.Sorted(slices.Values(nqns)) { // nobody waits in a circle
		release, err := h.locks.take(ctx, "subsystem "+nqn)
		if err != nil {
			leave()
			return nil, err
		}
		held = append(held, release)
	}
	return leave, nil
}

// settle waits until the changes of subsystems that have begun are over. A change
// that changes nothing does: SPDK takes them in turn, so it is refused when those
// before it are done. That it finds the subsystem paused hurts nobody; nor does it
// hurt another engine's change to find it paused by this one, since nothing is being
// written then.
func (h *Host) settle(ctx context.Context, nqns ...string) error {
	var doubtful []string
	h.mu.Lock()
	for _, nqn := range nqns {
		if _, settled := h.settled[nqn]; !settled {
			doubtful = append(doubtful, nqn)
		}
	}
	h.mu.Unlock()
	if len(doubtful) == 0 {
		return nil
	}
	calls := make([]*rpc.Call, len(doubtful))
	for i, nqn := range doubtful {
		calls[i] = rpc.RemoveNamespace(nqn, everyNamespace)
	}
	h.rpc.Do(ctx, rpc.Requests(calls)...)
	for i, one := range calls {
		if rpc.OutcomeUnknown(one.Err) {
			return fmt.Errorf("wait for an earlier change of subsystem %s: %w", doubtful[i], one.Err)
		}
		h.setSettled(doubtful[i], true)
	}
	return nil
}

func (h *Host) setSettled(nqn string, is bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if is {
		h.settled[nqn] = struct{}{}
	} else {
		delete(h.settled, nqn)
	}
}
