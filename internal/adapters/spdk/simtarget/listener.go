package simtarget

import (
	"encoding/json"
	"net"
	"slices"
	"strings"
)

// trid is the address of a listener, or where a controller is attached to.
type trid struct {
	Type    string `json:"trtype"`
	Family  string `json:"adrfam"`
	Address string `json:"traddr"`
	Port    string `json:"trsvcid"`
	NQN     string `json:"subnqn,omitempty"`
}

func (a trid) key() string { return net.JoinHostPort(a.Address, a.Port) }

// listener is an address that a target listens on, for one subsystem or several.
type listener struct {
	trid
	target *Target
	socket net.Listener // nil: Config.Within
	users  int          // subsystems
}

type listenerParams struct {
	NQN     string       `json:"nqn"`
	Address addressParam `json:"listen_address"`
}

func (listenerParams) relaxed() {}

// addressParam is a "listen_address".
type addressParam struct {
	Type    string `json:"trtype" optional:"true"`
	Family  string `json:"adrfam" optional:"true"`
	Address string `json:"traddr"`
	Port    string `json:"trsvcid" optional:"true"`
}

type plainAddress addressParam

func (a *addressParam) decode(raw json.RawMessage) bool { return decode(raw, (*plainAddress)(a), Fork) }

// trid is the address as it is listed.
func (a addressParam) trid() (trid, bool) {
	family := map[string]string{"": "IPv4", "ipv4": "IPv4", "ipv6": "IPv6"}[strings.ToLower(a.Family)]
	at := trid{Type: "TCP", Family: family, Address: a.Address, Port: a.Port}
	return at, strings.EqualFold(a.Type, "TCP") && family != ""
}

func addListener(t *Target, r *request, p *listenerParams) (any, error) {
	s := t.subsystems[p.NQN]
	at, ok := p.Address.trid()
	if s == nil || !ok {
		return nil, refusal(codeInvalidParams, invalidParameters)
	}
	return r.later(func() (any, error) {
		l := t.listen(s, at)
		if l == nil {
			return nil, refusal(codeInvalidParams, invalidParameters)
		}
		s.listeners = append(s.listeners, l)
		s.found()
		return true, nil
	})
}

// listen finds the target's listener at the address, or makes one. It is nil where
// there is no transport, somebody else has the port, the machine has not that
// address, or the subsystem listens there already.
func (t *Target) listen(s *subsystem, at trid) *listener {
	if !t.transport {
		return nil
	}
	if l := t.fabric.listeners[at.key()]; l != nil {
		if l.target != t || slices.Contains(s.listeners, l) {
			return nil
		}
		l.users++
		return l
	}
	if net.ParseIP(at.Address) == nil {
		return nil
	}
	l := &listener{trid: at, target: t, users: 1}
	if !t.config.Within {
		socket, err := net.Listen("tcp", at.key())
		if err != nil {
			return nil
		}
		l.socket = socket
		t.serve(socket)
	}
	t.fabric.listeners[at.key()] = l
	return l
}

func removeListener(t *Target, r *request, p *listenerParams) (any, error) {
	s := t.subsystems[p.NQN]
	at, ok := p.Address.trid()
	if s == nil || !ok {
		return nil, refusal(codeInvalidParams, invalidParameters)
	}
	return r.later(func() (any, error) {
		i := slices.IndexFunc(s.listeners, func(l *listener) bool { return l.key() == at.key() })
		if i < 0 {
			return nil, refusal(codeInvalidParams, invalidParameters)
		}
		s.listeners[i].leave()
		s.listeners = slices.Delete(s.listeners, i, i+1)
		delete(s.states, at.key())
		s.lost()
		return true, nil
	})
}

func (t *Target) closeListeners(s *subsystem) {
	for _, l := range s.listeners {
		l.leave()
	}
	s.listeners = nil
}

func (l *listener) leave() {
	if l.users--; l.users == 0 {
		if l.socket != nil {
			_ = l.socket.Close()
		}
		delete(l.target.fabric.listeners, l.key())
	}
}
