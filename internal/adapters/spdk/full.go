package spdk

import (
	"context"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
)

// controllerEnabled is the state of a controller that is connected and works
// (nvme_ctrlr_get_state_str).
const controllerEnabled = "enabled"

// FreeClusters implements ports.Gauge, by one of the calls of a List.
func (h *Host) FreeClusters(ctx context.Context) (uint64, error) {
	free, err := h.rpc.FreeClusters(ctx, h.store.UUID)
	return free, h.store.Failed(err, "tell what is free")
}

// isFull reports whether a copy that ended with an I/O error did so because the
// destination's store is full.
//
// Within one target the store tells. Another target's writes fail with a status
// that says nothing. But where its namespace is still there, the controller is
// connected, and the failed I/O is one of the namespace (not of the source's
// disk), the destination has refused to write to a thin lvol that it serves:
// it is full. A broken disk under it would look the same, and ends a rebuild as
// well.
func (h *Host) isFull(ctx context.Context, where address, bdev string) bool {
	if where.Remote == nil {
		return h.rpc.IsFull(ctx, where.Lvstore)
	}
	count, look := rpc.GetIostat(bdev), rpc.GetControllers(controllerName(where.Remote.Subnqn))
	h.rpc.Do(ctx, count, look)
	if count.Err != nil || look.Err != nil || len(count.Result.Bdevs) != 1 || len(count.Result.Bdevs[0].Errors) == 0 {
		return false
	}
	for _, controller := range look.Result {
		for _, path := range controller.Ctrlrs {
			if path.State != controllerEnabled {
				return false
			}
		}
	}
	return len(look.Result) > 0
}
