package memory

import (
	"fmt"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// What no port has, but users of a target do.

// DeleteMerging deletes a snapshot as a target does when nobody looks first:
// where ONE lvol hangs on it, the clusters that this one lacks move into it,
// and it hangs on the snapshot's parent afterwards. ErrInvalid where more
// hang on it.
func (h *Host) DeleteMerging(uuid string) error {
	what := "delete and merge " + h.word(uuid)
	h.mu.Lock()
	defer h.mu.Unlock()
	l, err := h.find(uuid)
	if err != nil {
		return h.failed(what, err)
	}
	child, err := h.onlyChild(l)
	if err == nil && (change{locks: []*lvol{l}, parent: child}).busy() {
		err = ports.ErrBusy
	}
	if err != nil {
		return h.failed(what, err)
	}
	if child != nil {
		h.merge(l, child)
	}
	h.drop(l)
	return nil
}

// onlyChild is the lvol that hangs on one, which may be hidden; nil for none.
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
	panic(l.name + " has a child that is nowhere")
}

// merge gives the child a map of its own: the one that it has may be read by
// whoever copied it a moment ago.
func (h *Host) merge(l, child *lvol) {
	merged := make(map[uint64]cluster, len(l.own)+len(child.own))
	for i, content := range l.own {
		if i < child.size/h.config.ClusterSize {
			merged[i] = content
		}
	}
	for i, content := range child.own {
		merged[i] = content
	}
	h.used += uint64(len(merged)) - uint64(len(child.own))
	child.own, child.checksum, child.external = merged, "", l.external
	child.hang(l.parent)
}

// Use has somebody else use an lvol, as an engine does that exports it: it is listed
// with that user. The zero User ends it, a Restart too.
func (h *Host) Use(uuid string, user domain.User) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	l, err := h.find(uuid)
	if err != nil {
		return h.failed("use "+uuid, err)
	}
	l.usedBy = user
	return nil
}

// letGo refuses what a real target would hang in.
func (l *lvol) letGo() error {
	if l.usedBy.NoDelete {
		return fmt.Errorf("%s is %s, and to delete it would hang the host: %w", l.name, l.usedBy, ports.ErrInvalid)
	}
	return nil
}

// Rename gives a writable lvol another name.
func (h *Host) Rename(uuid, name string) error {
	what := fmt.Sprintf("rename %s to %s", h.word(uuid), name)
	h.mu.Lock()
	defer h.mu.Unlock()
	l, err := h.findWritable(uuid)
	if err == nil {
		err = h.freeName(name)
	}
	if err != nil {
		return h.failed(what, err)
	}
	h.rename(l, name)
	return nil
}

func (h *Host) rename(l *lvol, name string) {
	delete(h.names, l.name)
	l.name = name
	h.names[name] = l
}

// OwnClusters are the positions of the own clusters of an lvol, ascending.
func (h *Host) OwnClusters(uuid string) ([]uint64, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l, err := h.find(uuid)
	if err != nil {
		return nil, h.failed("map "+uuid, err)
	}
	return positions(l.own), nil
}
