package spdk

import (
	"context"
	"fmt"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmf"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Peer implements ports.Copier.
func (h *Host) Peer(ctx context.Context) (ports.Peer, error) {
	peer, err := h.exports.Peer(ctx)
	return peer, h.store.Failed(err, "find out who the target is")
}

// Receive implements ports.Copier: the lvol is exported to the peer, unless that is
// this very target.
func (h *Host) Receive(ctx context.Context, run ports.Run, uuid string, from ports.Peer) (where ports.Address, err error) {
	defer h.store.Explain(&err, "receive into lvol %s", uuid)
	to, err := nvmf.NewReception(run, uuid, from)
	if err != nil {
		return "", err
	}
	if !h.isDraft(uuid) {
		l, err := h.store.Find(ctx, uuid)
		if err != nil {
			return "", err
		}
		if l.ReadOnly() {
			return "", fmt.Errorf("%s is a snapshot: %w", l.LvolName(), ports.ErrInvalid)
		}
	}
	return h.exports.Receive(ctx, to)
}

// Withdraw implements ports.Copier.
func (h *Host) Withdraw(ctx context.Context, run ports.Run, uuid string) error {
	return h.store.Failed(h.exports.Withdraw(ctx, run, uuid), "withdraw lvol %s", uuid)
}

// Open implements ports.Opener, over NVMe/TCP: the lvol is exported to this process
// alone.
//
// ErrBusy: the lvol is exported already, is a RAID's base, or is copied into.
func (h *Host) Open(ctx context.Context, run ports.Run, uuid string) (b ports.Bytes, err error) {
	defer h.store.Explain(&err, "open lvol %s", uuid)
	if err := nvmf.CheckRun(run); err != nil {
		return nil, err
	}
	l, err := h.store.Find(ctx, uuid)
	if err != nil {
		return nil, err
	}
	if l.Claimed {
		return nil, fmt.Errorf("%s is in use: a RAID, an export or a copy has claimed it: %w", l.LvolName(), ports.ErrBusy)
	}
	opened, err := h.exports.Open(ctx, run, l)
	if err != nil {
		return nil, err
	}
	return opened, nil
}

// Release implements ports.Copier. The first one of a run ends what all runs of the
// replica have left; later ones of the same run end what was opened for it since.
func (h *Host) Release(ctx context.Context, run ports.Run) error {
	return h.store.Failed(h.exports.Release(ctx, run, h.ending(ctx)), "release what runs of replica %s have opened", run.Replica)
}

// End implements ports.Ender.
func (h *Host) End(ctx context.Context, run ports.Run) error {
	return h.store.Failed(h.exports.EndRun(ctx, run, h.ending(ctx)), "end what run %s of replica %s has opened", run.ID, run.Replica)
}

// Opened implements ports.Collector: the target's subsystems and controllers
// of rebuilds, whatever lvstore they serve.
func (h *Host) Opened(ctx context.Context) ([]ports.Opened, error) {
	found, err := h.exports.Opened(ctx)
	return found, h.store.Failed(err, "list what runs have opened")
}
