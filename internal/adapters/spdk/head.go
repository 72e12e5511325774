package spdk

import (
	"context"
	"errors"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// isHead tells what may have a record: what is in flight has none yet, and what bears
// an image's name has that of an image.
func (h *Host) isHead(l *domain.Lvol) bool {
	_, image := domain.ImageOfLvolName(l.Name, h.store.UUID)
	return !l.ReadOnly && !l.Degraded && !image && !inFlightSuffix.MatchString(l.Name)
}

// noteHeads remembers the heads of a listing, and what they hang on, by name.
func (h *Host) noteHeads(listed []domain.Lvol) {
	names := make(map[string]string, len(listed))
	for _, l := range listed {
		names[l.UUID] = l.Name
	}
	heads := make(map[string]string)
	for i := range listed {
		if h.isHead(&listed[i]) {
			heads[listed[i].UUID] = names[listed[i].Parent]
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.heads = heads
}

func (h *Host) noteHead(uuid, parentName string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.heads[uuid] = parentName
}

// askRecords asks for the records of all known heads.
func (h *Host) askRecords() map[string]*xattrCall {
	if !h.store.Can.Records {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	asked := make(map[string]*xattrCall, len(h.heads))
	for uuid := range h.heads {
		asked[uuid] = askRecord(uuid)
	}
	return asked
}

// lookAtHead is Look by one write, of a head that is what it was when it was seen last.
// It is not done where it is not.
func (h *Host) lookAtHead(ctx context.Context, uuid string) (l domain.Lvol, done bool, err error) {
	h.mu.Lock()
	parent, known := h.heads[uuid]
	h.mu.Unlock()
	if !known {
		return domain.Lvol{}, false, nil
	}
	look, under, record := rpc.GetBdev(uuid), rpc.GetBdev(h.store.Alias(parent)), askRecord(uuid)
	calls := []rpc.Request{look}
	if parent != "" {
		calls = append(calls, under)
	}
	if h.store.Can.Records {
		calls = append(calls, record)
	}
	h.rpc.Do(ctx, calls...)
	for _, err := range []error{look.Err, under.Err, record.Err} {
		if rpc.OutcomeUnknown(err) {
			return domain.Lvol{}, true, err
		}
	}
	// Where something is not there, or another, the usual look tells.
	b, _ := h.store.Found(look, uuid)
	if b == nil || b.Claimed || b.Driver.Lvol.BaseSnapshot != parent {
		return domain.Lvol{}, false, nil
	}
	if l = lvolOf(b, ""); !h.isHead(&l) {
		return domain.Lvol{}, false, nil
	}
	if parent != "" {
		p, _ := h.store.Found(under, parent)
		if p == nil {
			return domain.Lvol{}, false, nil
		}
		l.Parent = p.UUID
	}
	if h.store.Can.Records {
		if err := h.takeAttributes(&l, []*xattrCall{record}); errors.Is(err, ports.ErrNotFound) {
			return domain.Lvol{}, false, nil
		} else if err != nil {
			return domain.Lvol{}, true, err
		}
	}
	return l, true, nil
}
