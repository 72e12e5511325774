package spdk

import (
	"context"
	"fmt"
	"syscall"

	helpertypes "github.com/longhorn/go-spdk-helper/pkg/types"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Limit implements ports.Limiter, by the QoS of the lvol's bdev: it limits copies from
// other targets, too. SPDK counts whole MiB a second, so a rate is rounded down, but to
// one at least. A limit goes with the bdev: a snapshot of the lvol has none.
//
// Upstream SPDK changes or lifts a limit only while somebody has the bdev open, such as a
// copy into the lvol. ErrBusy: nobody has. The call opens the bdev itself, which begins
// to enable the limit (bdev_start_qos), and then finds that under way.
func (h *Host) Limit(ctx context.Context, uuid string, bytesPerSecond uint64) (err error) {
	defer h.store.Explain(&err, "limit lvol %s to %d bytes a second", uuid, bytesPerSecond)
	mib := uint64(rpc.NoLimit)
	if bytesPerSecond > 0 {
		mib = min(max(bytesPerSecond/helpertypes.MiB, 1), rpc.NoLimit)
	}
	if !h.isDraft(uuid) {
		// The target would limit whatever bdev is called that.
		if _, err := h.store.Find(ctx, uuid); err != nil {
			return err
		}
	}
	refused := rpc.LimitBdev(uuid, mib).Do(ctx, h.store.Client)
	if !rpc.RefusedAs(refused, syscall.EAGAIN) {
		return refused
	}
	l, err := h.store.Find(ctx, uuid)
	if err != nil {
		return err
	}
	if l.Limits.Mbytes == mib {
		return nil
	}
	return rpc.WithKind(ports.ErrBusy, fmt.Errorf("its limit can be changed only while it is written to: %w", refused))
}

// LeastLimit implements ports.LeastLimiter.
func (*Host) LeastLimit() uint64 { return helpertypes.MiB }
