package spdk

import (
	"context"
	"fmt"

	"github.com/rootgraft/rebuild/internal/ports"
)

// Merge implements ports.Merger: bdev_lvol_delete merges a snapshot with one
// clone into that clone (bs_delete_blob), and refuses one with more. As with
// Delete, what is busy would be hidden until a restart, the snapshot as well as
// a clone of it that is a snapshot itself and being copied; so both are cloned
// first, which is refused without harm while a copy goes on.
func (h *Host) Merge(ctx context.Context, snapshot string) error {
	return h.failed(h.merge(ctx, snapshot), "merge snapshot %s into what hangs on it", snapshot)
}

func (h *Host) merge(ctx context.Context, snapshot string) error {
	unlock, err := h.locks.take(ctx, "lvol "+snapshot)
	if err != nil {
		return err
	}
	defer unlock()
	b, err := h.find(ctx, snapshot)
	if err != nil {
		return err
	}
	if !b.readOnly() {
		return fmt.Errorf("%s is writable: %w", b.name(), ports.ErrInvalid)
	}
	clones := b.Driver.Lvol.Clones
	if len(clones) != 1 {
		return fmt.Errorf("%s has %d clones, and merges into one only: %w", b.name(), len(clones), ports.ErrInvalid)
	}
	into, err := h.find(ctx, h.alias(clones[0]))
	if err != nil {
		return fmt.Errorf("what hangs on %s: %w", b.name(), unavailable(err))
	}
	for _, one := range []*bdev{b, into} {
		if !one.readOnly() {
			continue
		}
		if err := h.notCopied(ctx, one.UUID); err != nil {
			return err
		}
		if err := h.probe(ctx, one); err != nil {
			return err
		}
	}
	if err := h.survivesMerge(ctx, b, into); err != nil {
		return err
	}
	return h.deleteNow(ctx, snapshot)
}
