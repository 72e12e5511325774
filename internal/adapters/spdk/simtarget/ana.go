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

func setANAState(t *Target, r *request, p *setANAStateParams) (any, error) {
	s := t.subsystems[p.NQN]
	if s == nil {
		return nil, refusal(codeInvalidParams, "Unable to find subsystem with NQN %s", p.NQN)
	}
	at, ok := p.Address.trid()
	state := anaState(strings.ToLower(string(p.State)))
	if !ok || !slices.Contains([]anaState{anaOptimized, anaNonOptimized, anaInaccessible}, state) {
		return nil, refusal(codeInvalidParams, invalidParameters)
	}
	return r.pause(s, 0, func() (any, error) {
		if !s.ana || !slices.ContainsFunc(s.listeners, func(l *listener) bool { return l.key() == at.key() }) {
			return nil, refusal(codeInternalError, "error setting ANA state: %d", -int(syscall.EINVAL))
		}
		s.states[at.key()] = state
		return true, nil
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
