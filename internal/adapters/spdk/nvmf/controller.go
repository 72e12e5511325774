package nvmf

import (
	"context"
	"errors"
	"fmt"
	"slices"

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

// controllerEnabled is the state of a controller that is connected and works
// (nvme_ctrlr_get_state_str).
const controllerEnabled = "enabled"

// controller is an attached subsystem of another target.
type controller struct {
	users    int  // copies
	doubtful bool // may be gone
}

// Destination attaches to where a copy goes, and returns the bdev to write to. done ends
// that use.
func (e *Exports) Destination(ctx context.Context, r ports.Run, where Address) (bdev string, done func(), err error) {
	if where.Remote == nil {
		return where.Lvol, func() {}, nil
	}
	bdev, err = where.bdev()
	if err != nil {
		return "", nil, err
	}
	nqn := where.Remote.Subnqn
	unlock, err := e.lock(ctx, r)
	if err != nil {
		return "", nil, err
	}
	defer unlock()
	state := e.run(r)
	e.mu.Lock()
	one := state.controllers[nqn]
	attached := one != nil && !one.doubtful
	e.mu.Unlock()
	if !attached && (one == nil || !e.isConnected(ctx, where.Remote)) {
		err = e.attach(ctx, state, where.Remote)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	one = state.controllers[nqn]
	if one == nil && (err == nil || rpc.OutcomeUnknown(err)) {
		// It may be attached: the next copy asks again, and Release ends it.
		one = &controller{doubtful: true}
		state.controllers[nqn] = one
	}
	if err != nil {
		return "", nil, err
	}
	one.doubtful = false
	one.users++
	return bdev, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		one.users--
	}, nil
}

// Doubt has the next copy attach again: SPDK gives up a controller that it could not reach
// for a while.
func (e *Exports) Doubt(r ports.Run, where Address) {
	if where.Remote == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if state := e.runs[r]; state != nil && state.controllers[where.Remote.Subnqn] != nil {
		state.controllers[where.Remote.Subnqn].doubtful = true
	}
}

// isConnected reports whether the controller of a subsystem works. Such a one stays: a change of
// the namespaces at its other end crashes a target that is detaching it.
func (e *Exports) isConnected(ctx context.Context, to *spdktypes.NvmeTransportID) bool {
	look := rpc.GetControllers(controllerName(to.Subnqn))
	e.rpc.Do(ctx, look)
	if look.Err != nil || len(look.Result) != 1 {
		return false
	}
	return !slices.ContainsFunc(look.Result[0].Paths, func(p rpc.ControllerPath) bool {
		return p.State != controllerEnabled || p.To.Traddr != to.Traddr || p.To.Trsvcid != to.Trsvcid
	})
}

// IsFull reports whether a copy that ended with an I/O error did so because the
// destination's store is full.
//
// Within one target the store tells. The status of a write to another target does not.
// But if the namespace is still there, the controller is connected, and the namespace has
// failed I/O (not the source's disk), the destination has refused to write to a thin lvol
// that it serves: it is full. A broken disk would look the same, and ends a rebuild as
// well.
func (e *Exports) IsFull(ctx context.Context, where Address, bdev string) bool {
	if where.Remote == nil {
		return e.rpc.IsFull(ctx, where.Lvstore)
	}
	count, look := rpc.GetIostat(bdev), rpc.GetControllers(controllerName(where.Remote.Subnqn))
	e.rpc.Do(ctx, count, look)
	if count.Err != nil || look.Err != nil || len(count.Result.Bdevs) != 1 || len(count.Result.Bdevs[0].Errors) == 0 {
		return false
	}
	for _, controller := range look.Result {
		for _, path := range controller.Paths {
			if path.State != controllerEnabled {
				return false
			}
		}
	}
	return len(look.Result) > 0
}

// attach connects to a run's subsystem, to copy.
func (e *Exports) attach(ctx context.Context, state *run, to *spdktypes.NvmeTransportID) error {
	e.detachIdle(ctx, state)
	return attach(ctx, e.rpc, rpc.Attachment{
		Name: controllerName(to.Subnqn), To: *to, HostNQN: e.nqns.target,
		ReconnectDelay: reconnectDelay, FastIOFail: fastIOFail, ControllerLoss: controllerLoss,
	})
}

// attach connects a target to a subsystem, other than one of its own.
func attach(ctx context.Context, client *rpc.Client, a rpc.Attachment) error {
	nqn := a.To.Subnqn
	own, err := subsystems(ctx, client, nqn)
	if err != nil {
		return err
	}
	if len(own) > 0 {
		return fmt.Errorf("the target exports %s itself, and would hang if it was attached to itself: %w", nqn, ports.ErrInvalid)
	}
	err = rpc.AttachController(a).Do(ctx, client)
	if err != nil && !errors.Is(err, ports.ErrExists) {
		return rpc.WithKind(ports.ErrUnavailable, fmt.Errorf("attach %s:%s: %w", a.To.Traddr, a.To.Trsvcid, err))
	}
	return nil
}

// detachIdle detaches the run's controllers that no copy uses.
func (e *Exports) detachIdle(ctx context.Context, state *run) {
	var idle []string
	e.mu.Lock()
	for nqn, one := range state.controllers {
		if one.users == 0 {
			idle = append(idle, nqn)
		}
	}
	e.mu.Unlock()
	if err := e.detach(ctx, idle...); err != nil {
		e.log.Warn("a controller stays attached until the run is released", zap.Error(err))
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, nqn := range idle {
		delete(state.controllers, nqn)
	}
}

// detach detaches those that are attached.
func (e *Exports) detach(ctx context.Context, nqns ...string) error {
	calls := make([]rpc.Request, len(nqns))
	for i, nqn := range nqns {
		calls[i] = rpc.DetachController(controllerName(nqn))
	}
	e.rpc.Do(ctx, calls...)
	return rpc.FirstErr(calls, ports.ErrNotFound)
}
