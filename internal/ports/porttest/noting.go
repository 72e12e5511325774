package porttest

import (
	"context"
	"sync"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// notingHost records every name that it is asked to give. An lvol of any other name is
// a helper that the adapter has left behind.
type notingHost struct {
	ports.Host
	mu    sync.Mutex
	names map[string]bool
}

func (h *notingHost) note(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.names[name] = true
}

func (h *notingHost) wasAsked(name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.names[name]
}

func (h *notingHost) Create(ctx context.Context, name string, size uint64) (string, error) {
	h.note(name)
	return h.Host.Create(ctx, name, size)
}

func (h *notingHost) Seal(ctx context.Context, uuid, name string, seal ports.SealRecord) (string, error) {
	h.note(name)
	return h.Host.Seal(ctx, uuid, name, seal)
}

func (h *notingHost) Clone(ctx context.Context, snapshot, name string, size uint64, record string) (string, error) {
	h.note(name)
	return h.Host.Clone(ctx, snapshot, name, size, record)
}

func (h *notingHost) Snapshot(ctx context.Context, uuid, name string, attributes domain.Attributes) (string, error) {
	h.note(name)
	return h.Host.Snapshot(ctx, uuid, name, attributes)
}

// notingRenamer is the host of a notingHost as a Renamer.
type notingRenamer struct {
	ports.Renamer
	noting *notingHost
}

func (r notingRenamer) Rename(ctx context.Context, uuid, name string) error {
	r.noting.note(name)
	return r.Renamer.Rename(ctx, uuid, name)
}
