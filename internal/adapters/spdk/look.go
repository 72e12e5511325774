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

// Look implements ports.Looker. It is one call, and one more write for the parent's
// UUID, for records that are not known yet, and for the user of an lvol that had none when it
// was looked at before. A head that was seen before takes one write.
func (h *Host) Look(ctx context.Context, uuid string) (domain.Lvol, error) {
	l, err := h.view.look(ctx, uuid)
	return l, h.store.Failed(err, "look at lvol %s", uuid)
}

// Count implements ports.Counter, by one call where Look takes two writes.
func (h *Host) Count(ctx context.Context, uuid string) (own uint64, err error) {
	defer h.store.Explain(&err, "count the clusters of lvol %s", uuid)
	b, err := h.store.Find(ctx, uuid)
	if errors.Is(err, ports.ErrNotFound) {
		if _, err = h.view.lookAtDegraded(ctx, uuid, err); err == nil {
			err = fmt.Errorf("it is degraded, so the target does not tell: %w", ports.ErrUnavailable)
		}
	}
	if err != nil {
		return 0, err
	}
	return b.Own(), nil
}

// FreeClusters implements ports.Gauge, by one of the calls of a List.
func (h *Host) FreeClusters(ctx context.Context) (uint64, error) {
	free, err := h.store.Client.FreeClusters(ctx, h.store.UUID)
	return free, h.store.Failed(err, "tell what is free")
}

func (v *view) look(ctx context.Context, uuid string) (domain.Lvol, error) {
	if head, done, err := v.lookAtHead(ctx, uuid); done {
		return head, err
	}
	wait := rpc.BackOff{}
	for attempt := 1; ; attempt++ {
		b, claims, err := v.find(ctx, uuid)
		if errors.Is(err, ports.ErrNotFound) {
			return v.lookAtDegraded(ctx, uuid, err)
		}
		if err != nil {
			return domain.Lvol{}, err
		}
		l, err := v.lookFurther(ctx, b, claims)
		// Not found: the lvol has gone since, or the parent has another name by now.
		if err == nil || !errors.Is(err, ports.ErrNotFound) || attempt == looks || !wait.Next(ctx) {
			return l, rpc.Unavailable(err)
		}
	}
}

// find looks at an lvol and, if somebody used it before, who does now. claims is nil if they
// were not asked.
func (v *view) find(ctx context.Context, uuid string) (b *rpc.Bdev, asked *claims, err error) {
	look := rpc.GetBdev(uuid)
	calls := []rpc.Request{look}
	if _, used := v.used.Find(uuid); used {
		asked = askClaims()
		calls = append(calls, asked.calls()...)
	}
	v.store.Client.Do(ctx, calls...)
	b, err = v.store.Found(look, uuid)
	return b, asked, err
}

// lookFurther adds to an lvol what bdev_get_bdevs does not tell, in one write.
func (v *view) lookFurther(ctx context.Context, b *rpc.Bdev, claims *claims) (domain.Lvol, error) {
	l := lvolOf(b, "")
	asked := v.askRecorded(&l)
	calls := rpc.Requests(asked)
	name := b.Driver.Lvol.BaseSnapshot
	look := rpc.GetBdev(v.store.Alias(name))
	if name != "" {
		calls = append(calls, look)
	}
	isUsed := b.Claimed && !v.exports.Receives(b.UUID)
	if isUsed && claims == nil {
		claims = askClaims()
		calls = append(calls, claims.calls()...)
		v.used.Set(b.UUID, struct{}{})
	}
	if !isUsed {
		v.used.Take(b.UUID)
	}
	v.store.Client.Do(ctx, calls...)
	if isUsed {
		if err := claims.err(); err != nil {
			return domain.Lvol{}, err
		}
		l.UsedBy = claims.user(b, l.Name)
	}
	if err := v.takeRecorded(&l, asked); err != nil || name == "" {
		return l, err
	}
	parent, err := v.store.Found(look, name)
	if err != nil {
		return domain.Lvol{}, fmt.Errorf("its parent %s: %w", name, err)
	}
	l.Parent = parent.UUID
	return l, nil
}

// lookAtHead is Look by one write, for a head that has not changed since it was seen
// last. Otherwise done is false.
func (v *view) lookAtHead(ctx context.Context, uuid string) (l domain.Lvol, done bool, err error) {
	parent, known := v.heads.Find(uuid)
	if !known {
		return domain.Lvol{}, false, nil
	}
	look, lookParent := rpc.GetBdev(uuid), rpc.GetBdev(v.store.Alias(parent))
	var record []*xattrCall
	if v.store.Can.Records {
		record = askXattrs(uuid, xattrsOfHead)
	}
	calls := []rpc.Request{look}
	if parent != "" {
		calls = append(calls, lookParent)
	}
	calls = append(calls, rpc.Requests(record)...)
	v.store.Client.Do(ctx, calls...)
	if err := rpc.FirstUnknown(calls); err != nil {
		return domain.Lvol{}, true, err
	}
	// If something is missing or has changed, done is false, and the usual look tells.
	b, _ := v.store.Found(look, uuid)
	if b == nil || b.Claimed || b.Driver.Lvol.BaseSnapshot != parent {
		return domain.Lvol{}, false, nil
	}
	if l = lvolOf(b, ""); !v.isHead(&l) {
		return domain.Lvol{}, false, nil
	}
	if parent != "" {
		p, _ := v.store.Found(lookParent, parent)
		if p == nil {
			return domain.Lvol{}, false, nil
		}
		l.Parent = p.UUID
	}
	err = v.takeRecorded(&l, record)
	if errors.Is(err, ports.ErrNotFound) {
		return domain.Lvol{}, false, nil
	}
	return l, true, err
}

// lookAtDegraded finds an lvol that has no bdev.
func (v *view) lookAtDegraded(ctx context.Context, uuid string, missing error) (domain.Lvol, error) {
	l, err := v.findDegraded(ctx, uuid)
	if errors.Is(err, ports.ErrNotFound) {
		return domain.Lvol{}, missing
	}
	if err != nil {
		return domain.Lvol{}, err
	}
	return degraded(&l), nil
}

// findDegraded finds an lvol that is listed by bdev_lvol_get_lvols alone.
func (v *view) findDegraded(ctx context.Context, uuid string) (spdktypes.LvolInfo, error) {
	all, err := rpc.GetLvols(v.store.UUID).Do(ctx, v.store.Client)
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
