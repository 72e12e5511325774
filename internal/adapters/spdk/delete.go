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

// Delete implements ports.Store. What has clones is refused, and deleteSnapshot has
// the target refuse what gets one meanwhile.
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
	h.drafts.forget(uuid)
	if clones := b.Driver.Lvol.Clones; len(clones) > 0 {
		return fmt.Errorf("%s has %d clones, %s for one: %w", b.LvolName(), len(clones), clones[0], ports.ErrInvalid)
	}
	if b.Claimed {
		if err := h.letGo(ctx, b); err != nil {
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

// letGo makes sure that a claimed lvol can be deleted. It is ErrBusy while a copy
// within the target writes into it: the target would take its bdev away at once,
// delete it when the copy is over, which can be long, and answer only then; meanwhile
// its two listings contradict each other. What a run exports is withdrawn first: the
// target would do that by itself, but for several at once it does not wait for what
// is being written (see nvmf). What would hang the target is ErrInvalid.
// What else has an lvol, an export or a RAID, lets it go.
func (h *Host) letGo(ctx context.Context, b *rpc.Bdev) error {
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

// detachExternal grafts an esnap clone onto nothing. A target crashes that deletes one
// whose external bdev was removed beside it, as a controller is whose peer has gone:
// the delete opens the blob once more, and with it a bdev that is not there
// (vbdev_lvol_esnap_dev_create in vbdev_lvol.c). Whether the bdev is there may change
// between a look and the delete, so none is deleted as it is.
func (h *Host) detachExternal(ctx context.Context, b *rpc.Bdev) (*rpc.Bdev, error) {
	if err := h.detach(ctx, b.UUID); err != nil {
		return nil, fmt.Errorf("detach it from external snapshot %s: %w", b.Driver.Lvol.External(), err)
	}
	return h.store.Find(ctx, b.UUID)
}

// deleteDegraded deletes an lvol that has no bdev, if it is known to have no
// clones. Which ones, nobody can tell then; but the blobstore takes for a
// snapshot only what has had some since the target started.
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
