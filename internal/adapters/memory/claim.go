package memory

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/rootgraft/rebuild/internal/ports"
)

// Claim implements ports.Claimer. It is a lock of the process and asks nothing
// of the store, so no fault is injected into it.
func (h *Host) Claim(_ context.Context, name string) (release func(), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.claimed[name] {
		return nil, h.failed("claim "+name, fmt.Errorf("somebody else has it: %w", ports.ErrBusy))
	}
	h.claimed[name] = true
	return sync.OnceFunc(func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.claimed, name)
	}), nil
}

// Opened implements ports.Collector: received lvols, and copies that are sent.
func (h *Host) Opened(ctx context.Context) ([]ports.Opened, error) {
	var found []ports.Opened
	err := h.carryOut(ctx, Call{Method: "opened"}, "list what runs have opened", func() (change, error) {
		return change{apply: func() error {
			for _, id := range slices.Sorted(maps.Keys(h.receptions)) {
				r := h.receptions[id]
				found = append(found, ports.Opened{Run: r.run, What: "reception into " + r.into.name})
			}
			for op := range h.operations {
				if op.sends {
					found = append(found, ports.Opened{Run: op.run, What: "copy of " + op.locks[0].name})
				}
			}
			return nil
		}}, nil
	})
	return found, err
}
