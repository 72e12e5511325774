package spdk

import (
	"context"
	"errors"
	"fmt"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmf"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Delete implements ports.Store. It refuses an lvol with clones; deleteSnapshot has the
// target refuse a snapshot that gets one meanwhile.
func (h *Host) Delete(ctx context.Context, uuid string) (err error) {
	defer h.store.Explain(&err, "delete lvol %s", uuid)
	unlock, err := h.lvols.lock(ctx, uuid)
	if err != nil {
		return err
	}
	defer unlock()
	h.lvols.sweep(ctx)
	b, err := h.store.Find(ctx, uuid)
	if errors.Is(err, ports.ErrNotFound) {
		return h.deleteDegraded(ctx, uuid, err)
	}
	if err != nil {
		return err
	}
	h.drafts.Take(uuid)
	if clones := b.Driver.Lvol.Clones; len(clones) > 0 {
		return fmt.Errorf("%s has %d clones, %s for one: %w", b.LvolName(), len(clones), clones[0], ports.ErrInvalid)
	}
	if b.Claimed {
		if err := h.unclaim(ctx, b); err != nil {
			return err
		}
	}
	if b.Driver.Lvol.External() != "" {
		if b, err = h.detachExternal(ctx, b); err != nil {
			return err
		}
	}
	if b.ReadOnly() {
		if err := h.copies.none(ctx, uuid); err != nil {
			return err
		}
		return h.lvols.deleteSnapshot(ctx, b)
	}
	return h.lvols.deleteNow(ctx, uuid)
}

// unclaim makes sure that a claimed lvol can be deleted.
//
// ErrBusy: a copy within the target writes into it. The target would take the bdev away
// at once, delete the lvol when the copy is over, which can take long, and answer only
// then; meanwhile its two listings contradict each other. ErrInvalid: the delete would
// hang the target.
//
// An export of a run is ended first: the target would do that by itself, but if it ends
// several at once it does not wait for their writes (see nvmf). Other exports and RAIDs
// give an lvol up.
func (h *Host) unclaim(ctx context.Context, b *rpc.Bdev) error {
	claims, err := h.view.claims(ctx)
	if err != nil {
		return err
	}
	if sub, nsid := claims.export(b); sub != nil && nvmf.IsOurs(sub) {
		return h.exports.End(ctx, sub.Nqn, nsid)
	}
	switch user := claims.user(b, b.LvolName()); {
	case user.Kind == domain.UserNobody, user.Kind == domain.UserClaim && b.ClaimType != readers:
		return fmt.Errorf("%s is claimed, by a copy that writes into it or by something else: %w", b.LvolName(), ports.ErrBusy)
	case user.NoDelete:
		return fmt.Errorf("%s is %s, and to delete it would hang the target: %w", b.LvolName(), user, ports.ErrInvalid)
	}
	return nil
}

// detachExternal takes an esnap clone off its external bdev. If that bdev has been
// removed meanwhile, as with a controller whose peer has gone, a delete of the clone
// crashes the target: it opens the blob once more, and with it the missing bdev
// (vbdev_lvol_esnap_dev_create in vbdev_lvol.c). The bdev may go between a look and the
// delete, so every esnap clone is detached first.
func (h *Host) detachExternal(ctx context.Context, b *rpc.Bdev) (*rpc.Bdev, error) {
	if err := h.detach(ctx, b.UUID); err != nil {
		return nil, fmt.Errorf("detach it from external snapshot %s: %w", b.Driver.Lvol.External(), err)
	}
	return h.store.Find(ctx, b.UUID)
}

// deleteDegraded deletes an lvol that has no bdev, unless it may have clones. The
// target does not list them then, but it calls only those lvols snapshots that have had
// clones since it started.
func (h *Host) deleteDegraded(ctx context.Context, uuid string, missing error) error {
	l, err := h.view.findDegraded(ctx, uuid)
	if errors.Is(err, ports.ErrNotFound) {
		return missing
	}
	if err != nil {
		return err
	}
	if l.IsSnapshot {
		return fmt.Errorf("%s is degraded and may have clones: %w", l.Name, ports.ErrInvalid)
	}
	return h.lvols.deleteNow(ctx, uuid)
}
