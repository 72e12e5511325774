package nvmf

import (
	"context"
	"fmt"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/keylock"
	"github.com/rootgraft/rebuild/internal/ports"
	"github.com/rootgraft/rebuild/internal/table"
)

// changes lets one change of a subsystem follow the other.
//
// SPDK changes a subsystem while it is paused, and a pause waits for the I/O of the namespace
// that the change names (nvmf_poll_group_pause_subsystem): the one that is removed, or the one
// that has the NSID already which is to be added. A change of a listener, such as of its ANA
// state, names none, and waits for no I/O.
//
// If a second change begins before the first is over, it finds the subsystem paused and waits
// for nothing (nvmf_subsystem_do_state_change). If it removes a namespace that a copy is writing
// into, these writes come back to memory that is freed, and the target crashes. So a change
// waits for the one before it, also for one whose answer was lost.
type changes struct {
	rpc   *rpc.Client
	locks keylock.Locks // by NQN

	settled table.Map[string, bool] // by NQN: subsystems whose changes are all over
}

// everyNamespace is the NSID that stands for all of them (SPDK_NVME_GLOBAL_NS_TAG).
// None can be removed by it, but the pause for it waits for the I/O of them all.
const everyNamespace = 1<<32 - 1

// do sends one call that pauses the subsystem.
func (c *changes) do(ctx context.Context, nqn string, change *rpc.Call) error {
	leave, err := c.lock(ctx, nqn)
	if err != nil {
		return err
	}
	defer leave()
	if err := c.settle(ctx, nqn); err != nil {
		return err
	}
	err = change.Do(ctx, c.rpc)
	c.note(nqn, !rpc.OutcomeUnknown(err))
	return err
}

// deleteAll deletes those of the subsystems that are there. An engine may have ended in
// the middle of a change of one.
func (c *changes) deleteAll(ctx context.Context, nqns ...string) error {
	leave, err := c.lock(ctx, nqns...)
	if err != nil {
		return err
	}
	defer leave()
	if err := c.settle(ctx, nqns...); err != nil {
		return err
	}
	calls := make([]rpc.Request, len(nqns))
	for i, nqn := range nqns {
		calls[i] = rpc.DeleteSubsystem(nqn)
	}
	c.rpc.Do(ctx, calls...)
	for _, nqn := range nqns {
		c.note(nqn, false)
	}
	return rpc.FirstErr(calls, ports.ErrInvalid, ports.ErrNotFound) // "Invalid parameters": there is none of that name
}

func (c *changes) lock(ctx context.Context, nqns ...string) (leave func(), err error) {
	keys := make([]string, len(nqns))
	for i, nqn := range nqns {
		keys[i] = "subsystem " + nqn
	}
	return take(ctx, &c.locks, keys...)
}

// settle waits until earlier changes of subsystems are over, by a change that changes
// nothing: SPDK takes changes in turn, so it refuses that one when those before it are
// done. It does no harm if that finds the subsystem paused, or if another engine's change
// finds it paused by that one, since nothing is being written then.
func (c *changes) settle(ctx context.Context, nqns ...string) error {
	doubtful := c.unsettled(nqns)
	if len(doubtful) == 0 {
		return nil
	}
	calls := make([]*rpc.Call, len(doubtful))
	for i, nqn := range doubtful {
		calls[i] = rpc.RemoveNamespace(nqn, everyNamespace)
	}
	c.rpc.Do(ctx, rpc.Requests(calls)...)
	for i, one := range calls {
		if rpc.OutcomeUnknown(one.Err) {
			return fmt.Errorf("wait for an earlier change of subsystem %s: %w", doubtful[i], one.Err)
		}
		c.note(doubtful[i], true)
	}
	return nil
}

func (c *changes) unsettled(nqns []string) (doubtful []string) {
	for _, nqn := range nqns {
		if !c.settled.Get(nqn) {
			doubtful = append(doubtful, nqn)
		}
	}
	return doubtful
}

func (c *changes) note(nqn string, settled bool) {
	if settled {
		c.settled.Set(nqn, true)
	} else {
		c.settled.Take(nqn)
	}
}
