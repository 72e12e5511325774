package raid

import (
	"context"
	"errors"
	"fmt"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Leave implements ports.Mirror: the base leaves the RAID first, then its controller is
// detached. The first waits until the I/O to a dead target has failed. While clients are stopped
// by Suspend, the RAID also lets go of a base that it could not read.
func (m *Mirror) Leave(ctx context.Context, head string) (err error) {
	defer m.explain(&err, "remove member %s", head)
	unlock, err := m.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	raids, bdev := rpc.GetRAIDs(), rpc.GetBdev(head)
	both := []rpc.Request{raids, bdev}
	m.rpc.Do(ctx, both...)
	if err := rpc.FirstErr(both, ports.ErrNotFound); err != nil {
		return err
	}
	r, err := m.find(raids.Result)
	if err != nil && m.findPending(raids.Result) == nil {
		return err
	}
	if b := slotOf(r, head); b != nil {
		if b.Serves() && len(m.serving(r)) == 1 {
			return fmt.Errorf("%s is the last member: %w", b.Name, ports.ErrInvalid)
		}
		err := rpc.RemoveRAIDBase(b.Name).Do(ctx, m.rpc)
		if errors.Is(err, ports.ErrNotFound) {
			err = nil
			if m.can.Grows && m.suspended.Load() != nil {
				err = m.letGo(ctx, b.Name)
			}
		}
		if err != nil {
			return err
		}
	}
	controller := m.heads.controller(head)
	if len(bdev.Result) == 1 {
		controller = bdev.Result[0].Controller()
	}
	if controller != "" {
		if err := m.disconnect(ctx, controller); err != nil && !errors.Is(err, ports.ErrBusy) {
			return err
		}
	}
	m.heads.leave(head)
	return nil
}

// slotOf is the slot of a RAID that has the head; nil: none, or there is no RAID.
func slotOf(r *rpc.RAID, head string) *rpc.RAIDBase {
	if r == nil {
		return nil
	}
	return r.Base(head)
}
