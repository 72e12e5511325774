package memory

import (
	"context"
	"fmt"

	"github.com/rootgraft/rebuild/internal/ports"
)

// Graft implements ports.Store. It locks the lvol and the parent. It panics
// where the parent hangs on the lvol.
func (h *Host) Graft(ctx context.Context, uuid, parent string) error {
	call := Call{Method: "graft", UUID: uuid, Name: h.nameOf(uuid)}
	what := fmt.Sprintf("graft %s onto %s", h.word(uuid), h.word(parent))
	return h.carryOut(ctx, call, what, func() (change, error) {
		child, err := h.find(uuid)
		if err != nil {
			return change{}, err
		}
		var under *lvol
		if parent != "" {
			if under, err = h.findSnapshot(parent); err != nil {
				return change{}, err
			}
		}
		if under == child {
			return change{}, fmt.Errorf("%s cannot be its own parent: %w", child.name, ports.ErrInvalid)
		}
		return change{locks: []*lvol{child}, parent: under, apply: func() error {
			child.mustNotCarry(under)
			child.hang(under)
			child.external = nil
			return nil
		}}, nil
	})
}

// mustNotCarry panics where parent hangs on the lvol.
func (l *lvol) mustNotCarry(parent *lvol) {
	if l.children == 0 {
		return // nothing does: spares the way up a long chain
	}
	for up := parent; up != nil; up = up.parent {
		if up == l {
			panic(fmt.Sprintf("graft %s onto %s, which hangs on it: a real target would hang for good", l.name, parent.name))
		}
	}
}
