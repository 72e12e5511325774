package memory

import "github.com/rootgraft/rebuild/internal/domain"

// Restart does what a restart of a target does to what a port can see: what
// is under way ends with ErrUnavailable, received addresses and open
// bytes are void, lvols that were deleted while they were busy are back, and bdevs
// outside of the store (CloneExternal) are gone.
func (h *Host) Restart() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for op := range h.operations {
		op.stop(errRestarted)
		h.finish(op)
	}
	for _, r := range h.receptions {
		h.void(r, errRestarted)
	}
	for o := range h.openings {
		h.end(o, errRestarted)
	}
	for l := range h.hidden {
		h.unhide(l)
	}
	h.loseExternals()
	for _, l := range h.lvols {
		l.usedBy = domain.User{}
	}
}
