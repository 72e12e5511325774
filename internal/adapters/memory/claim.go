package memory

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/rootgraft/rebuild/internal/ports"
)

// Claim implements ports.Claimer. It is a lock of the process and does not use the
// store, so it gets no injected faults.
func (h *Host) Claim(ctx context.Context, name string) (release func(), err error) {
	return h.Lease(ctx, name, ports.Lease{})
}

// Lease implements ports.Leaser.
func (h *Host) Lease(_ context.Context, name string, lease ports.Lease) (release func(), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if held := h.claimed[name]; len(held) > 0 && !(lease.Shared && held[0].Shared) {
		err := &ports.HeldError{}
		for _, other := range held {
			if other.Holder != "" {
				err.Holders = append(err.Holders, other.Holder)
			}
		}
		if len(err.Holders) == 0 {
			return nil, h.wrap("claim "+name, fmt.Errorf("another process has it: %w", ports.ErrBusy))
		}
		return nil, h.wrap("claim "+name, err)
	}
	it := &lease
	h.claimed[name] = append(h.claimed[name], it)
	return sync.OnceFunc(func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		left := slices.DeleteFunc(h.claimed[name], func(other *ports.Lease) bool { return other == it })
		if h.claimed[name] = left; len(left) == 0 {
			delete(h.claimed, name)
		}
	}), nil
}

// Identity implements ports.Identifier.
func (h *Host) Identity() (uuid, name string) { return h.config.UUID, h.config.Name }

// Opened implements ports.Collector: receptions, open bytes, ways, connections and copies
// from this host.
func (h *Host) Opened(ctx context.Context) ([]ports.Opened, error) {
	var found []ports.Opened
	err := h.perform(ctx, Call{Method: "opened"}, "list opened resources", func() error {
		for _, id := range slices.Sorted(maps.Keys(h.receptions)) {
			r := h.receptions[id]
			found = append(found, ports.Opened{Run: r.run, What: "reception into " + r.into.name})
		}
		for o := range h.openings {
			found = append(found, ports.Opened{Run: o.run, What: "bytes of " + o.lvol.name})
		}
		found = append(found, h.openedWays()...)
		for op := range h.operations {
			if op.sends {
				found = append(found, ports.Opened{Run: op.run, What: "copy of " + op.locks[0].name})
			}
		}
		return nil
	})
	return found, err
}
