package memory

import (
	"context"
	"fmt"
	"time"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Seal implements ports.Store. The snapshot gets a new UUID.
func (h *Host) Seal(ctx context.Context, uuid, name string, seal ports.SealRecord) (string, error) {
	what := fmt.Sprintf("seal %s as %s", h.nameOrUUID(uuid), name)
	sealed, err := h.freeze(ctx, Call{Method: "seal", UUID: uuid, Name: name}, what, func(l *lvol) *lvol {
		snapshot := h.frozen(l, name, seal.Attributes)
		if seal.Image != nil && h.config.Flavour == Fork {
			snapshot.image = *seal.Image
		}
		h.drop(l)
		return snapshot
	})
	if err == nil && seal.Sealed != nil {
		seal.Sealed(sealed)
	}
	return sealed, err
}

// Snapshot implements ports.Snapshotter.
func (h *Host) Snapshot(ctx context.Context, uuid, name string, attributes domain.Attributes) (string, error) {
	what := fmt.Sprintf("snapshot %s as %s", h.nameOrUUID(uuid), name)
	return h.freeze(ctx, Call{Method: "snapshot", UUID: uuid, Name: name}, what, func(l *lvol) *lvol {
		snapshot := h.frozen(l, name, attributes)
		l.setParent(snapshot)
		return snapshot
	})
}

// freeze takes a snapshot of a writable lvol, which is locked meanwhile.
func (h *Host) freeze(ctx context.Context, call Call, what string, do func(*lvol) *lvol) (string, error) {
	var snapshot string
	err := h.carryOut(ctx, call, what, func() (change, error) {
		l, err := h.findWritable(call.UUID)
		if err == nil {
			err = h.checkName(call.Name)
		}
		return change{locks: []*lvol{l}, name: call.Name, quiet: true, apply: func() error {
			if l.hidden {
				return fmt.Errorf("lvol %q: %w", l.uuid, ports.ErrNotFound)
			}
			snapshot = do(l).uuid
			return nil
		}}, err
	})
	return unlessLost(snapshot, err)
}

// frozen creates a snapshot that takes over the lvol's clusters and parent.
func (h *Host) frozen(l *lvol, name string, attributes domain.Attributes) *lvol {
	snapshot := h.add(name, l.size, nil)
	snapshot.readOnly = true
	snapshot.takeOver(l)
	if h.config.Flavour == Fork {
		snapshot.attributes = attributes
		if !attributes.CreatedAt.IsZero() {
			snapshot.attributes.CreatedAt = attributes.CreatedAt.UTC().Truncate(time.Second)
		}
	}
	return snapshot
}
