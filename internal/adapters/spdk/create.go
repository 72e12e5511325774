package spdk

import (
	"context"
	"fmt"

	helpertypes "github.com/longhorn/go-spdk-helper/pkg/types"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Create implements ports.Store.
//
// No clear method is asked for: it says how clusters are cleared when they are
// given back, and the store's own is the operator's choice. Nor is one needed
// here: a cluster without data reads as zeros, and copies write whole clusters,
// so that what the disk held before never shows.
func (h *Host) Create(ctx context.Context, name string, size uint64) (string, error) {
	uuid, err := h.create(ctx, name, size)
	if err == nil {
		h.mu.Lock()
		h.writable[uuid] = madeAs(name, h.wholeClusters(size))
		h.mu.Unlock()
	}
	return uuid, h.store.Failed(err, "create lvol %s of %d bytes", name, size)
}

func (h *Host) create(ctx context.Context, name string, size uint64) (string, error) {
	if err := h.checkName(name); err != nil {
		return "", err
	}
	mib, err := h.mebibytes(size)
	if err != nil {
		return "", err
	}
	return rpc.CreateLvol(h.store.UUID, name, mib).Do(ctx, h.rpc)
}

// mebibytes is a size as SPDK takes it. It rounds up to clusters by itself;
// where these are smaller than a MiB, some sizes cannot be said.
func (h *Host) mebibytes(size uint64) (uint64, error) {
	if size == 0 {
		return 0, fmt.Errorf("a size of 0 bytes: %w", ports.ErrInvalid)
	}
	mib := (size-1)/helpertypes.MiB + 1
	if wanted, got := h.wholeClusters(size), h.wholeClusters(mib*helpertypes.MiB); wanted != got {
		return 0, fmt.Errorf("%d bytes are not a whole number of MiB, SPDK would make them %d: %w", size, got, ports.ErrInvalid)
	}
	return mib, nil
}

// checkName refuses what the target would refuse with a bare "Invalid
// argument".
func (h *Host) checkName(name string) error {
	if limit := h.store.Can.NameLimit; len(name) > limit {
		return fmt.Errorf("name %s has %d bytes, the target takes %d: %w", name, len(name), limit, ports.ErrInvalid)
	}
	return nil
}

func (h *Host) wholeClusters(size uint64) uint64 {
	return ((size-1)/h.store.ClusterSize + 1) * h.store.ClusterSize
}

// made is what is known of an lvol without a look.
type made struct {
	replica string // whose it is, in flight; "": nobody's
	size    uint64 // bytes
}

func madeAs(name string, size uint64) made {
	replica, _ := domain.ReplicaInFlight(name)
	return made{replica, size}
}

// made is an lvol that this host has created, and neither sealed nor deleted: then it is
// there and writable, and needs no look.
func (h *Host) made(uuid string) (made, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l, is := h.writable[uuid]
	return l, is
}

func (h *Host) madeHere(uuid string) bool {
	_, is := h.made(uuid)
	return is
}

func (h *Host) notMadeHere(uuid string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.writable, uuid)
}
