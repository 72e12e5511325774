package nvmf

import (
	"context"
	"fmt"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Show puts the lvol at the end of a way, by one call if the way leads to another target.
func (e *Exports) Show(ctx context.Context, at ports.Address, lvol string) error {
	w, err := e.ownWay(at)
	if err != nil {
		return err
	}
	if w.Spare {
		_, err := e.store.Find(ctx, lvol)
		return err
	}
	if w.Remote == nil {
		return e.showHere(ctx, w, lvol)
	}
	refusal := e.changes.do(ctx, w.NQN, rpc.AddNamespace(w.NQN, w.namespace(lvol)))
	if refusal == nil || rpc.OutcomeUnknown(refusal) {
		return refusal
	}
	done, err := e.shown(ctx, w, lvol)
	if done || err != nil {
		return err
	}
	return refusal
}

// shown reports whether the lvol is shown at the way, and looks for what speaks against it
// otherwise: SPDK always says "Invalid parameters".
func (e *Exports) shown(ctx context.Context, w Way, lvol string) (done bool, err error) {
	there, look := rpc.GetSubsystems(w.NQN), rpc.GetBdev(lvol)
	e.rpc.Do(ctx, there, look)
	if there.Err != nil || len(there.Result) == 0 {
		return false, notAWay(w, there.Err)
	}
	l, err := e.store.Found(look, lvol)
	if err != nil {
		return false, err
	}
	now := localLvol(&there.Result[0])
	if w.Remote != nil {
		now = ""
		for _, ns := range there.Result[0].Namespaces {
			now = ns.BdevName
		}
	}
	switch {
	case now == lvol:
		return true, nil
	case now != "":
		return false, fmt.Errorf("way %s leads to lvol %s already: %w", w.NQN, now, ports.ErrExists)
	case l.Claimed && w.Remote != nil:
		return false, fmt.Errorf("%s is in use, as the base of a RAID or by another export, and cannot be exported: %w", l.LvolName(), ports.ErrBusy)
	}
	return false, nil
}

func notAWay(w Way, err error) error {
	if err == nil || !rpc.OutcomeUnknown(err) {
		return fmt.Errorf("there is no way %s: %w", w.NQN, ports.ErrNotFound)
	}
	return err
}

// showHere notes the lvol for this target itself.
func (e *Exports) showHere(ctx context.Context, w Way, lvol string) error {
	done, err := e.shown(ctx, w, lvol)
	if done || err != nil {
		return err
	}
	return rpc.AddHost(w.NQN, UUIDNQN(lvol)).Do(ctx, e.rpc)
}
