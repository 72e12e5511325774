package memory

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/rootgraft/rebuild/internal/ports"
)

// Claim implements ports.Claimer. It is a lock of the process and does not use the
// store, so it gets no injected faults.
func (h *Host) Claim(ctx context.Context, name string) (release func(), err error) {
	return h.Lease(ctx, name, ports.Lease{})
}

// Lease implements ports.Leaser.
func (h *Host) Lease(_ context.Context, name string, lease ports.Lease) (release func(), err error) {
	release, err = h.leases.Take(name, lease)
	var held *ports.HeldError
	if errors.As(err, &held) && len(held.Holders) == 0 {
		err = fmt.Errorf("another process has it: %w", ports.ErrBusy)
	}
	return release, h.wrap("claim "+name, err)
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
