package spdk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"

	"github.com/rootgraft/rebuild/internal/ports"
)

// Graft implements ports.Store. A target takes a parent that is a snapshot, is
// known as one, and has as many clusters as the child (bs_set_parent_snapshot_open_cpl
// in blobstore.c). So the plain call comes first, since it is the usual case;
// only when it is refused are the two looked at, and a parent that is asleep is
// woken, one of another size reached over a spacer.
func (h *Host) Graft(ctx context.Context, uuid, parent string) error {
	if parent == "" {
		return h.failed(h.detach(ctx, uuid), "graft lvol %s onto nothing", uuid)
	}
	return h.failed(h.graft(ctx, uuid, parent), "graft lvol %s onto %s", uuid, parent)
}

func (h *Host) graft(ctx context.Context, uuid, parent string) error {
	if uuid == parent {
		return fmt.Errorf("an lvol cannot be its own parent: %w", ports.ErrInvalid)
	}
	unlock, err := h.locks.take(ctx, "lvol "+parent)
	if err != nil {
		return err
	}
	defer unlock()
	h.sweep(ctx)
	refused := h.setParent(ctx, uuid, parent)
	if !refusedAs(refused, syscall.EINVAL) {
		return refused
	}
	child, under, err := h.findBoth(ctx, uuid, parent)
	switch {
	case err != nil:
		return err
	case !under.readOnly():
		return fmt.Errorf("%s is writable: %w", under.name(), refused)
	case child.size() != under.size():
		return h.graftOver(ctx, child, under)
	case under.asleep():
		if err := h.wake(ctx, parent, h.helperName(child.name(), under.name())); err != nil {
			return err
		}
		return h.setParent(ctx, uuid, parent)
	}
	return refused
}

// setParent is true to its answer only: a nil error says that the target has
// confirmed the parent. One that was not answered may still be under way, and a
// snapshot taken then may lack it.
func (h *Host) setParent(ctx context.Context, uuid, parent string) error {
	err := whileBusy(ctx, func() error {
		return h.change(ctx, "bdev_lvol_set_parent", spdktypes.BdevLvolSetParentRequest{LvolName: uuid, ParentName: parent}, nil)
	})
	if errors.Is(err, ports.ErrExists) {
		return nil // it is the parent already
	}
	return err
}

// graftOver grafts onto a parent of another size: onto an empty snapshot of the
// child's size that hangs on the parent, which is then deleted. The parent's
// lock must be held.
func (h *Host) graftOver(ctx context.Context, child, parent *bdev) error {
	mib, err := h.mebibytes(child.size())
	if err != nil {
		return err
	}
	made := helpers{host: h}
	defer made.tidy(ctx)
	kin := append([]string{parent.name()}, child.Driver.Lvol.Clones...)

	empty := h.helperName(child.name(), kin...)
	rest, err := h.cloneNow(ctx, parent.UUID, empty)
	if unsaid(err) {
		made.add(h.alias(empty))
	}
	if err != nil {
		return err
	}
	made.add(rest)
	if err := h.resize(ctx, rest, mib); err != nil {
		return err
	}
	return h.passOver(ctx, &made, child.UUID, rest, h.helperName(child.name(), kin...))
}

// detach grafts onto nothing.
//
// The Longhorn branch has a call for it, which hangs the lvol on the grandparent,
// where there is one (bs_inflate_blob_done in blobstore.c, as for decoupling). So
// it serves only where the parent is loose.
func (h *Host) detach(ctx context.Context, uuid string) error {
	h.sweep(ctx)
	child, err := h.find(ctx, uuid)
	if err != nil || child.loose() {
		return err
	}
	if h.can.detaches && child.Driver.Lvol.External == "" {
		parent, err := h.find(ctx, h.alias(child.Driver.Lvol.BaseSnapshot))
		if err != nil {
			return unavailable(err)
		}
		if parent.loose() {
			return whileBusy(ctx, func() error {
				return h.change(ctx, "bdev_lvol_detach_parent", spdktypes.BdevLvolDetachParentRequest{Name: uuid}, nil)
			})
		}
	}
	made := helpers{host: h}
	defer made.tidy(ctx)
	kin := append([]string{child.Driver.Lvol.BaseSnapshot}, child.Driver.Lvol.Clones...)
	empty := h.helperName(child.name(), kin...)
	rest, err := h.create(ctx, empty, child.size())
	if unsaid(err) {
		made.add(h.alias(empty))
	}
	if err != nil {
		return err
	}
	made.add(rest)
	return h.passOver(ctx, &made, uuid, rest, h.helperName(child.name(), kin...))
}

func (b *bdev) loose() bool { return b.Driver.Lvol.BaseSnapshot == "" && b.Driver.Lvol.External == "" }

// passOver grafts the child onto what an empty writable helper of its size
// hangs on: the helper becomes a spacer, a snapshot, which the child is grafted
// onto; then the spacer is deleted, and its only clone, the child, has its
// parent.
func (h *Host) passOver(ctx context.Context, made *helpers, child, helper, name string) error {
	spacer, err := h.freeze(ctx, helper, name, nil)
	if unsaid(err) {
		made.addBelow(h.alias(name))
	}
	if err != nil {
		return err
	}
	made.addBelow(spacer)
	// The delete of a clone locks the clone alone, set_parent the child and the
	// parent (spdk_bs_delete_blob and bs_set_parent in blobstore.c), so the two
	// share a round trip, and the look at the spacer, too. The spacer may go when it
	// has the child alone; a target refuses to delete what has two clones.
	var dropped, uneasy error
	var beside sync.WaitGroup
	beside.Go(func() { dropped = whileBusy(ctx, func() error { return h.dropRest(ctx, helper, name) }) })
	beside.Go(func() { _, uneasy = h.requireEmpty(ctx, spacer, 2) })
	grafted := h.setParent(ctx, child, spacer)
	beside.Wait()
	if dropped == nil {
		made.keep(helper)
	}
	if err := cmp.Or(grafted, dropped, uneasy); err != nil {
		return err
	}
	// A delete by another process would have been busy meanwhile, and would have hidden
	// the child: see deleteSnapshot for what comes of a spacer then.
	if _, err := h.find(ctx, child); err != nil {
		return fmt.Errorf("what was grafted: %w", err)
	}
	if err := whileBusy(ctx, func() error { return h.deleteNow(ctx, spacer) }); err != nil {
		return err
	}
	made.keep(spacer)
	return nil
}

func (h *Host) resize(ctx context.Context, uuid string, mib uint64) error {
	return whileBusy(ctx, func() error {
		return h.change(ctx, "bdev_lvol_resize", spdktypes.BdevLvolResizeRequest{Name: uuid, SizeInMib: mib}, nil)
	})
}
