package spdk

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
)

// deleteSnapshot deletes a snapshot that shows no clones: it makes a clone, the guard
// clone, deletes the snapshot, which merges into the guard clone, and deletes that. A
// plain bdev_lvol_delete is not safe, whatever a look before it has shown:
//
//   - It merges the snapshot into a clone that another process has made meanwhile.
//   - It crashes the target if another process is deleting a clone at that moment:
//     spdk_lvol_destroy follows a pointer to the clone's blob, which is closed.
//   - If the only clone is hidden, it crashes a target of the Longhorn branch, and
//     merges on upstream SPDK. A clone is hidden, until the target restarts, after a
//     delete of it that was busy.
//
// Beside the guard clone each of those is a second clone, and a target refuses to delete
// a snapshot with two before it touches anything (_vbdev_lvol_destroy in vbdev_lvol.c).
//
// A snapshot that is being copied would be hidden, too: its bdev is unregistered before
// the blobstore finds it locked. Its clone is refused, and no harm is done.
func (l *lvols) deleteSnapshot(ctx context.Context, b *rpc.Bdev) error {
	made := helpers{lvols: l}
	defer made.tidy(ctx)
	name := l.helperName(b.LvolName())
	guard, err := made.clone(ctx, b.UUID, name)
	switch {
	case rpc.OutcomeUnknown(err), errors.Is(err, ports.ErrBusy), errors.Is(err, ports.ErrUnavailable), err != nil && ctx.Err() != nil:
		return err
	case err != nil:
		// No room for a clone, or its name is too long: no reason to keep the lvol.
		l.log.Debug("cannot find out whether an lvol is busy", zap.String("lvol", b.LvolName()), zap.Error(err))
		return l.deleteNow(ctx, b.UUID)
	}
	if err := l.deleteNow(ctx, b.UUID); err != nil {
		if errors.Is(err, ports.ErrInvalid) {
			err = l.whyRefused(ctx, b, name, err)
		}
		return err
	}
	if err := rpc.WhileBusy(ctx, func() error { return l.deleteNow(ctx, guard) }); err != nil {
		return fmt.Errorf("the clone that %s was merged into: %w", b.LvolName(), err)
	}
	made.keep(guard)
	return nil
}

// whyRefused says why a target did not delete a snapshot that showed no clones beside its
// guard clone.
func (l *lvols) whyRefused(ctx context.Context, b *rpc.Bdev, guard string, refused error) error {
	now, err := l.Find(ctx, b.UUID)
	if err != nil {
		return err
	}
	for _, clone := range now.Driver.Lvol.Clones {
		if clone != guard {
			return fmt.Errorf("%s has a clone, %s: %w", b.LvolName(), clone, ports.ErrInvalid)
		}
	}
	return rpc.WithKind(ports.ErrBusy, fmt.Errorf("%s has a child that the target does not list: the child is being deleted just now, or a delete that was busy has hidden it until the target is started again: %w", b.LvolName(), refused))
}
