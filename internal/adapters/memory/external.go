package memory

import (
	"bytes"
	"fmt"
	"io"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// external is what an lvol reads instead of a parent: a bdev outside of the store.
type external struct {
	io.ReaderAt

	bdev    string
	missing bool // since Restart: it is not there any more
}

// CloneExternal makes a writable lvol, as long as the content, that reads through to a
// bdev of that name outside of the store and of that content, as SPDK's
// bdev_lvol_clone_bdev does. Restart loses the bdev: the lvol, and what hangs on it, is
// degraded from then on. ErrExists where the name is taken, ErrInvalid where the content
// is not whole clusters.
func (h *Host) CloneExternal(name, bdev string, content []byte) (uuid string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	what := fmt.Sprintf("clone external snapshot %s as %s", bdev, name)
	if len(content) == 0 || uint64(len(content))%h.config.ClusterSize != 0 {
		return "", h.failed(what, fmt.Errorf("%d bytes are not whole clusters: %w", len(content), ports.ErrInvalid))
	}
	if err := h.freeName(name); err != nil {
		return "", h.failed(what, err)
	}
	l := h.add(name, uint64(len(content)), nil)
	l.external = &external{ReaderAt: bytes.NewReader(bytes.Clone(content)), bdev: bdev}
	return l.uuid, nil
}

// degraded reports whether something outside that the lvol reads through to is missing.
func (l *lvol) degraded() bool {
	for up := l; up != nil; up = up.parent {
		if up.external != nil && up.external.missing {
			return true
		}
	}
	return false
}

// loseExternals is what a restart does to bdevs that nobody attaches again. Who has
// given one by SetExternal keeps it.
func (h *Host) loseExternals() {
	for _, l := range h.lvols {
		if l.external != nil && l.external.bdev != "" {
			l.external.missing = true
		}
	}
}

// listedDegraded is all that is told of an lvol that cannot be opened.
func (l *lvol) listedDegraded() domain.Lvol {
	return domain.Lvol{UUID: l.uuid, Name: l.name, ReadOnly: l.children > 0, Degraded: true}
}

func (l *lvol) externalName() string {
	if l.external == nil {
		return ""
	}
	return l.external.bdev
}
