package main

import (
	"context"
	"fmt"
	"maps"

	"github.com/rootgraft/rebuild"
)

// reception lets one peer copy into an lvol.
type reception struct {
	host *host
	into *lvol
	run  rebuild.Run
	from rebuild.Peer
}

// Peer implements rebuild.Copier.
func (h *host) Peer(context.Context) (rebuild.Peer, error) { return rebuild.Peer(h.uuid), nil }

// Receive implements rebuild.Copier. Addresses are not reused: a late copy must not write
// to another lvol.
func (h *host) Receive(ctx context.Context, run rebuild.Run, uuid string, from rebuild.Peer) (address rebuild.Address, err error) {
	err = h.do(ctx, func() error {
		into, err := h.findWritable(uuid)
		if err != nil {
			return err
		}
		h.opened++
		address = rebuild.Address(fmt.Sprintf("%s/%d", h.name, h.opened))
		h.received[address] = &reception{host: h, into: into, run: run, from: from}
		return nil
	})
	return address, err
}

// Withdraw implements rebuild.Copier.
func (h *host) Withdraw(ctx context.Context, _ rebuild.Run, uuid string) error {
	return h.do(ctx, func() error {
		h.void(func(r *reception) bool { return r.into.UUID == uuid })
		return nil
	})
}

// Release implements rebuild.Copier. On this host only receptions outlive a call.
func (h *host) Release(ctx context.Context, run rebuild.Run) error {
	return h.do(ctx, func() error {
		h.void(func(r *reception) bool { return r.run.SameReplica(run) })
		return nil
	})
}

// void ends receptions of this host: copies to them fail at their next cluster.
func (h *host) void(which func(*reception) bool) {
	maps.DeleteFunc(h.received, func(_ rebuild.Address, r *reception) bool { return r.host == h && which(r) })
}

// Copy implements rebuild.Copier. Other calls may run between two clusters, so it looks up
// the address for each.
func (h *host) Copy(ctx context.Context, _ rebuild.Run, snapshot string, to rebuild.Address, progress rebuild.Progress) error {
	var source *lvol
	err := h.do(ctx, func() (err error) {
		if source, err = h.findSnapshot(snapshot); err == nil {
			_, err = h.receiver(source, to)
		}
		return err
	})
	if err != nil {
		return err
	}
	own := positions(source) // a snapshot never changes
	for i, at := range own {
		err := h.do(ctx, func() error {
			r, err := h.receiver(source, to)
			if err != nil {
				return err
			}
			return r.host.put(r.into, at, source.own[at])
		})
		if err != nil {
			return fmt.Errorf("copy lvol %s to %s: %w", source.Name, to, err)
		}
		progress(uint64(i)+1, uint64(len(own)))
	}
	return nil
}

// receiver is the reception at an address.
func (h *host) receiver(source *lvol, to rebuild.Address) (*reception, error) {
	r, ok := h.received[to]
	switch {
	case !ok || r.from != rebuild.Peer(h.uuid):
		return nil, fmt.Errorf("address %s is void: %w", to, rebuild.ErrUnavailable)
	case r.into.Size < source.Size:
		return nil, fmt.Errorf("lvol %s is shorter than %s: %w", r.into.Name, source.Name, rebuild.ErrInvalid)
	}
	return r, nil
}
