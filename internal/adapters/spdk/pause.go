package spdk

import (
	"context"
	"errors"
	"fmt"
	"slices"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"

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
func (h *Host) changeSubsystem(ctx context.Context, nqn, method string, params any) error {
	leave, err := h.turnsOf(ctx, nqn)
	if err != nil {
		return err
	}
	defer leave()
	if err := h.settle(ctx, nqn); err != nil {
		return err
	}
	err = h.change(ctx, method, params, nil)
	h.setSettled(nqn, !unsaid(err))
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
	calls := make([]*call, len(nqns))
	for i, nqn := range nqns {
		calls[i] = newCall("nvmf_delete_subsystem", spdktypes.NvmfDeleteSubsystemRequest{Nqn: nqn}, nil)
	}
	h.changeAll(ctx, calls...)
	for i, one := range calls {
		h.setSettled(nqns[i], false)
		// "Invalid parameters": there is none of that name.
		if one.err != nil && !errors.Is(one.err, ports.ErrInvalid) && !errors.Is(one.err, ports.ErrNotFound) {
			return one.err
		}
	}
	return nil
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
	calls := make([]*call, len(doubtful))
	for i, nqn := range doubtful {
		calls[i] = newCall("nvmf_subsystem_remove_ns", spdktypes.NvmfSubsystemRemoveNsRequest{Nqn: nqn, Nsid: everyNamespace}, nil)
	}
	h.changeAll(ctx, calls...)
	for i, one := range calls {
		if unsaid(one.err) {
			return fmt.Errorf("wait for an earlier change of subsystem %s: %w", doubtful[i], one.err)
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
