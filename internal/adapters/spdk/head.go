package spdk

import (
	"context"
	"errors"
	"fmt"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// isHead tells what may have a record: what is in flight has none yet, and what bears
// an image's name has that of an image.
func (h *Host) isHead(l *domain.Lvol) bool {
	_, image := domain.ImageOfLvolName(l.Name, h.storeUUID)
	return !l.ReadOnly && !l.Degraded && !image && !inFlightSuffix.MatchString(l.Name)
}

// recordCall asks for the record of a head. Others may write it, so it is asked for
// each time; that an lvol is a head seldom changes, so it can be asked for in the write
// that looks at the lvol.
type recordCall struct {
	*call
	value string
}

func askRecord(uuid string) *recordCall {
	r := &recordCall{}
	r.call = newCall("bdev_lvol_get_xattr", spdktypes.BdevLvolGetXattrRequest{Name: uuid, XattrName: xattrRecord}, &r.value)
	return r
}

// take stores the answer. No record is no error.
func (r *recordCall) take(l *domain.Lvol) error {
	switch {
	case r.err == nil:
		l.Record = r.value
	case !isMissingXattr(r.err):
		return fmt.Errorf("the record of lvol %s: %w", l.Name, r.err)
	}
	return nil
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
func (h *Host) askRecords() map[string]*recordCall {
	if !h.can.records {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	asked := make(map[string]*recordCall, len(h.heads))
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
	var found, below []bdev
	look, under, record := getBdev(uuid, &found), getBdev(h.alias(parent), &below), askRecord(uuid)
	calls := []*call{look}
	if parent != "" {
		calls = append(calls, under)
	}
	if h.can.records {
		calls = append(calls, record.call)
	}
	h.rpc.do(ctx, calls...)
	for _, one := range calls {
		if unsaid(one.err) {
			return domain.Lvol{}, true, one.err
		}
	}
	// Where something is not there, or another, the usual look tells.
	b, _ := h.ours(look, uuid, found)
	if b == nil || b.Claimed || b.Driver.Lvol.BaseSnapshot != parent {
		return domain.Lvol{}, false, nil
	}
	if l = b.lvol(""); !h.isHead(&l) {
		return domain.Lvol{}, false, nil
	}
	if parent != "" {
		p, _ := h.ours(under, parent, below)
		if p == nil {
			return domain.Lvol{}, false, nil
		}
		l.Parent = p.UUID
	}
	if h.can.records {
		if err := record.take(&l); errors.Is(err, ports.ErrNotFound) {
			return domain.Lvol{}, false, nil
		} else if err != nil {
			return domain.Lvol{}, true, err
		}
	}
	return l, true, nil
}
