package spdk

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmf"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Offer implements ports.Live, by a subsystem without a namespace. The way to a head has
// Longhorn's name for the export of a replica.
func (h *Host) Offer(ctx context.Context, run ports.Run, way ports.Way, to ...ports.Peer) (at ports.Address, err error) {
	defer h.store.Explain(&err, "offer a way to replica %s", run.Replica)
	if err := h.canLive(); err != nil {
		return "", err
	}
	return h.exports.Offer(ctx, run, way, to...)
}

// canLive refuses a target whose lvols cannot be given an external parent.
func (h *Host) canLive() error {
	if !h.store.Can.Exchanges {
		return ports.Cannot("have an lvol read through to another target (bdev_lvol_set_parent_bdev)")
	}
	return nil
}

// Show implements ports.Live. ErrBusy: the lvol is the base of a RAID of this target, or
// exported otherwise.
func (h *Host) Show(ctx context.Context, _ ports.Run, at ports.Address, uuid string) error {
	return h.store.Failed(h.exports.Show(ctx, at, uuid), "show lvol %s", uuid)
}

// Hide implements ports.Live.
func (h *Host) Hide(ctx context.Context, run ports.Run, at ports.Address) error {
	return h.store.Failed(h.exports.Hide(ctx, run, at), "close a way")
}

// HideHead implements ports.Live. It also ends an export of the replica that Longhorn made.
func (h *Host) HideHead(ctx context.Context, replica string) error {
	return h.store.Failed(h.exports.HideHead(ctx, replica), "close the way to the head of replica %s", replica)
}

// Connect implements ports.Live. Several ways are paths of one controller, in failover
// mode.
func (h *Host) Connect(ctx context.Context, run ports.Run, ways ...ports.Address) (err error) {
	defer h.store.Explain(&err, "connect to %d ways", len(ways))
	if err := h.canLive(); err != nil {
		return err
	}
	return h.exports.Connect(ctx, run, ways...)
}

// GraftExternal implements ports.Live, by bdev_lvol_set_parent_bdev: two calls one after
// the other.
func (h *Host) GraftExternal(ctx context.Context, _ ports.Run, uuid string, ways ...ports.Address) (err error) {
	defer h.store.Explain(&err, "graft lvol %s onto an external snapshot", uuid)
	outside, l, err := h.exports.External(ctx, uuid, ways...)
	if err != nil {
		return err
	}
	driver := l.Driver.Lvol
	switch {
	case driver.External() != "" && slices.Contains([]string{outside.Name, outside.UUID}, driver.External()):
		return nil // an earlier call was answered too late
	case l.ReadOnly():
		return fmt.Errorf("%s is a snapshot: %w", l.LvolName(), ports.ErrInvalid)
	case !l.Loose():
		return fmt.Errorf("%s has a parent, %s%s: %w", l.LvolName(), driver.BaseSnapshot, driver.External(), ports.ErrInvalid)
	case l.Own() > 0:
		return fmt.Errorf("%s has %d clusters of its own: %w", l.LvolName(), l.Own(), ports.ErrInvalid)
	case l.Size() != outside.Size():
		return fmt.Errorf("%s has %d bytes, and the external snapshot %d: %w", l.LvolName(), l.Size(), outside.Size(), ports.ErrInvalid)
	}
	err = rpc.WhileBusy(ctx, func() error { return rpc.SetParentBdev(uuid, outside.Name).Do(ctx, h.store.Client) })
	if errors.Is(err, ports.ErrExists) {
		return nil // it is the parent already
	}
	return rpc.Unavailable(err)
}

// ending makes sure that nothing is lost as runs end.
func (h *Host) ending(ctx context.Context) nvmf.Ending {
	return nvmf.Ending{
		Before: func(which nvmf.Runs) {
			h.lvols.sweep(ctx)
			h.prepared.undo(ctx, which)
		},
		Detaching: h.loosenExternal,
	}
}

// loosenExternal takes lvols off external snapshots whose bdevs are about to go. If the
// bdev went first, a delete of such an lvol would crash the target (see detachExternal).
//
// ErrBusy: one of them, or an lvol above it, is exported or a RAID's base, so that somebody
// may be reading it.
func (h *Host) loosenExternal(ctx context.Context, external []string) error {
	all, err := rpc.GetBdevs().Do(ctx, h.store.Client)
	if err != nil {
		return err
	}
	byName := make(map[string]*rpc.Bdev)
	for i := range all {
		if b := &all[i]; h.store.Has(b) {
			byName[b.LvolName()] = b
		}
	}
	var loosened []*rpc.Bdev
	for _, b := range byName {
		if b.Driver.Lvol.External() == "" || !slices.Contains(external, b.Driver.Lvol.External()) {
			continue
		}
		if used := usedBelow(byName, b, len(byName)); used != nil {
			return fmt.Errorf("%s is in use and reads through to a snapshot of another target: first take it out of the mirror and close its way: %w",
				used.LvolName(), ports.ErrBusy)
		}
		loosened = append(loosened, b)
	}
	for _, b := range loosened {
		if err := h.detach(ctx, b.UUID); err != nil && !errors.Is(err, ports.ErrNotFound) {
			return err
		}
	}
	return nil
}

// usedBelow finds a claimed lvol that descends from this one, at most so many generations, or is
// it; nil: none.
func usedBelow(byName map[string]*rpc.Bdev, b *rpc.Bdev, most int) *rpc.Bdev {
	if b.Claimed {
		return b
	}
	for _, name := range b.Driver.Lvol.Clones {
		clone := byName[name]
		if clone == nil || most == 0 {
			continue
		}
		if used := usedBelow(byName, clone, most-1); used != nil {
			return used
		}
	}
	return nil
}
