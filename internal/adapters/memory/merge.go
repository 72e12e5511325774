package memory

import (
	"context"
	"fmt"

	"github.com/rootgraft/rebuild/internal/ports"
)

// Merge implements ports.Merger. It locks the snapshot and its clone.
func (h *Host) Merge(ctx context.Context, snapshot string) error {
	return h.carryOut(ctx, h.onLvol("merge", snapshot), "merge "+h.nameOrUUID(snapshot), func() (change, error) {
		l, err := h.findSnapshot(snapshot)
		if err != nil {
			return change{}, err
		}
		child, err := h.onlyChild(l)
		switch {
		case err == nil && child == nil:
			err = fmt.Errorf("%s has no clone: %w", l.name, ports.ErrInvalid)
		case err == nil && child.hidden:
			err = fmt.Errorf("the clone of %s is hidden until a restart: %w", l.name, ports.ErrBusy)
		case err == nil:
			err = l.checkDeletable()
		}
		return change{locks: []*lvol{l, child}, apply: func() error {
			h.merge(l, child)
			h.drop(l)
			return nil
		}}, err
	})
}
