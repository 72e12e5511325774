package memory

import "github.com/rootgraft/rebuild/internal/domain"

// Restart simulates a restart of the target: running operations end with ErrUnavailable,
// addresses and open bytes become invalid, lvols that were deleted while they were busy
// are listed again, and bdevs outside of the store (CloneExternal) are lost.
func (h *Host) Restart() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for op := range h.operations {
		op.stop(errRestarted)
		h.finish(op)
	}
	for _, r := range h.receptions {
		h.endReception(r, errRestarted)
	}
	for o := range h.openings {
		h.endOpening(o, errRestarted)
	}
	for l := range h.hidden {
		h.unhide(l)
	}
	h.loseExternals()
	for _, l := range h.lvols {
		l.usedBy = domain.User{}
	}
}
