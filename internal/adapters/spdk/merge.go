package spdk

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Merge implements ports.Merger: bdev_lvol_delete merges a snapshot with one
// clone into that clone (bs_delete_blob), and refuses one with more. As with Delete, a
// busy lvol would be hidden until a restart: the snapshot, or its clone if that is a
// snapshot that is being copied. So both are cloned first; a target refuses to clone a
// busy one, and no harm is done.
func (h *Host) Merge(ctx context.Context, snapshot string) (err error) {
	defer h.store.Explain(&err, "merge snapshot %s into its clone", snapshot)
	unlock, err := h.lvols.lock(ctx, snapshot)
	if err != nil {
		return err
	}
	defer unlock()
	b, err := h.store.Find(ctx, snapshot)
	if err != nil {
		return err
	}
	if !b.ReadOnly() {
		return fmt.Errorf("%s is writable: %w", b.LvolName(), ports.ErrInvalid)
	}
	if b.Claimed {
		if err := h.unclaim(ctx, b); err != nil {
			return err
		}
	}
	clones := b.Driver.Lvol.Clones
	if len(clones) != 1 {
		return fmt.Errorf("%s has %d clones, and merges into one only: %w", b.LvolName(), len(clones), ports.ErrInvalid)
	}
	into, err := h.store.Find(ctx, h.store.Alias(clones[0]))
	if err != nil {
		return fmt.Errorf("the clone of %s: %w", b.LvolName(), rpc.Unavailable(err))
	}
	for _, one := range []*rpc.Bdev{b, into} {
		if !one.ReadOnly() {
			continue
		}
		if err := h.copies.none(ctx, one.UUID); err != nil {
			return err
		}
		if err := h.lvols.probe(ctx, one); err != nil {
			return err
		}
	}
	if err := h.lvols.survivesMerge(ctx, b, into); err != nil {
		return err
	}
	return h.lvols.deleteNow(ctx, snapshot)
}

// probe finds out whether a snapshot is busy.
func (l *lvols) probe(ctx context.Context, b *rpc.Bdev) error {
	err := l.wake(ctx, b.UUID, l.helperName(b.LvolName()))
	switch {
	case errors.Is(err, ports.ErrBusy), errors.Is(err, ports.ErrUnavailable), ctx.Err() != nil:
		return err
	case err != nil:
		// No room for a clone, or its name is too long: no reason to keep the lvol.
		l.log.Debug("cannot find out whether an lvol is busy", zap.String("lvol", b.LvolName()), zap.Error(err))
	}
	return nil
}
