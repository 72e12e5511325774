package spdk

import (
	"context"
	"fmt"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
)

// wake makes the target know a snapshot as one again after a restart: a clone
// is made and deleted. Its lock must be held.
func (h *Host) wake(ctx context.Context, uuid, helper string) error {
	made := helpers{host: h}
	defer made.tidy(ctx)
	clone, err := made.clone(ctx, uuid, helper)
	if err != nil {
		return fmt.Errorf("wake snapshot %s, which is asleep since the target's restart: %w", uuid, err)
	}
	return made.drop(ctx, clone)
}

// cloneNow clones a snapshot, whose lock must be held.
func (h *Host) cloneNow(ctx context.Context, snapshot, name string) (uuid string, err error) {
	if err := h.checkName(name); err != nil {
		return "", err
	}
	err = rpc.WhileBusy(ctx, func() (err error) {
		uuid, err = rpc.CloneLvol(snapshot, name).Do(ctx, h.rpc)
		return err
	})
	return uuid, err
}
