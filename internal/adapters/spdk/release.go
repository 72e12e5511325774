package spdk

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
)

// detachFor is how long a run that ends waits for a detach. From a target that
// hangs it takes SPDK 10 s, and goes on when nobody waits for it.
const detachFor = 2 * time.Second

// Release implements ports.Copier. The first one of a run asks the target what
// there is of the replica's runs, and ends it all; later ones of the same run
// end what this host has opened for it since.
func (h *Host) Release(ctx context.Context, run ports.Run) error {
	return h.store.Failed(h.release(ctx, run), "release what runs of replica %s have opened", run.Replica)
}

func (h *Host) release(ctx context.Context, run ports.Run) error {
	unlock, err := h.locks.take(ctx, lockOf(run))
	if err != nil {
		return err
	}
	defer unlock()
	h.sweep(ctx) // what is left of this host's own calls
	state := h.run(run)
	h.mu.Lock()
	swept := state.swept
	subsystems, controllers := state.openedLocked()
	h.mu.Unlock()

	ends := func(other ports.Run) bool { return other == run || !swept && other.SameReplica(run) }
	h.endOpenings(ends)
	h.undoPrepared(ctx, ends)
	if !swept {
		if subsystems, controllers, err = h.opened(ctx, func(nqn string) bool { return isRunNQN(nqn, run) }); err != nil {
			return err
		}
	}
	if err := h.closeAll(ctx, swept, subsystems, controllers); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if swept {
		delete(h.runs, run)
		return nil
	}
	for other := range h.runs {
		if other.SameReplica(run) {
			delete(h.runs, other)
		}
	}
	h.runLocked(run).swept = true
	return nil
}

// End implements ports.Ender. What this host has opened itself it knows; for a
// run of another process it asks the target.
func (h *Host) End(ctx context.Context, run ports.Run) error {
	return h.store.Failed(h.endRun(ctx, run), "end what run %s of replica %s has opened", run.ID, run.Replica)
}

func (h *Host) endRun(ctx context.Context, run ports.Run) error {
	unlock, err := h.locks.take(ctx, lockOf(run))
	if err != nil {
		return err
	}
	defer unlock()
	ends := func(other ports.Run) bool { return isSameRun(other, run) }
	var subsystems, controllers []string
	known := false
	h.mu.Lock()
	for other, state := range h.runs {
		if ends(other) {
			known = true
			subsystems, controllers = state.openedLocked()
		}
	}
	h.mu.Unlock()
	h.endOpenings(ends)
	h.undoPrepared(ctx, ends)
	if !known {
		if subsystems, controllers, err = h.opened(ctx, func(nqn string) bool { return isNQNOf(nqn, run) }); err != nil {
			return err
		}
	}
	if err := h.closeAll(ctx, known, subsystems, controllers); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for other := range h.runs {
		if ends(other) {
			delete(h.runs, other)
		}
	}
	return nil
}

// closeAll ends controllers and subsystems. What sends goes first: a controller
// whose subsystem is gone tries to reconnect. Where a run ends that had a life, a
// detach is not waited for long.
func (h *Host) closeAll(ctx context.Context, hurry bool, subsystems, controllers []string) error {
	detaching, end := ctx, func() {}
	if hurry {
		detaching, end = context.WithTimeout(ctx, detachFor)
	}
	err := h.detachControllers(detaching, controllers...)
	end()
	return errors.Join(err, h.deleteSubsystems(ctx, subsystems...))
}

// openedLocked are the NQNs of what the run has opened here.
func (s *runState) openedLocked() (subsystems, controllers []string) {
	for _, sub := range s.subsystems {
		subsystems = append(subsystems, sub.nqn)
	}
	return subsystems, slices.Sorted(maps.Keys(s.controllers))
}

// opened are the NQNs of subsystems and controllers on the target that runs
// have opened, of those that are wanted.
func (h *Host) opened(ctx context.Context, wanted func(nqn string) bool) (subsystems, controllers []string, err error) {
	exported, attached := rpc.GetSubsystems(""), rpc.GetControllers("")
	h.rpc.Do(ctx, exported, attached)
	if err := rpc.FirstErr([]rpc.Request{exported, attached}, ports.ErrUnsupported); err != nil {
		return nil, nil, err
	}
	for _, sub := range exported.Result {
		if sub.ModelNumber == modelNumber && wanted(sub.Nqn) {
			subsystems = append(subsystems, sub.Nqn)
		}
	}
	for _, info := range attached.Result {
		for _, path := range info.Ctrlrs {
			if nqn := path.Trid.Subnqn; wanted(nqn) && info.Name == controllerName(nqn) {
				controllers = append(controllers, nqn)
				break
			}
		}
	}
	return subsystems, controllers, nil
}
