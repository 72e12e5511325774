package simtarget

import (
	"slices"
	"strings"
	"syscall"
)

// anaState is how a subsystem says that it can be reached by a listener.
type anaState string

const (
	anaOptimized    anaState = "optimized"
	anaNonOptimized anaState = "non_optimized"
	anaInaccessible anaState = "inaccessible"
)

type setANAStateParams struct {
	NQN     string       `json:"nqn"`
	Address addressParam `json:"listen_address"`
	State   anaState     `json:"ana_state"`
	Group   uint32       `json:"anagrpid" optional:"true"` // every namespace is in every group here
	Target  string       `json:"tgt_name" optional:"true"`
}

func setANAState(t *Target, r *request, p *setANAStateParams) {
	s := t.subsystems[p.NQN]
	if s == nil {
		r.refuse(codeInvalidParams, "Unable to find subsystem with NQN %s", p.NQN)
		return
	}
	at, ok := p.Address.trid()
	state := anaState(strings.ToLower(string(p.State)))
	if !ok || !slices.Contains([]anaState{anaOptimized, anaNonOptimized, anaInaccessible}, state) {
		r.refuse(codeInvalidParams, invalidParameters)
		return
	}
	s.pause(0, func() {
		if !s.ana || !slices.ContainsFunc(s.listeners, func(l *listener) bool { return l.key() == at.key() }) {
			r.refuse(codeInternalError, "error setting ANA state: %d", -int(syscall.EINVAL))
			return
		}
		s.states[at.key()] = state
		r.result(true)
	})
}

// inaccessible reports whether no listener lets I/O in.
func (s *subsystem) inaccessible() bool {
	for _, l := range s.listeners {
		if s.states[l.key()] != anaInaccessible {
			return false
		}
	}
	return len(s.listeners) > 0
}
