package spdk

import (
	"context"
	"errors"
	"fmt"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Look implements ports.Looker. It is one call, and where there is a parent,
// whose UUID is not told, or something recorded that is not known yet, one more
// write, but for heads that were seen before.
func (h *Host) Look(ctx context.Context, uuid string) (domain.Lvol, error) {
	l, err := h.look(ctx, uuid)
	return l, h.store.Failed(err, "look at lvol %s", uuid)
}

func (h *Host) look(ctx context.Context, uuid string) (domain.Lvol, error) {
	if head, done, err := h.lookAtHead(ctx, uuid); done {
		return head, err
	}
	wait := rpc.BackOff{}
	for attempt := 1; ; attempt++ {
		b, err := h.store.Find(ctx, uuid)
		if errors.Is(err, ports.ErrNotFound) {
			return h.lookAtDegraded(ctx, uuid, err)
		}
		if err != nil {
			return domain.Lvol{}, err
		}
		l := lvolOf(b, "")
		asked := h.askAttributes(&l)
		var calls []rpc.Request
		for _, one := range asked {
			calls = append(calls, one)
		}
		name := b.Driver.Lvol.BaseSnapshot
		ask := rpc.GetBdev(h.store.Alias(name))
		if name != "" {
			calls = append(calls, ask)
		}
		var claims *claims
		if b.Claimed && !h.exports.Receives(uuid) {
			claims = askClaims()
			calls = append(calls, claims.calls()...)
		}
		h.rpc.Do(ctx, calls...)
		if claims != nil {
			if err := claims.err(); err != nil {
				return domain.Lvol{}, err
			}
			l.UsedBy = claims.user(b, l.Name)
		}
		if err = h.takeAttributes(&l, asked); err == nil {
			if name == "" {
				return l, nil
			}
			var parent *rpc.Bdev
			if parent, err = h.store.Found(ask, name); err == nil {
				l.Parent = parent.UUID
				return l, nil
			}
			err = fmt.Errorf("its parent %s: %w", name, err)
		}
		// Either has gone since, or the parent is called otherwise: look again.
		if !errors.Is(err, ports.ErrNotFound) || attempt == looks || !wait.Next(ctx) {
			return domain.Lvol{}, rpc.Unavailable(err)
		}
	}
}

// Count implements ports.Counter by one call, where Look takes two writes: the
// UUID of the parent is not told.
func (h *Host) Count(ctx context.Context, uuid string) (uint64, error) {
	b, err := h.store.Find(ctx, uuid)
	if errors.Is(err, ports.ErrNotFound) {
		if _, err = h.lookAtDegraded(ctx, uuid, err); err == nil {
			err = fmt.Errorf("it is degraded, so the target does not tell: %w", ports.ErrUnavailable)
		}
	}
	if err != nil {
		return 0, h.store.Failed(err, "count the clusters of lvol %s", uuid)
	}
	return b.Own(), nil
}

// FreeClusters implements ports.Gauge, by one of the calls of a List.
func (h *Host) FreeClusters(ctx context.Context) (uint64, error) {
	free, err := h.rpc.FreeClusters(ctx, h.store.UUID)
	return free, h.store.Failed(err, "tell what is free")
}

// lookAtDegraded finds an lvol that has no bdev.
func (h *Host) lookAtDegraded(ctx context.Context, uuid string, missing error) (domain.Lvol, error) {
	l, err := h.findDegraded(ctx, uuid)
	if errors.Is(err, ports.ErrNotFound) {
		return domain.Lvol{}, missing
	}
	if err != nil {
		return domain.Lvol{}, err
	}
	return degraded(&l), nil
}

// findDegraded finds an lvol that is listed by bdev_lvol_get_lvols alone.
func (h *Host) findDegraded(ctx context.Context, uuid string) (spdktypes.LvolInfo, error) {
	all, err := rpc.GetLvols(h.store.UUID).Do(ctx, h.rpc)
	if err != nil {
		return spdktypes.LvolInfo{}, err
	}
	for _, l := range all {
		if l.UUID == uuid && l.IsDegraded {
			return l, nil
		}
	}
	return spdktypes.LvolInfo{}, fmt.Errorf("lvol %s: %w", uuid, ports.ErrNotFound)
}
