package spdk

import (
	"context"
	"fmt"
	"syscall"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Graft implements ports.Store, by bdev_lvol_set_parent. A target accepts a parent that
// is a snapshot, is not asleep, and has as many clusters as the child
// (bs_set_parent_snapshot_open_cpl in blobstore.c). Graft looks at the two only if the
// target refuses: it wakes a parent that is asleep, and uses a spacer for a parent of
// another size.
func (h *Host) Graft(ctx context.Context, uuid, parent string) error {
	if parent == "" {
		return h.store.Failed(h.detach(ctx, uuid), "graft lvol %s onto nothing", uuid)
	}
	return h.store.Failed(h.graft(ctx, uuid, parent), "graft lvol %s onto %s", uuid, parent)
}

func (h *Host) graft(ctx context.Context, uuid, parent string) error {
	if uuid == parent {
		return fmt.Errorf("an lvol cannot be its own parent: %w", ports.ErrInvalid)
	}
	unlock, err := h.lvols.lock(ctx, parent)
	if err != nil {
		return err
	}
	defer unlock()
	h.lvols.sweep(ctx)
	if done, err := h.graftPrepared(ctx, uuid, parent); done {
		return err
	}
	refused := h.lvols.setParent(ctx, uuid, parent)
	if !rpc.RefusedAs(refused, syscall.EINVAL) {
		return refused
	}
	child, onto, err := h.store.FindBoth(ctx, uuid, parent)
	switch {
	case err != nil:
		return err
	case !onto.ReadOnly():
		return fmt.Errorf("%s is writable: %w", onto.LvolName(), refused)
	case child.Size() != onto.Size():
		return h.graftOver(ctx, child, onto)
	case onto.Asleep():
		if err := h.lvols.wake(ctx, parent, h.lvols.helperName(child.LvolName(), onto.LvolName())); err != nil {
			return err
		}
		return h.lvols.setParent(ctx, uuid, parent)
	}
	return refused
}

// graftOver grafts onto a parent of another size, whose lock must be held.
func (h *Host) graftOver(ctx context.Context, child, parent *rpc.Bdev) error {
	between := h.prepared.take(h.draftOf(child.LvolName(), child.Size()), parent.UUID)
	if between == nil {
		var err error
		if between, err = h.lvols.newSpacer(ctx, h.lvols.helpersOf(child, parent.LvolName()), child.Size(), parent.UUID); err != nil {
			return err
		}
	}
	return between.graft(ctx, child.UUID)
}

// detach takes an lvol off its parent.
//
// The Longhorn branch has a call for it, which grafts the lvol onto its grandparent
// (bs_inflate_blob_done in blobstore.c, as for decoupling). So that call is used only if
// the parent has none. Else the lvol is grafted onto a spacer that has no parent.
func (h *Host) detach(ctx context.Context, uuid string) error {
	h.lvols.sweep(ctx)
	child, err := h.store.Find(ctx, uuid)
	if err != nil || child.Loose() {
		return err
	}
	name := child.Driver.Lvol.BaseSnapshot
	if h.store.Can.Detaches && child.Driver.Lvol.External() == "" {
		parent, err := h.store.Find(ctx, h.store.Alias(name))
		if err != nil {
			return rpc.Unavailable(err)
		}
		if parent.Loose() {
			return rpc.WhileBusy(ctx, func() error { return rpc.DetachParent(uuid).Do(ctx, h.store.Client) })
		}
	}
	between, err := h.lvols.newSpacer(ctx, h.lvols.helpersOf(child, name), child.Size(), "")
	if err != nil {
		return err
	}
	return between.graft(ctx, uuid)
}

// helpersOf draws names for helpers of the lvol, on a parent of that name.
func (l *lvols) helpersOf(b *rpc.Bdev, parent string) func() string {
	kin := append([]string{parent}, b.Driver.Lvol.Clones...)
	return func() string { return l.helperName(b.LvolName(), kin...) }
}
