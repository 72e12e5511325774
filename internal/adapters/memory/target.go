package memory

import (
	"fmt"
	"maps"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Operations that users of a target have, but no port.

// DeleteMerging deletes a snapshot as SPDK does without any check: if it has ONE clone,
// the clusters that the clone lacks move into it, and it gets the snapshot's parent.
// ErrInvalid if there are more clones.
func (h *Host) DeleteMerging(uuid string) error {
	return h.with("delete and merge "+h.nameOrUUID(uuid), h.find, uuid, h.deleteMerging)
}

func (h *Host) deleteMerging(l *lvol) error {
	child, err := h.onlyChild(l)
	if err == nil && (change{locks: []*lvol{l}, parent: child}).busy() {
		err = ports.ErrBusy
	}
	if err != nil {
		return err
	}
	if child != nil {
		h.merge(l, child)
	}
	h.drop(l)
	return nil
}

// onlyChild is the only clone of an lvol, which may be hidden; nil for none.
func (h *Host) onlyChild(l *lvol) (*lvol, error) {
	if l.children == 0 {
		return nil, nil
	}
	if l.children > 1 {
		return nil, fmt.Errorf("%s has %d clones: %w", l.name, l.children, ports.ErrInvalid)
	}
	for _, other := range h.lvols {
		if other.parent == l {
			return other, nil
		}
	}
	for hidden := range h.hidden {
		if hidden.parent == l {
			return hidden, nil
		}
	}
	panic(l.name + " has a child that is not on the host")
}

// merge replaces the map of the child, since a copy may still read the old one.
func (h *Host) merge(l, child *lvol) {
	merged := make(map[uint64]cluster, len(l.own)+len(child.own))
	for i, content := range l.own {
		if i < child.size/h.config.ClusterSize {
			merged[i] = content
		}
	}
	maps.Copy(merged, child.own)
	h.used += uint64(len(merged)) - uint64(len(child.own))
	child.own, child.checksum, child.external = merged, "", l.external
	child.setParent(l.parent)
}

// Use simulates another user of an lvol, such as an engine that exports it: the lvol is
// listed with that user. The zero User or a Restart ends the use.
func (h *Host) Use(uuid string, user domain.User) error {
	return h.with("use "+uuid, h.find, uuid, func(l *lvol) error {
		l.usedBy = user
		return nil
	})
}

// checkDeletable refuses a delete that would hang a real target.
func (l *lvol) checkDeletable() error {
	if l.usedBy.NoDelete {
		return fmt.Errorf("%s is in use (it is %s), and deleting it would hang the host: %w", l.name, l.usedBy, ports.ErrInvalid)
	}
	return nil
}

// OwnClusters are the positions of the own clusters of an lvol, ascending.
func (h *Host) OwnClusters(uuid string) (own []uint64, err error) {
	err = h.with("map "+uuid, h.find, uuid, func(l *lvol) error {
		own = positions(l.own)
		return nil
	})
	return own, err
}
