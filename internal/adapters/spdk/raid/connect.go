package raid

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmf"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Connect implements ports.Mirror. Within the target there is nothing to connect to. It
// looks at the head already, if that is shown, so that Join need not.
func (m *Mirror) Connect(ctx context.Context, _ ports.Run, at ports.Address) (err error) {
	defer m.explain(&err, "connect to a new member")
	w, err := m.way(at)
	if err != nil {
		return err
	}
	unlock, err := m.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if w.Remote != nil {
		// An earlier connection may be to what the way has replaced.
		if err := m.disconnect(ctx, w.Controller()); err != nil {
			return err
		}
		if err := w.Attach(ctx, m.rpc, m.nqn); err != nil {
			return err
		}
	}
	m.seeNew(ctx, w)
	return nil
}

// way reads an address, which must have been offered to this mirror.
func (m *Mirror) way(at ports.Address) (nvmf.Way, error) {
	w, err := nvmf.ParseWay(at)
	if err == nil {
		err = w.Admits(m.nqn)
	}
	if err == nil && w.Head == "" {
		err = fmt.Errorf("way %s leads to no head: %w", w.NQN, ports.ErrInvalid)
	}
	return w, err
}

// Release implements ports.Mirror: it detaches the controller of the replica's head, if
// that is no member. It does not matter which run has attached it.
func (m *Mirror) Release(ctx context.Context, run ports.Run) (err error) {
	defer m.explain(&err, "release what runs of replica %s have connected", run.Replica)
	unlock, err := m.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	err = m.disconnect(ctx, nvmf.HeadController(run.Replica))
	if err != nil && !errors.Is(err, ports.ErrBusy) { // else it is a member
		return err
	}
	return m.removeMarks(ctx, run.Replica)
}

// disconnect detaches a controller, if it is attached.
//
// ErrBusy: a namespace of it is the base of a RAID.
func (m *Mirror) disconnect(ctx context.Context, controller string) error {
	attached, raids, bdevs := rpc.GetControllers(""), rpc.GetRAIDs(), rpc.GetBdevs()
	all := []rpc.Request{attached, raids, bdevs}
	m.rpc.Do(ctx, all...)
	if err := rpc.FirstErr(all); err != nil {
		return err
	}
	if !slices.ContainsFunc(attached.Result, func(c rpc.Controller) bool { return c.Name == controller }) {
		return nil
	}
	for i := range bdevs.Result {
		b := &bdevs.Result[i]
		if b.Controller() != controller {
			continue
		}
		for _, r := range raids.Result {
			if r.Base(b.UUID) != nil {
				return fmt.Errorf("%s is a base of RAID %s: %w", b.Name, r.Name, ports.ErrBusy)
			}
		}
	}
	return m.detach(ctx, controller)
}

// detach detaches a controller, if it is attached.
func (m *Mirror) detach(ctx context.Context, controller string) error {
	err := rpc.DetachController(controller).Do(ctx, m.rpc)
	if errors.Is(err, ports.ErrNotFound) {
		return nil
	}
	return err
}
