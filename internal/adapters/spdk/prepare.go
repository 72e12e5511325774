package spdk

import (
	"context"
	"errors"
	"slices"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmf"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// prepared is a spacer that was made before there was an lvol to graft.
type prepared struct {
	*spacer

	run    ports.Run
	size   uint64 // bytes
	parent string // UUID
}

// PrepareGraft implements ports.Preparer: it makes the spacer, which takes three of the
// six round trips that such a graft is made of, and needs nothing of the lvol but its
// size.
func (h *Host) PrepareGraft(ctx context.Context, run ports.Run, size uint64, parent string) error {
	return h.store.Failed(h.prepareGraft(ctx, run, size, parent), "prepare a graft of %d bytes onto lvol %s", size, parent)
}

func (h *Host) prepareGraft(ctx context.Context, run ports.Run, size uint64, parent string) error {
	if err := nvmf.CheckRun(run); err != nil {
		return err
	}
	unlock, err := h.lock(ctx, parent)
	if err != nil {
		return err
	}
	defer unlock()
	s, err := h.newSpacer(ctx, func() string { return domain.InFlightLvolName(run.Replica, newID()) }, size, parent)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.prepared = append(h.prepared, prepared{spacer: s, run: run, size: h.wholeClusters(size), parent: parent})
	return nil
}

// takePrepared is a spacer that the replica's run has prepared for such a graft, if it
// has. Whoever takes it sees to it from then on. Another replica's is left alone, for
// its next run removes it by its name, whatever hangs on it.
func (h *Host) takePrepared(of made, parent string) *spacer {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := slices.IndexFunc(h.prepared, func(p prepared) bool {
		return p.run.Replica == of.replica && p.size == of.size && p.parent == parent
	})
	if at < 0 {
		return nil
	}
	taken := h.prepared[at].spacer
	h.prepared = slices.Delete(h.prepared, at, at+1)
	return taken
}

// undoPrepared removes what runs have prepared and not used.
func (h *Host) undoPrepared(ctx context.Context, which func(ports.Run) bool) {
	var undone []prepared
	h.mu.Lock()
	h.prepared = slices.DeleteFunc(h.prepared, func(p prepared) bool {
		if which(p.run) {
			undone = append(undone, p)
		}
		return which(p.run)
	})
	h.mu.Unlock()
	for _, p := range undone {
		p.made.tidy(ctx)
	}
}

// graftPrepared grafts over a spacer that was prepared, whose parent's lock must be held.
// It is not done where there is none, or where it has gone since: then the graft takes
// the usual way.
func (h *Host) graftPrepared(ctx context.Context, uuid, parent string) (done bool, err error) {
	child, known := h.made(uuid)
	if !known {
		return false, nil
	}
	between := h.takePrepared(child, parent)
	if between == nil {
		return false, nil
	}
	err = h.passOver(ctx, between, uuid)
	gone := errors.Is(err, ports.ErrNotFound) || errors.Is(err, ports.ErrInvalid)
	return !gone, err
}
