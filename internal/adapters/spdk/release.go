package spdk

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"

	"github.com/rootgraft/rebuild/internal/ports"
)

// detachFor is how long a run that ends waits for a detach. From a target that
// hangs it takes SPDK 10 s, and goes on when nobody waits for it.
const detachFor = 2 * time.Second

// Release implements ports.Copier. The first one of a run asks the target what
// there is of the replica's runs, and ends it all; later ones of the same run
// end what this host has opened for it since.
func (h *Host) Release(ctx context.Context, run ports.Run) error {
	return h.failed(h.release(ctx, run), "release what runs of replica %s have opened", run.Replica)
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
	controllers := slices.Sorted(maps.Keys(state.controllers))
	var subsystems []string
	for _, sub := range state.subsystems {
		subsystems = append(subsystems, sub.nqn)
	}
	h.mu.Unlock()

	ends := func(other ports.Run) bool { return other == run || !swept && other.Replica == run.Replica }
	h.endOpenings(ends)
	h.undoPrepared(ctx, ends)
	if !swept {
		if subsystems, controllers, err = h.opened(ctx, func(nqn string) bool { return isRunNQN(nqn, run.Replica) }); err != nil {
			return err
		}
	}
	// What sends goes first: a controller whose subsystem is gone tries to
	// reconnect.
	detaching, end := ctx, func() {}
	if swept {
		detaching, end = context.WithTimeout(ctx, detachFor)
	}
	err = h.detachControllers(detaching, controllers...)
	end()
	if err := errors.Join(err, h.deleteSubsystems(ctx, subsystems...)); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if swept {
		delete(h.runs, run)
		return nil
	}
	for other := range h.runs {
		if other.Replica == run.Replica {
			delete(h.runs, other)
		}
	}
	h.runLocked(run).swept = true
	return nil
}

// opened are the NQNs of subsystems and controllers on the target that runs
// have opened, of those that are wanted.
func (h *Host) opened(ctx context.Context, wanted func(nqn string) bool) (subsystems, controllers []string, err error) {
	var exported []spdktypes.NvmfSubsystem
	var attached []spdktypes.BdevNvmeControllerInfo
	exports := newCall("nvmf_get_subsystems", nil, &exported)
	attaches := newCall("bdev_nvme_get_controllers", nil, &attached)
	h.rpc.do(ctx, exports, attaches)
	for _, one := range []*call{exports, attaches} {
		if one.err != nil && !errors.Is(one.err, ports.ErrUnsupported) {
			return nil, nil, one.err
		}
	}
	for _, sub := range exported {
		if sub.ModelNumber == modelNumber && wanted(sub.Nqn) {
			subsystems = append(subsystems, sub.Nqn)
		}
	}
	for _, info := range attached {
		for _, path := range info.Ctrlrs {
			if nqn := path.Trid.Subnqn; wanted(nqn) && info.Name == controllerName(nqn) {
				controllers = append(controllers, nqn)
				break
			}
		}
	}
	return subsystems, controllers, nil
}
