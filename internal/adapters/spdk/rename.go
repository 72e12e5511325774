package spdk

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Rename implements ports.Renamer, by bdev_lvol_rename.
//
// That call changes the alias first, and does not change it back if it is refused
// afterwards (rpc_bdev_lvol_rename in vbdev_lvol_rpc.c): upstream SPDK refuses every
// snapshot so, and is never asked; others refuse a name that is taken by a degraded lvol,
// which has no alias.
//
// The Longhorn branch does not write the new name of a snapshot to the disk before
// somebody opens it: until then a crash of the target gives the old name back, and hides
// another lvol that has taken it. So a clone is made and deleted at once, also if the
// snapshot has the name already, since an earlier call may have ended in between.
func (h *Host) Rename(ctx context.Context, uuid, name string) (err error) {
	defer h.store.Explain(&err, "rename lvol %s to %s", uuid, name)
	if err := h.lvols.checkName(name); err != nil {
		return err
	}
	unlock, err := h.lvols.lock(ctx, uuid)
	if err != nil {
		return err
	}
	defer unlock()
	b, listed, err := h.lvols.findListed(ctx, uuid)
	if err != nil {
		return err
	}
	if b.ReadOnly() && listed != name && !h.store.Can.RenamesSnapshots {
		return fmt.Errorf("%s is a snapshot: %w", listed, ports.ErrUnsupported)
	}
	if !b.ReadOnly() || !h.store.Can.RenamesSnapshots {
		return h.lvols.rename(ctx, b, listed, name)
	}
	opener := h.lvols.helperName(name, append([]string{listed}, b.Driver.Lvol.Clones...)...)
	if err := h.lvols.checkName(opener); err != nil {
		return err
	}
	if err := h.lvols.rename(ctx, b, listed, name); err != nil {
		return err
	}
	return h.lvols.wake(ctx, uuid, opener)
}

// findListed finds an lvol, and its name, which its alias may not tell.
func (l *lvols) findListed(ctx context.Context, uuid string) (b *rpc.Bdev, name string, err error) {
	look, all := rpc.GetBdev(uuid), rpc.GetLvols(l.UUID)
	l.Client.Do(ctx, look, all)
	if b, err = l.Found(look, uuid); err != nil {
		return nil, "", err
	}
	if all.Err != nil {
		return nil, "", rpc.Unavailable(all.Err)
	}
	for i := range all.Result {
		if all.Result[i].UUID == uuid {
			return b, all.Result[i].Name, nil
		}
	}
	return nil, "", fmt.Errorf("lvol %s: %w", uuid, ports.ErrNotFound)
}

// rename renames an lvol that is listed under that name. If it is refused it gets its
// alias back.
func (l *lvols) rename(ctx context.Context, b *rpc.Bdev, listed, name string) error {
	if listed == name && b.LvolName() == name {
		return nil
	}
	err := rpc.RenameLvol(b.UUID, name).Do(ctx, l.Client)
	if !rpc.IsRefusal(err) || listed == name {
		return err
	}
	if back := rpc.RenameLvol(b.UUID, listed).Do(ctx, l.Client); back != nil {
		l.log.Debug("the alias of an lvol was not changed", zap.String("lvol", listed), zap.Error(back))
	}
	return err
}
