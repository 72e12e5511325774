package spdk

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
)

// deleteSnapshot deletes a snapshot that shows no clones. It is cloned, deleted,
// which merges it into that clone, its guard, and then the guard is deleted. For a
// plain bdev_lvol_delete is not safe, whatever was looked at before it:
//
//   - It merges the snapshot into a clone that has come meanwhile.
//   - It crashes the target if a clone is being deleted at that moment, by another
//     process: spdk_lvol_destroy follows a pointer to the clone's blob, which is closed.
//   - It crashes a target of the Longhorn branch, and merges on upstream SPDK, if the
//     one clone is listed no more since a delete of it was busy: such an lvol is
//     hidden until the target is started again.
//
// With the guard there, each of those is a second clone, and what has two is refused
// before anything is touched (_vbdev_lvol_destroy in vbdev_lvol.c).
//
// What is copied would be hidden, too: its bdev is unregistered before the blobstore
// finds it locked. While a copy goes on no clone is made of it, which is refused
// without harm.
func (l *lvols) deleteSnapshot(ctx context.Context, b *rpc.Bdev) error {
	made := helpers{lvols: l}
	defer made.tidy(ctx)
	name := l.helperName(b.LvolName())
	guard, err := made.clone(ctx, b.UUID, name)
	switch {
	case rpc.OutcomeUnknown(err), errors.Is(err, ports.ErrBusy), errors.Is(err, ports.ErrUnavailable), err != nil && ctx.Err() != nil:
		return err
	case err != nil:
		// No room or too long a name for a clone: not a reason to keep the lvol.
		l.log.Debug("cannot find out whether an lvol is busy", zap.String("lvol", b.LvolName()), zap.Error(err))
		return l.deleteNow(ctx, b.UUID)
	}
	if err := l.deleteNow(ctx, b.UUID); err != nil {
		if errors.Is(err, ports.ErrInvalid) {
			err = l.whatHangsOn(ctx, b, name, err)
		}
		return err
	}
	if err := rpc.WhileBusy(ctx, func() error { return l.deleteNow(ctx, guard) }); err != nil {
		return fmt.Errorf("the clone that %s was merged into: %w", b.LvolName(), err)
	}
	made.keep(guard)
	return nil
}

// whatHangsOn says why a snapshot is not deleted that has had no clones but its guard.
func (l *lvols) whatHangsOn(ctx context.Context, b *rpc.Bdev, guard string, refused error) error {
	now, err := l.Find(ctx, b.UUID)
	if err != nil {
		return err
	}
	for _, clone := range now.Driver.Lvol.Clones {
		if clone != guard {
			return fmt.Errorf("%s has a clone, %s: %w", b.LvolName(), clone, ports.ErrInvalid)
		}
	}
	return rpc.WithKind(ports.ErrBusy, fmt.Errorf("%s: something that the target does not list hangs on it: it is being deleted just now, or a delete of it was busy and has hidden it until the target is started again: %w", b.LvolName(), refused))
}
