package spdk

import (
	"github.com/rootgraft/rebuild/internal/ports"
)

// runState is what one run has opened on this host. The host's mutex guards it;
// what takes calls is done under the lock of the run or of a subsystem.
type runState struct {
	swept       bool // what earlier runs left has been released
	here        map[ports.Peer]bool
	current     *subsystem // that peers copy into
	opens       *subsystem // through which the engine reads and writes
	subsystems  []*subsystem
	received    map[string]*reception // by UUID of the lvol
	opened      map[*openBytes]struct{}
	controllers map[string]*controller // by NQN
}

// reception is an lvol that a peer can copy into.
type reception struct {
	subsystem *subsystem // nil: within this target
	nsid      uint32
}

// subsystem is one of the run's. A namespace ID is given once in its life: an
// old copy, which goes on without its engine, would write into a new lvol
// under the same ID.
type subsystem struct {
	nqn   string
	port  uint16
	nsids uint32 // given so far
	live  int    // namespaces now
	hosts map[string]bool
}

// controller is an attached subsystem of another target.
type controller struct {
	users    int  // copies
	doubtful bool // may be gone
}

func (h *Host) runLocked(run ports.Run) *runState {
	state := h.runs[run]
	if state == nil {
		state = &runState{
			here:        make(map[ports.Peer]bool),
			received:    make(map[string]*reception),
			opened:      make(map[*openBytes]struct{}),
			controllers: make(map[string]*controller),
		}
		h.runs[run] = state
	}
	return state
}

func (h *Host) run(run ports.Run) *runState {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.runLocked(run)
}

// lockOf names the lock under which a run opens subsystems and controllers.
func lockOf(run ports.Run) string { return "run " + run.ID }
