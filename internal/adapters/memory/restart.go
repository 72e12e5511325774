package memory

import "github.com/rootgraft/rebuild/internal/domain"

// Restart simulates a restart of the target: running operations end with ErrUnavailable,
// addresses, ways, connections and open bytes become invalid, lvols that were deleted
// while they were busy are listed again, and bdevs outside of the store (CloneExternal,
// and those at the end of ways) are lost.
func (h *Host) Restart() {
	h.Kill()
	h.Start()
}

// Kill simulates the death of the target: until Start, all calls return ErrUnavailable,
// and neither hosts nor mirrors reach its lvols.
func (h *Host) Kill() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.down.Store(true)
	h.starts.Add(1)
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
	h.closeWays(func(*way) bool { return true })
	clear(h.connections)
	for l := range h.hidden {
		h.unhide(l)
	}
	h.loseExternals()
	for _, l := range h.lvols {
		l.usedBy = domain.User{}
	}
}

// Start ends Kill.
func (h *Host) Start() { h.down.Store(false) }

// Isolate cuts the host off from the other hosts and from mirrors on other hosts, until
// Rejoin. Its own calls still work.
func (h *Host) Isolate() { h.isolated.Store(true) }

// Rejoin ends Isolate.
func (h *Host) Rejoin() { h.isolated.Store(false) }

// reachable reports whether other hosts and mirrors reach the host.
func (h *Host) reachable() bool { return !h.down.Load() && !h.isolated.Load() }
