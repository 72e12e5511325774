package memory

import (
	"fmt"

	"github.com/rootgraft/rebuild/internal/ports"
)

// WriteAt writes into a writable lvol, copy on write: the rest of a cluster that it
// allocates is read from the parent, or is zeros. Written zeros are own clusters like all
// others. ErrInvalid for a snapshot or beyond the end, ErrNoSpace if the store is full;
// then nothing was written.
func (h *Host) WriteAt(uuid string, p []byte, offset uint64) error {
	what := fmt.Sprintf("write %d bytes at %d of %s", len(p), offset, h.nameOrUUID(uuid))
	return h.with(what, h.findWritable, uuid, func(l *lvol) error { return h.write(l, p, offset) })
}

func (h *Host) write(l *lvol, p []byte, offset uint64) error {
	if err := l.checkRange(offset, len(p)); err != nil {
		return err
	}
	if len(p) == 0 {
		return nil
	}
	size := h.config.ClusterSize
	first, last := offset/size, (offset+uint64(len(p))-1)/size
	var needed uint64
	for i := first; i <= last; i++ {
		if _, own := l.own[i]; !own {
			needed++
		}
	}
	if needed > h.freeClusters() {
		return ports.ErrNoSpace
	}
	for i := first; i <= last; i++ {
		from := max(offset, i*size)
		to := min(offset+uint64(len(p)), (i+1)*size)
		part := p[from-offset : to-offset]
		var old map[uint64]cluster
		if to-from < size {
			var err error
			if old, err = resolve(l, i, 1, size); err != nil {
				return fmt.Errorf("%w: %w", ports.ErrUnavailable, err)
			}
		}
		if err := h.put(l, i, old[i].with(part, from-i*size)); err != nil {
			return err
		}
	}
	return nil
}

// Trim deallocates the whole own clusters of a writable lvol in a range, as a real target
// does. Without a parent and an external snapshot, the clusters are given back. Otherwise
// zeros are written into them. Other bytes of the range stay as they are: those of parts of
// clusters, and those of clusters that are not own. ErrInvalid for a snapshot or beyond the
// end.
func (h *Host) Trim(uuid string, offset, length uint64) error {
	what := fmt.Sprintf("trim %d bytes at %d of %s", length, offset, h.nameOrUUID(uuid))
	return h.with(what, h.findWritable, uuid, func(l *lvol) error {
		if err := l.checkRange(offset, int(length)); err != nil {
			return err
		}
		size := h.config.ClusterSize
		for i := (offset + size - 1) / size; i < (offset+length)/size; i++ {
			_, own := l.own[i]
			switch {
			case !own:
			case l.parent == nil && l.external == nil:
				delete(l.own, i)
				h.used--
			default:
				l.own[i] = nil
			}
		}
		return nil
	})
}

// put stores the content as the lvol's own cluster i.
func (h *Host) put(l *lvol, i uint64, content cluster) error {
	if _, own := l.own[i]; !own {
		if i >= l.size/h.config.ClusterSize {
			return fmt.Errorf("cluster %d is beyond the end of %s: %w", i, l.name, ports.ErrInvalid)
		}
		if h.freeClusters() == 0 {
			return ports.ErrNoSpace
		}
		h.used++
	}
	if l.own == nil {
		l.own = make(map[uint64]cluster)
	}
	l.own[i] = content
	return nil
}

// checkRange refuses a range beyond the end of the lvol.
func (l *lvol) checkRange(offset uint64, length int) error {
	if offset > l.size || uint64(length) > l.size-offset {
		return fmt.Errorf("beyond the end at %d: %w", l.size, ports.ErrInvalid)
	}
	return nil
}

// Resize sets the size of a writable lvol in bytes, rounded up to whole clusters. Own
// clusters beyond the end are freed. ErrInvalid for a snapshot, ErrBusy if the lvol takes
// part in an operation.
func (h *Host) Resize(uuid string, size uint64) error {
	what := fmt.Sprintf("resize %s to %d bytes", h.nameOrUUID(uuid), size)
	return h.with(what, h.findWritable, uuid, func(l *lvol) error {
		rounded, err := h.roundUp(size)
		if err != nil {
			return err
		}
		return h.resizeIdle(l, rounded)
	})
}

func (h *Host) resizeIdle(l *lvol, size uint64) error {
	if l.busy != nil {
		return ports.ErrBusy
	}
	h.resize(l, size)
	return nil
}

func (h *Host) resize(l *lvol, size uint64) {
	l.size = size
	for i := range l.own {
		if i >= l.clusters(h) {
			delete(l.own, i)
			h.used--
		}
	}
}
