package nvmf

import (
	"context"
	"fmt"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
	"github.com/rootgraft/rebuild/internal/randid"
)

// namespace is an lvol that is exported.
type namespace struct {
	run   ports.Run
	lvol  string // UUID
	sub   *subsystem
	nsid  uint32
	nguid string // 32 hex digits, new for every namespace
}

// nextLocked is a new namespace of the subsystem.
func (e *Exports) nextLocked(r ports.Run, lvol string, sub *subsystem) *namespace {
	sub.nsids++
	sub.live++
	return &namespace{run: r, lvol: lvol, sub: sub, nsid: sub.nsids, nguid: randid.Hex(16)}
}

// export makes the namespace that reserve notes; reserve may return nil for none. forget
// is called if the target refuses it. If the outcome is not known, the namespace comes
// with the error: it may be there.
func (e *Exports) export(ctx context.Context, reserve func() (*namespace, error), forget func(*namespace)) (*namespace, error) {
	for attempt := 0; ; attempt++ {
		ns, err := reserve()
		if err != nil || ns == nil {
			return nil, err
		}
		refusal := e.add(ctx, ns)
		if refusal == nil || rpc.OutcomeUnknown(refusal) {
			return ns, refusal
		}
		forget(ns)
		retry, err := e.whyNot(ctx, ns, refusal)
		if !retry || attempt > 0 {
			return nil, err
		}
	}
}

func (e *Exports) add(ctx context.Context, ns *namespace) error {
	return e.changes.do(ctx, ns.sub.nqn, rpc.AddNamespace(ns.sub.nqn, spdktypes.NvmfSubsystemNamespace{
		Nsid: ns.nsid, BdevName: ns.lvol, Nguid: ns.nguid,
	}))
}

// whyNot finds out why a namespace was refused: SPDK always says "Invalid parameters". If
// the subsystem is gone, since the target has restarted, it is worth a retry with a new
// one.
func (e *Exports) whyNot(ctx context.Context, ns *namespace, refusal error) (retry bool, err error) {
	l, err := e.store.Find(ctx, ns.lvol)
	if err != nil {
		return false, err
	}
	if l.Claimed {
		return false, rpc.WithKind(ports.ErrBusy, fmt.Errorf("something else uses %s: %w", l.LvolName(), refusal))
	}
	there, err := e.subsystems(ctx, ns.sub.nqn)
	if err != nil {
		return false, err
	}
	if len(there) > 0 {
		return false, refusal
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	state := e.runLocked(ns.run)
	for why, sub := range state.current {
		if sub == ns.sub {
			state.current[why] = nil
		}
	}
	return true, refusal
}

// remove removes a namespace, if it is there.
func (e *Exports) remove(ctx context.Context, nqn string, nsid uint32) error {
	refusal := e.changes.do(ctx, nqn, rpc.RemoveNamespace(nqn, nsid))
	if refusal == nil || rpc.OutcomeUnknown(refusal) {
		return refusal
	}
	there, err := e.subsystems(ctx, nqn)
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

// End ends an export of a run (IsOurs). If the run is not known here, its engine is gone,
// or should be: then the whole subsystem goes.
func (e *Exports) End(ctx context.Context, nqn string, nsid uint32) error {
	if e.hasOpened(nqn) {
		return e.remove(ctx, nqn, nsid)
	}
	return e.changes.deleteAll(ctx, nqn)
}

// hasOpened reports whether the subsystem is of a run that Exports knows.
func (e *Exports) hasOpened(nqn string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, state := range e.runs {
		for _, sub := range state.subsystems {
			if sub.nqn == nqn {
				return true
			}
		}
	}
	return false
}
