package spdk

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmf"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// PrepareGraft implements ports.Preparer: it makes the spacer, which takes three of the
// six round trips of such a graft and depends on nothing but the lvol's size.
func (h *Host) PrepareGraft(ctx context.Context, run ports.Run, size uint64, parent string) (err error) {
	defer h.store.Explain(&err, "prepare a graft of %d bytes onto lvol %s", size, parent)
	if err := nvmf.CheckRun(run); err != nil {
		return err
	}
	unlock, err := h.lvols.lock(ctx, parent)
	if err != nil {
		return err
	}
	defer unlock()
	s, err := h.lvols.newSpacer(ctx, func() string { return domain.InFlightLvolName(run.Replica, newID()) }, size, parent)
	if err != nil {
		return err
	}
	h.prepared.add(preparedGraft{spacer: s, run: run, size: h.lvols.wholeClusters(size), parent: parent})
	return nil
}

// graftPrepared grafts over a spacer that was prepared; the parent's lock must be held.
// done is false if there is no such spacer, or it has gone since.
func (h *Host) graftPrepared(ctx context.Context, uuid, parent string) (done bool, err error) {
	child, known := h.drafts.Find(uuid)
	if !known {
		return false, nil
	}
	between := h.prepared.take(child, parent)
	if between == nil {
		return false, nil
	}
	err = between.graft(ctx, uuid)
	gone := errors.Is(err, ports.ErrNotFound) || errors.Is(err, ports.ErrInvalid)
	return !gone, err
}

// preparedGraft is a spacer that was made before there was an lvol to graft.
type preparedGraft struct {
	*spacer

	run    ports.Run
	size   uint64 // bytes
	parent string // UUID
}

// preparedGrafts are those that no graft has taken yet.
type preparedGrafts struct {
	mu   sync.Mutex
	list []preparedGraft
}

func (p *preparedGrafts) add(one preparedGraft) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = append(p.list, one)
}

// take hands over a spacer that a run of the child's replica has prepared for such a
// graft; nil: none. Another replica's spacer is not used: that replica's next run removes
// it by its name.
func (p *preparedGrafts) take(child draft, parent string) *spacer {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := slices.IndexFunc(p.list, func(one preparedGraft) bool {
		return one.run.Replica == child.replica && one.size == child.size && one.parent == parent
	})
	if at < 0 {
		return nil
	}
	taken := p.list[at].spacer
	p.list = slices.Delete(p.list, at, at+1)
	return taken
}

// undo removes the spacers that runs have prepared and not used.
func (p *preparedGrafts) undo(ctx context.Context, which nvmf.Runs) {
	var undone []preparedGraft
	p.mu.Lock()
	p.list = slices.DeleteFunc(p.list, func(one preparedGraft) bool {
		if which(one.run) {
			undone = append(undone, one)
		}
		return which(one.run)
	})
	p.mu.Unlock()
	for _, one := range undone {
		one.made.tidy(ctx)
	}
}
