package memory

import (
	"context"
	"fmt"

	"github.com/rootgraft/rebuild/internal/ports"
)

// Graft implements ports.Store. It locks the lvol and the parent. It panics if the parent
// descends from the lvol.
func (h *Host) Graft(ctx context.Context, uuid, parent string) error {
	what := fmt.Sprintf("graft %s onto %s", h.nameOrUUID(uuid), h.nameOrUUID(parent))
	return h.carryOut(ctx, h.onLvol("graft", uuid), what, func() (change, error) {
		child, err := h.find(uuid)
		if err != nil {
			return change{}, err
		}
		var newParent *lvol
		if parent != "" {
			if newParent, err = h.findSnapshot(parent); err != nil {
				return change{}, err
			}
		}
		if newParent == child {
			return change{}, fmt.Errorf("%s cannot be its own parent: %w", child.name, ports.ErrInvalid)
		}
		return change{locks: []*lvol{child}, parent: newParent, apply: func() error {
			child.regraft(newParent)
			return nil
		}}, nil
	})
}

// regraft gives an lvol another parent, or none.
func (l *lvol) regraft(parent *lvol) {
	l.panicOnCycle(parent)
	l.setParent(parent)
	l.external = nil
}

// panicOnCycle panics if parent descends from the lvol.
func (l *lvol) panicOnCycle(parent *lvol) {
	if l.children == 0 {
		return // it has no descendants; saves the walk along a long chain
	}
	for ancestor := parent; ancestor != nil; ancestor = ancestor.parent {
		if ancestor == l {
			panic(fmt.Sprintf("graft %s onto %s, its own descendant: a real target would hang for good", l.name, parent.name))
		}
	}
}
