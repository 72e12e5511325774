package spdk

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Seal implements ports.Store. A snapshot's name is given, and its xattrs are
// set, by bdev_lvol_snapshot alone; it takes over the lvol's clusters and its
// parent. The lvol stays behind as an empty clone, which is checked and
// deleted, also when the context has ended meanwhile: the snapshot exists then.
func (h *Host) Seal(ctx context.Context, uuid, name string, seal ports.SealRecord) (string, error) {
	xattrs := snapshotXattrs(seal.Attributes)
	if seal.Image != nil {
		xattrs = imageXattrs(*seal.Image)
	}
	snapshot, err := h.freeze(ctx, uuid, name, xattrs)
	if err == nil {
		h.notMadeHere(uuid)
		h.rememberSealed(snapshot, seal)
		if seal.Sealed != nil {
			seal.Sealed(snapshot)
		}
		err = h.dropRest(ctx, uuid, name)
	}
	if err != nil {
		return "", h.store.Failed(err, "seal lvol %s as %s", uuid, name)
	}
	return snapshot, nil
}

func (h *Host) rememberSealed(snapshot string, seal ports.SealRecord) {
	r := recorded{attributes: seal.Attributes}
	r.attributes.CreatedAt = r.attributes.CreatedAt.UTC().Truncate(time.Second)
	if seal.Image != nil {
		r = recorded{asImage: true, image: *seal.Image}
	}
	h.remember(snapshot, r)
}

// dropRest deletes what is left of an lvol that was sealed. Where it is not
// empty, somebody has written to it since: a copy that was thought to be over,
// and the seal cannot be trusted.
//
// The look and the delete share a write: a target answers bdev_get_bdevs before
// it takes up the next call. Nothing is lost when the look then says that the rest
// was not empty; what is not sealed is copied again. A graft onto the snapshot may
// go on meanwhile: a delete locks the clone, set_parent the child and the parent.
func (h *Host) dropRest(ctx context.Context, uuid, snapshot string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(tidyFor, h.rpc.Timeout))
	defer cancel()
	look, drop := rpc.GetBdev(uuid), rpc.DeleteLvol(uuid)
	h.rpc.Do(ctx, look, drop)
	rest, err := h.store.Found(look, uuid)
	if errors.Is(err, ports.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	driver := rest.Driver.Lvol
	if rest.Own() > 0 || driver.BaseSnapshot != snapshot || len(driver.Clones) > 0 {
		return fmt.Errorf("the lvol had %d clusters, parent %q and %d clones after it was sealed, so something else is at work on it: %w",
			rest.Own(), driver.BaseSnapshot, len(driver.Clones), ports.ErrCorrupt)
	}
	return drop.Err
}

// Snapshot implements ports.Snapshotter.
func (h *Host) Snapshot(ctx context.Context, uuid, name string, attributes domain.Attributes) (string, error) {
	snapshot, err := h.freeze(ctx, uuid, name, snapshotXattrs(attributes))
	return snapshot, h.store.Failed(err, "snapshot lvol %s as %s", uuid, name)
}

// freeze makes a snapshot of a writable lvol. Upstream SPDK takes no xattrs.
func (h *Host) freeze(ctx context.Context, uuid, name string, xattrs map[string]string) (snapshot string, err error) {
	if err := h.checkName(name); err != nil {
		return "", err
	}
	if !h.store.Can.Records {
		xattrs = nil
	}
	err = rpc.WhileBusy(ctx, func() (err error) {
		snapshot, err = rpc.SnapshotLvol(uuid, name, xattrs).Do(ctx, h.rpc)
		return err
	})
	return snapshot, err
}
