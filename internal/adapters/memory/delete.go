package memory

import (
	"context"
	"fmt"

	"github.com/rootgraft/rebuild/internal/ports"
)

// Delete implements ports.Store. An lvol that is being copied, grafted or sealed is busy,
// and yet hidden from every listing until Restart, as on a real target: its name is free,
// its clusters are not. One that is getting a clone is only busy.
func (h *Host) Delete(ctx context.Context, uuid string) error {
	return h.carryOut(ctx, h.onLvol("delete", uuid), "delete "+h.nameOrUUID(uuid), func() (change, error) {
		l, err := h.findAny(uuid)
		if err != nil {
			return change{}, err
		}
		if l.children > 0 {
			return change{}, fmt.Errorf("%s has %d clones: %w", l.name, l.children, ports.ErrInvalid)
		}
		if err := l.checkDeletable(); err != nil {
			return change{}, err
		}
		return change{
			locks: []*lvol{l},
			refused: func() {
				if !l.asParent {
					h.hide(l)
				}
			},
			apply: func() error {
				h.drop(l)
				return nil
			},
		}, nil
	})
}

func (h *Host) hide(l *lvol) {
	l.hidden = true
	delete(h.lvols, l.uuid)
	delete(h.names, l.name)
	h.hidden[l] = struct{}{}
}

// unhide lists the lvol again, unless its name is taken.
func (h *Host) unhide(l *lvol) {
	if _, taken := h.names[l.name]; taken {
		return
	}
	l.hidden = false
	delete(h.hidden, l)
	h.lvols[l.uuid], h.names[l.name] = l, l
}
