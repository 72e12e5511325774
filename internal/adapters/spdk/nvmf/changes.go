package nvmf

import (
	"context"
	"fmt"
	"sync"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/keylock"
	"github.com/rootgraft/rebuild/internal/ports"
)

// changes lets one change of a subsystem follow the other.
//
// SPDK changes a subsystem while it is paused, and a pause waits for the I/O of one
// namespace: the one that is removed. Where a second change begins before the first
// is over, it finds the subsystem paused and waits for nothing
// (nvmf_subsystem_do_state_change). If it removes a namespace that a copy is just
// writing into, these writes come back to memory that is freed, and the target and
// all that it serves are gone. So one change of a subsystem follows the other; one
// whose answer was lost is waited for as well.
type changes struct {
	rpc   *rpc.Client
	locks keylock.Locks // by NQN

	mu      sync.Mutex
	settled map[string]struct{} // by NQN: subsystems that are in the middle of no change
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

// deleteAll deletes those subsystems that are there. What is not this host's may have
// been left by an engine that ended in the middle of a change.
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

// settle waits until the changes of subsystems that have begun are over. A change
// that changes nothing does: SPDK takes them in turn, so it is refused when those
// before it are done. That it finds the subsystem paused hurts nobody; nor does it
// hurt another engine's change to find it paused by this one, since nothing is being
// written then.
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
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, nqn := range nqns {
		if _, settled := c.settled[nqn]; !settled {
			doubtful = append(doubtful, nqn)
		}
	}
	return doubtful
}

func (c *changes) note(nqn string, settled bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if settled {
		c.settled[nqn] = struct{}{}
	} else {
		delete(c.settled, nqn)
	}
}
