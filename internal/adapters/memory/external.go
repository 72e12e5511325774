package memory

import (
	"bytes"
	"fmt"
	"io"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// external is an external snapshot: a bdev outside of the store that an lvol reads
// through to instead of a parent.
type external struct {
	io.ReaderAt

	bdev    string
	missing bool     // after Restart
	through *through // the bdev is at the end of a way; nil: it is not
}

// CloneExternal creates a writable lvol, as long as the content, that reads through to a
// bdev of that name and content outside of the store, as SPDK's bdev_lvol_clone_bdev
// does. Restart loses the bdev: the lvol and its descendants are degraded from then on.
// ErrExists if the name is taken, ErrInvalid if the content is not whole clusters.
func (h *Host) CloneExternal(name, bdev string, content []byte) (uuid string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	what := fmt.Sprintf("clone external snapshot %s as %s", bdev, name)
	if len(content) == 0 || uint64(len(content))%h.config.ClusterSize != 0 {
		return "", h.wrap(what, fmt.Errorf("%d bytes are not whole clusters: %w", len(content), ports.ErrInvalid))
	}
	if err := h.checkName(name); err != nil {
		return "", h.wrap(what, err)
	}
	l := h.add(name, uint64(len(content)), nil)
	l.external = &external{ReaderAt: bytes.NewReader(bytes.Clone(content)), bdev: bdev}
	return l.uuid, nil
}

// degraded reports whether an external snapshot of the lvol or of an ancestor is missing.
func (h *Host) degraded(l *lvol) bool {
	if !h.lostExternals {
		return false
	}
	for ancestor := l; ancestor != nil; ancestor = ancestor.parent {
		if ancestor.external != nil && ancestor.external.lost() {
			return true
		}
	}
	return false
}

// lost reports whether the bdev is missing. After a restart one at the end of a way is
// found again by the next connection.
func (e *external) lost() bool {
	if e.missing && e.through != nil && e.through.host.connections[e.through.id].snapshot() != nil {
		e.missing = false
	}
	return e.missing
}

// loseExternals loses the bdevs of ways and of CloneExternal at a restart. Those of SetExternal stay.
func (h *Host) loseExternals() {
	for _, l := range h.lvols {
		if l.external != nil && l.external.bdev != "" {
			l.external.missing, h.lostExternals = true, true
		}
	}
}

// listedDegraded is the listing of an lvol that cannot be opened.
func (l *lvol) listedDegraded() domain.Lvol {
	return domain.Lvol{UUID: l.uuid, Name: l.name, ReadOnly: l.children > 0, Degraded: true}
}

func (l *lvol) externalName() string {
	if l.external == nil {
		return ""
	}
	return l.external.bdev
}
