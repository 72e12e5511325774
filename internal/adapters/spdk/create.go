package spdk

import (
	"context"

	"github.com/rootgraft/rebuild/internal/domain"
)

// Create implements ports.Store.
func (h *Host) Create(ctx context.Context, name string, size uint64) (string, error) {
	uuid, err := h.lvols.create(ctx, name, size)
	if err == nil {
		h.drafts.set(uuid, h.draftOf(name, size))
	}
	return uuid, h.store.Failed(err, "create lvol %s of %d bytes", name, size)
}

// draft is an lvol that a host has created, and neither sealed nor deleted: it is there
// and writable, and needs no look.
type draft struct {
	replica string // whose it is, in flight; "": nobody's
	size    uint64 // bytes
}

func (h *Host) draftOf(name string, size uint64) draft {
	replica, _ := domain.ReplicaInFlight(name)
	return draft{replica, h.lvols.wholeClusters(size)}
}

func (h *Host) isDraft(uuid string) bool {
	_, is := h.drafts.get(uuid)
	return is
}
