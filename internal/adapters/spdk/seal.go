package spdk

import (
	"context"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Seal implements ports.Store. A snapshot's name is given, and its xattrs are
// set, by bdev_lvol_snapshot alone; it takes over the lvol's clusters and its
// parent. The lvol stays behind as an empty clone, which is checked and
// deleted, also when the context has ended meanwhile: the snapshot exists then.
func (h *Host) Seal(ctx context.Context, uuid, name string, seal ports.SealRecord) (string, error) {
	record := recordOf(seal)
	snapshot, err := h.lvols.freeze(ctx, uuid, name, record.xattrs())
	if err == nil {
		h.drafts.Take(uuid)
		h.view.records.Set(snapshot, record)
		if seal.Sealed != nil {
			seal.Sealed(snapshot)
		}
		err = h.lvols.dropRest(ctx, uuid, name)
	}
	if err != nil {
		return "", h.store.Failed(err, "seal lvol %s as %s", uuid, name)
	}
	return snapshot, nil
}

// Snapshot implements ports.Snapshotter.
func (h *Host) Snapshot(ctx context.Context, uuid, name string, attributes domain.Attributes) (string, error) {
	snapshot, err := h.lvols.freeze(ctx, uuid, name, record{attributes: attributes}.xattrs())
	return snapshot, h.store.Failed(err, "snapshot lvol %s as %s", uuid, name)
}
