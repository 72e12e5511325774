package spdk

import (
	"context"
	"fmt"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"

	"github.com/rootgraft/rebuild/internal/ports"
)

// controllerEnabled is the state of a controller that is connected and works
// (nvme_ctrlr_get_state_str).
const controllerEnabled = "enabled"

// iostatRequest and iostat are of bdev_get_iostat; go-spdk-helper's lack the
// errors, which are counted by status.
type iostat struct {
	Bdevs []struct {
		Errors map[string]uint64 `json:"io_error"`
	} `json:"bdevs"`
}

// FreeClusters implements ports.Gauge, by one of the calls of a List.
func (h *Host) FreeClusters(ctx context.Context) (uint64, error) {
	free, err := h.freeClusters(ctx, h.storeUUID)
	return free, h.failed(err, "tell what is free")
}

func (h *Host) freeClusters(ctx context.Context, lvstore string) (uint64, error) {
	var stores []spdktypes.LvstoreInfo
	err := h.rpc.call(ctx, "bdev_lvol_get_lvstores", spdktypes.BdevLvolGetLvstoreRequest{UUID: lvstore}, &stores)
	if err == nil && len(stores) != 1 {
		err = fmt.Errorf("lvstore %s is listed %d times: %w", lvstore, len(stores), ports.ErrUnavailable)
	}
	if err != nil {
		return 0, err
	}
	return stores[0].FreeClusters, nil
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
		free, err := h.freeClusters(ctx, where.Lvstore)
		return err == nil && free == 0
	}
	var stat iostat
	var controllers []spdktypes.BdevNvmeControllerInfo
	count := newCall("bdev_get_iostat", spdktypes.BdevIostatRequest{Name: bdev}, &stat)
	look := newCall("bdev_nvme_get_controllers", spdktypes.BdevNvmeGetControllersRequest{Name: controllerName(where.Remote.Subnqn)}, &controllers)
	h.rpc.do(ctx, count, look)
	if count.err != nil || look.err != nil || len(stat.Bdevs) != 1 || len(stat.Bdevs[0].Errors) == 0 {
		return false
	}
	for _, controller := range controllers {
		for _, path := range controller.Ctrlrs {
			if path.State != controllerEnabled {
				return false
			}
		}
	}
	return len(controllers) > 0
}
