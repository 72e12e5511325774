package memory

import (
	"context"
	"fmt"

	"github.com/rootgraft/rebuild/internal/ports"
)

// Clone implements ports.Store. It locks the snapshot.
func (h *Host) Clone(ctx context.Context, snapshot, name string, size uint64, record string) (string, error) {
	var uuid string
	what := fmt.Sprintf("clone %s as %s", h.nameOrUUID(snapshot), name)
	err := h.carryOut(ctx, Call{Method: "clone", UUID: snapshot, Name: name}, what, func() (change, error) {
		size, err := h.roundUp(size)
		if err != nil {
			return change{}, err
		}
		var parent *lvol
		if snapshot != "" {
			if parent, err = h.findSnapshot(snapshot); err != nil {
				return change{}, err
			}
			if size < parent.size {
				return change{}, fmt.Errorf("%d bytes are fewer than those of %s, which has %d: %w", size, parent.name, parent.size, ports.ErrInvalid)
			}
		}
		return change{parent: parent, name: name, apply: func() error {
			l := h.add(name, size, parent)
			if h.config.Flavour == Fork {
				l.record = record
			}
			uuid = l.uuid
			return nil
		}}, h.checkName(name)
	})
	return unlessLost(uuid, err)
}
