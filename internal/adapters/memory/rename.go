package memory

import (
	"context"
	"fmt"

	"github.com/rootgraft/rebuild/internal/ports"
)

// Rename implements ports.Renamer. An Upstream host renames writable lvols only.
func (h *Host) Rename(ctx context.Context, uuid, name string) error {
	what := fmt.Sprintf("rename %s to %s", h.nameOrUUID(uuid), name)
	return h.carryOut(ctx, Call{Method: "rename", UUID: uuid, Name: name}, what, func() (change, error) {
		l, err := h.find(uuid)
		switch {
		case err != nil:
			return change{}, err
		case l.name == name:
			return change{apply: func() error { return nil }}, nil
		case l.readOnly && h.config.Flavour == Upstream:
			return change{}, fmt.Errorf("%s is a snapshot: %w", l.name, ports.ErrUnsupported)
		}
		return change{locks: []*lvol{l}, name: name, apply: func() error {
			h.rename(l, name)
			return nil
		}}, h.checkName(name)
	})
}

func (h *Host) rename(l *lvol, name string) {
	delete(h.names, l.name)
	l.name = name
	h.names[name] = l
}
