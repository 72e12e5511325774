package spdk

import (
	"cmp"
	"context"
	"fmt"
	"sync"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Clone implements ports.Store. Where a clone or a create is all that it takes,
// it gives the name at once. Else the lvol is made under an in-flight name and
// renamed when it is ready; both targets rename writable lvols.
func (h *Host) Clone(ctx context.Context, snapshot, name string, size uint64, record string) (string, error) {
	uuid, err := h.clone(ctx, snapshot, name, size, record)
	if err != nil {
		return "", h.store.Failed(err, "clone snapshot %q as %s of %d bytes", snapshot, name, size)
	}
	return uuid, nil
}

func (h *Host) clone(ctx context.Context, snapshot, name string, size uint64, record string) (string, error) {
	if err := h.checkName(name); err != nil {
		return "", err
	}
	mib, err := h.mebibytes(size)
	if err != nil {
		return "", err
	}
	if !h.store.Can.Records {
		record = ""
	}
	build := func(as string) (string, error) { return h.create(ctx, as, size) }
	look := func() (grow bool, err error) { return false, nil }
	var parent string // its name
	if snapshot != "" {
		unlock, err := h.lock(ctx, snapshot)
		if err != nil {
			return "", err
		}
		defer unlock()
		h.sweep(ctx)
		build = func(as string) (string, error) { return h.cloneNow(ctx, snapshot, as) }
		look = func() (grow bool, err error) {
			parent, grow, err = h.outgrows(ctx, snapshot, size)
			return grow, err
		}
	}
	if record == "" {
		if grow, err := look(); err != nil {
			return "", err
		} else if !grow {
			uuid, err := build(name)
			if err == nil {
				h.noteHead(uuid, parent)
			}
			return uuid, err
		}
	}

	made := helpers{host: h}
	defer made.tidy(ctx)
	replica := name
	if of, itself := domain.ReplicaInFlight(name); itself {
		replica = of
	}
	inFlight := domain.InFlightLvolName(replica, newID())
	// The look shares the clone's round trip: what it forbids goes again.
	var grow bool
	var forbidden error
	var looking sync.WaitGroup
	looking.Go(func() { grow, forbidden = look() })
	uuid, err := build(inFlight)
	looking.Wait()
	// By its name: where the answer to the rename is lost, it may be what was asked for.
	if err == nil || rpc.OutcomeUnknown(err) {
		made.add(h.store.Alias(inFlight))
	}
	if err := cmp.Or(forbidden, err); err != nil {
		return "", err
	}
	if grow {
		if err := h.resize(ctx, uuid, mib); err != nil {
			return "", err
		}
	}
	if record != "" {
		if err := h.setRecord(ctx, uuid, record); err != nil {
			return "", err
		}
	}
	if err := rpc.RenameLvol(uuid, name).Do(ctx, h.rpc); err != nil {
		return "", err
	}
	made.keep(h.store.Alias(inFlight))
	h.noteHead(uuid, parent)
	return uuid, nil
}

// outgrows reports whether a clone of the snapshot has to be resized to have so
// many bytes, and the snapshot's name. One that would be shorter is refused.
func (h *Host) outgrows(ctx context.Context, snapshot string, size uint64) (name string, grow bool, err error) {
	below, err := h.store.Find(ctx, snapshot)
	switch {
	case err != nil:
		return "", false, err
	case !below.ReadOnly():
		return "", false, fmt.Errorf("%s is writable: %w", below.LvolName(), ports.ErrInvalid)
	case h.wholeClusters(size) < below.Size():
		return "", false, fmt.Errorf("it would be shorter than %s, which has %d bytes: %w", below.LvolName(), below.Size(), ports.ErrInvalid)
	}
	return below.LvolName(), h.wholeClusters(size) != below.Size(), nil
}
