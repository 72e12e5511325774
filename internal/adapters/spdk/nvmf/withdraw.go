package nvmf

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Withdraw ends a reception. Without the namespace a copy from another target ends within
// milliseconds. Nothing ends a copy within one target, so Withdraw waits for that one.
// ErrBusy: it takes too long.
func (e *Exports) Withdraw(ctx context.Context, r ports.Run, lvol string) error {
	var ns *namespace
	received := false
	e.mu.Lock()
	if state := e.runs[r]; state != nil {
		ns, received = state.received[lvol]
	}
	e.mu.Unlock()
	if !received {
		return e.withdrawUnknown(ctx, r, lvol)
	}
	return e.withdraw(ctx, r, lvol, ns)
}

func (e *Exports) withdraw(ctx context.Context, r ports.Run, lvol string, ns *namespace) error {
	if ns == nil {
		if err := e.waitUnclaimed(ctx, lvol); err != nil {
			return err
		}
	} else if err := e.remove(ctx, ns.sub.nqn, ns.nsid); err != nil {
		return err
	}
	if e.forgetReception(r, lvol, ns) {
		e.close(ctx, e.run(r), ns.sub)
	}
	return nil
}

// withdrawUnknown ends a reception by another Host of this target, perhaps of another
// process.
func (e *Exports) withdrawUnknown(ctx context.Context, r ports.Run, lvol string) error {
	all, err := e.subsystems(ctx, "")
	if err != nil {
		return err
	}
	for _, sub := range all {
		if sub.ModelNumber != modelNumber || !isNQNOf(sub.Nqn, r) {
			continue
		}
		for _, ns := range sub.Namespaces {
			if ns.BdevName != lvol {
				continue
			}
			if err := e.remove(ctx, sub.Nqn, ns.Nsid); err != nil {
				return err
			}
		}
	}
	return nil
}

// localCopyFor is how long a copy within the target is waited for.
const localCopyFor = 30 * time.Second

// waitUnclaimed waits until no copy writes into the lvol: a shallow copy claims
// what it writes to (vbdev_lvol_shallow_copy).
func (e *Exports) waitUnclaimed(ctx context.Context, lvol string) error {
	wait := rpc.BackOff{Pause: 2 * time.Millisecond, Longest: 250 * time.Millisecond, Until: time.Now().Add(localCopyFor)}
	hurried := false
	for {
		l, err := e.store.Find(ctx, lvol)
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
			// It cannot be stopped, but it need not be slowed down any more.
			hurried = true
			if err := rpc.LimitBdev(lvol, rpc.NoLimit).Do(ctx, e.rpc); rpc.OutcomeUnknown(err) {
				return err // else it is over, or takes as long as it takes
			}
		}
		if !wait.Next(ctx) {
			return fmt.Errorf("a copy into %s is still going on, and SPDK cannot stop it: %w", l.LvolName(), ports.ErrBusy)
		}
	}
}
