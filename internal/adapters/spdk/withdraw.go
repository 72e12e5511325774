package spdk

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Withdraw implements ports.Copier. Without its namespace a copy from another
// target ends within milliseconds. Nothing ends a copy within one target, so
// that one is waited for; ErrBusy where it takes too long.
func (h *Host) Withdraw(ctx context.Context, run ports.Run, uuid string) error {
	var received *reception
	h.mu.Lock()
	if state := h.runs[run]; state != nil {
		received = state.received[uuid]
	}
	h.mu.Unlock()
	var err error
	if received == nil {
		err = h.withdrawUnknown(ctx, run, uuid)
	} else {
		err = h.withdraw(ctx, run, uuid, received)
	}
	return h.store.Failed(err, "withdraw lvol %s", uuid)
}

func (h *Host) withdraw(ctx context.Context, run ports.Run, uuid string, received *reception) error {
	if received.subsystem == nil {
		if err := h.waitUnclaimed(ctx, uuid); err != nil {
			return err
		}
	} else if err := h.removeNamespace(ctx, received.subsystem.nqn, received.nsid); err != nil {
		return err
	}
	h.mu.Lock()
	state := h.runLocked(run)
	sub := received.subsystem
	if state.received[uuid] == received {
		delete(state.received, uuid)
		if sub != nil {
			sub.live--
		}
	}
	usedUp := sub != nil && sub != state.current && sub.live == 0
	h.mu.Unlock()
	if usedUp {
		h.closeSubsystem(ctx, state, sub)
	}
	return nil
}

// withdrawUnknown ends what another Host of this target, in another process
// perhaps, has received in the run.
func (h *Host) withdrawUnknown(ctx context.Context, run ports.Run, uuid string) error {
	all, err := h.subsystems(ctx, "")
	if err != nil {
		return err
	}
	for _, sub := range all {
		if sub.ModelNumber != modelNumber || !isNQNOf(sub.Nqn, run) {
			continue
		}
		for _, ns := range sub.Namespaces {
			if ns.BdevName == uuid {
				if err := h.removeNamespace(ctx, sub.Nqn, ns.Nsid); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// removeNamespace removes it, if it is there.
func (h *Host) removeNamespace(ctx context.Context, nqn string, nsid uint32) error {
	refusal := h.changeSubsystem(ctx, nqn, rpc.RemoveNamespace(nqn, nsid))
	if refusal == nil || rpc.OutcomeUnknown(refusal) {
		return refusal
	}
	there, err := h.subsystems(ctx, nqn)
	if err != nil {
		return err
	}
	for _, sub := range there {
		for _, ns := range sub.Namespaces {
			if ns.Nsid == nsid {
				return rpc.WithKind(ports.ErrUnavailable, refusal)
			}
		}
	}
	return nil
}

// localCopyFor is how long a copy within the target is waited for.
const localCopyFor = 30 * time.Second

// waitUnclaimed waits until no copy writes into the lvol: a shallow copy claims
// what it writes to (vbdev_lvol_shallow_copy).
func (h *Host) waitUnclaimed(ctx context.Context, uuid string) error {
	wait := rpc.BackOff{Pause: 2 * time.Millisecond, Longest: 250 * time.Millisecond, Until: time.Now().Add(localCopyFor)}
	hurried := false
	for {
		l, err := h.store.Find(ctx, uuid)
		if errors.Is(err, ports.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if !l.Claimed {
			return nil
		}
		if !hurried {
			// It cannot be stopped, but it need not be held back any more.
			hurried = true
			if err := h.limit(ctx, uuid, 0); rpc.OutcomeUnknown(err) {
				return err // else it is over, or takes as long as it takes
			}
		}
		if !wait.Next(ctx) {
			return fmt.Errorf("a copy into %s is still going on, and SPDK cannot stop it: %w", l.LvolName(), ports.ErrBusy)
		}
	}
}
