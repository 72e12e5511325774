package spdk

import (
	"context"
	"errors"
	"fmt"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Look implements ports.Looker. It is one call, and where there is a parent,
// whose UUID is not told, or something recorded that is not known yet, one more
// write, but for heads that were seen before.
func (h *Host) Look(ctx context.Context, uuid string) (domain.Lvol, error) {
	l, err := h.look(ctx, uuid)
	return l, h.failed(err, "look at lvol %s", uuid)
}

func (h *Host) look(ctx context.Context, uuid string) (domain.Lvol, error) {
	if head, done, err := h.lookAtHead(ctx, uuid); done {
		return head, err
	}
	wait := backOff{}
	for attempt := 1; ; attempt++ {
		b, err := h.find(ctx, uuid)
		if errors.Is(err, ports.ErrNotFound) {
			return h.lookAtDegraded(ctx, uuid, err)
		}
		if err != nil {
			return domain.Lvol{}, err
		}
		l := b.lvol("")
		asked := h.askAttributes(&l)
		var calls []*call
		for _, one := range asked {
			calls = append(calls, one.call)
		}
		name := b.Driver.Lvol.BaseSnapshot
		var below []bdev
		ask := getBdev(h.alias(name), &below)
		if name != "" {
			calls = append(calls, ask)
		}
		var claims *claims
		if b.Claimed && !h.receives(uuid) {
			claims = askClaims()
			calls = append(calls, claims.calls...)
		}
		h.rpc.do(ctx, calls...)
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
			var parent *bdev
			if parent, err = h.ours(ask, name, below); err == nil {
				l.Parent = parent.UUID
				return l, nil
			}
			err = fmt.Errorf("its parent %s: %w", name, err)
		}
		// Either has gone since, or the parent is called otherwise: look again.
		if !errors.Is(err, ports.ErrNotFound) || attempt == looks || !wait.next(ctx) {
			return domain.Lvol{}, unavailable(err)
		}
	}
}

// Count implements ports.Counter by one call, where Look takes two writes: the
// UUID of the parent is not told.
func (h *Host) Count(ctx context.Context, uuid string) (uint64, error) {
	b, err := h.find(ctx, uuid)
	if errors.Is(err, ports.ErrNotFound) {
		if _, err = h.lookAtDegraded(ctx, uuid, err); err == nil {
			err = fmt.Errorf("it is degraded, so the target does not tell: %w", ports.ErrUnavailable)
		}
	}
	if err != nil {
		return 0, h.failed(err, "count the clusters of lvol %s", uuid)
	}
	return b.own(), nil
}

// unavailable keeps the text of an error that is not about the lvol asked for.
func unavailable(err error) error {
	if errors.Is(err, ports.ErrNotFound) {
		return as(ports.ErrUnavailable, err)
	}
	return err
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
	return l.degraded(), nil
}

// findDegraded finds an lvol that is listed by bdev_lvol_get_lvols alone.
func (h *Host) findDegraded(ctx context.Context, uuid string) (lvolInfo, error) {
	var all []lvolInfo
	if err := h.rpc.call(ctx, "bdev_lvol_get_lvols", getLvolsRequest{LvsUUID: h.storeUUID}, &all); err != nil {
		return lvolInfo{}, err
	}
	for _, l := range all {
		if l.UUID == uuid && l.IsDegraded {
			return l, nil
		}
	}
	return lvolInfo{}, fmt.Errorf("lvol %s: %w", uuid, ports.ErrNotFound)
}
