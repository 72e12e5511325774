package spdk

import (
	"context"

	"github.com/rootgraft/rebuild/internal/domain"
)

// Create implements ports.Store.
func (h *Host) Create(ctx context.Context, name string, size uint64) (string, error) {
	uuid, err := h.lvols.create(ctx, name, size)
	if err == nil {
		h.drafts.Set(uuid, h.draftOf(name, size))
	}
	return uuid, h.store.Failed(err, "create lvol %s of %d bytes", name, size)
}

// draft is an lvol that this host has created, and neither sealed nor deleted. It is
// known to be writable without a look.
type draft struct {
	replica string // that it is in flight for; "": none
	size    uint64 // bytes
}

func (h *Host) draftOf(name string, size uint64) draft {
	replica, _ := domain.ReplicaInFlight(name)
	return draft{replica, h.lvols.wholeClusters(size)}
}

func (h *Host) isDraft(uuid string) bool {
	_, is := h.drafts.Find(uuid)
	return is
}
