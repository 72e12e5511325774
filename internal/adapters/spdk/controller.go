package spdk

import (
	"context"
	"errors"
	"fmt"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"
	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
)

// How long, in seconds, a destination may be unreachable: a copy ends after
// fastIOFail, and the controller is gone after controllerLoss. Less than
// Longhorn's, whose volumes have to survive what a copy can simply do again.
const (
	reconnectDelay = 1
	fastIOFail     = 5
	controllerLoss = 10
)

// destination is the bdev that a copy writes to. done says that the copy needs
// it no more.
func (h *Host) destination(ctx context.Context, run ports.Run, where address) (bdev string, done func(), err error) {
	if where.Remote == nil {
		return where.Lvol, func() {}, nil
	}
	bdev, err = where.bdevOf()
	if err != nil {
		return "", nil, err
	}
	nqn := where.Remote.Subnqn
	unlock, err := h.locks.take(ctx, lockOf(run))
	if err != nil {
		return "", nil, err
	}
	defer unlock()
	state := h.run(run)
	h.mu.Lock()
	one := state.controllers[nqn]
	attached := one != nil && !one.doubtful
	h.mu.Unlock()
	if !attached {
		err := h.attach(ctx, state, where.Remote)
		if rpc.OutcomeUnknown(err) {
			h.mu.Lock() // it may be attached: the next copy asks again, and Release ends it
			if state.controllers[nqn] == nil {
				state.controllers[nqn] = &controller{doubtful: true}
			}
			h.mu.Unlock()
		}
		if err != nil {
			return "", nil, err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if one = state.controllers[nqn]; one == nil {
		one = new(controller)
		state.controllers[nqn] = one
	}
	one.doubtful = false
	one.users++
	return bdev, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		one.users--
	}, nil
}

// doubt has the next copy attach again: SPDK lets go of a controller that it
// could not reach for a while.
func (h *Host) doubt(run ports.Run, nqn string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if state := h.runs[run]; state != nil && state.controllers[nqn] != nil {
		state.controllers[nqn].doubtful = true
	}
}

// attach connects to a run's subsystem. One that this very target exports is
// refused: attached to itself, it would wait for its own answer for good.
func (h *Host) attach(ctx context.Context, state *runState, to *spdktypes.NvmeTransportID) error {
	own, err := h.subsystems(ctx, to.Subnqn)
	if err != nil {
		return err
	}
	if len(own) > 0 {
		return fmt.Errorf("the target exports %s itself, and would hang if it was attached to itself: %w", to.Subnqn, ports.ErrInvalid)
	}
	h.detachIdle(ctx, state)
	err = rpc.AttachController(rpc.Attachment{
		Name: controllerName(to.Subnqn), To: *to, HostNQN: h.hostNQN(),
		ReconnectDelay: reconnectDelay, FastIOFail: fastIOFail, ControllerLoss: controllerLoss,
	}).Do(ctx, h.rpc)
	if err != nil && !errors.Is(err, ports.ErrExists) {
		return rpc.WithKind(ports.ErrUnavailable, fmt.Errorf("attach %s:%s: %w", to.Traddr, to.Trsvcid, err))
	}
	return nil
}

// detachIdle lets go of the run's used-up subsystems.
func (h *Host) detachIdle(ctx context.Context, state *runState) {
	var idle []string
	h.mu.Lock()
	for nqn, one := range state.controllers {
		if one.users == 0 {
			idle = append(idle, nqn)
		}
	}
	h.mu.Unlock()
	if err := h.detachControllers(ctx, idle...); err != nil {
		h.log.Warn("a controller stays attached until the run is released", zap.Error(err))
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, nqn := range idle {
		delete(state.controllers, nqn)
	}
}

// detachControllers detaches those that are attached.
func (h *Host) detachControllers(ctx context.Context, nqns ...string) error {
	calls := make([]rpc.Request, len(nqns))
	for i, nqn := range nqns {
		calls[i] = rpc.DetachController(controllerName(nqn))
	}
	h.rpc.Do(ctx, calls...)
	return rpc.FirstErr(calls, ports.ErrNotFound)
}
