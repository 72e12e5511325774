package spdk

import (
	"context"
	"errors"
	"fmt"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"
	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
)

// namespacesOf is how many namespaces a subsystem has in its life; then the run
// opens the next one. Few are live at a time: each is withdrawn after its copy.
const namespacesOf = 512

// openSubsystem is the run's subsystem with room for one more namespace, which
// that host may connect to. The run's lock must be held.
func (h *Host) openSubsystem(ctx context.Context, run ports.Run, state *runState, hostNQN string) (*subsystem, error) {
	h.mu.Lock()
	sub := state.current
	if sub != nil && sub.nsids == namespacesOf {
		sub = nil
	}
	h.mu.Unlock()
	if sub == nil {
		sub, err := h.newSubsystem(ctx, run, state, hostNQN)
		if err != nil {
			return nil, err
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		state.current = sub
		return sub, nil
	}
	if sub.hosts[hostNQN] {
		return sub, nil
	}
	if err := rpc.AddHost(sub.nqn, hostNQN).Do(ctx, h.rpc); err != nil {
		return nil, err
	}
	sub.hosts[hostNQN] = true
	return sub, nil
}

func (h *Host) newSubsystem(ctx context.Context, run ports.Run, state *runState, hostNQN string) (*subsystem, error) {
	sub := &subsystem{nqn: runNQN(run), hosts: map[string]bool{hostNQN: true}}
	h.mu.Lock()
	state.subsystems = append(state.subsystems, sub)
	h.mu.Unlock()

	transport := rpc.CreateTransport()
	create := rpc.CreateSubsystem(spdktypes.NvmfCreateSubsystemRequest{
		Nqn: sub.nqn, SerialNumber: run.ID, ModelNumber: modelNumber, MaxNamespaces: namespacesOf,
	})
	allow := rpc.AddHost(sub.nqn, hostNQN)
	// The listener goes along: the port of the last one is free as a rule. Where
	// it is not, or the transport is new and not ready yet, it is asked for again.
	port := h.firstPort()
	listen := rpc.AddListener(sub.nqn, h.listen.at(port))
	h.rpc.Do(ctx, transport, create, allow, listen)
	if errors.Is(transport.Err, ports.ErrExists) {
		transport.Err = nil
	}
	h.setSettled(sub.nqn, !rpc.OutcomeUnknown(listen.Err))
	err := rpc.FirstErr([]*rpc.Call{transport, create, allow})
	switch {
	case err != nil:
	case listen.Err == nil:
		h.listening(sub, port)
	case errors.Is(listen.Err, ports.ErrInvalid):
		err = h.listenOn(ctx, sub)
	default:
		err = listen.Err
	}
	if err != nil {
		h.closeSubsystem(ctx, state, sub)
		return nil, fmt.Errorf("export by %s: %w", sub.nqn, err)
	}
	return sub, nil
}

// listenOn finds a port. Subsystems of one target share it; one that another
// process has is refused with the same words as an address that the machine has
// not, so all are tried.
func (h *Host) listenOn(ctx context.Context, sub *subsystem) error {
	first := h.firstPort()
	var refusal error
	for n := 0; n <= int(h.listen.Last-h.listen.First); n++ {
		port := first + uint16(n)
		if over := int(first) + n - int(h.listen.Last); over > 0 {
			port = h.listen.First + uint16(over-1)
		}
		if refusal = h.changeSubsystem(ctx, sub.nqn, rpc.AddListener(sub.nqn, h.listen.at(port))); refusal == nil {
			h.listening(sub, port)
			return nil
		}
		if !errors.Is(refusal, ports.ErrInvalid) {
			return refusal
		}
	}
	return rpc.WithKind(ports.ErrUnavailable, fmt.Errorf("no port of %s:%d-%d can be listened on: %w", h.listen.Address, h.listen.First, h.listen.Last, refusal))
}

func (h *Host) firstPort() uint16 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return max(h.port, h.listen.First)
}

func (h *Host) listening(sub *subsystem, port uint16) {
	h.mu.Lock()
	defer h.mu.Unlock()
	sub.port, h.port = port, port
}

// subsystems are the target's, or the one of that NQN, if there is one.
func (h *Host) subsystems(ctx context.Context, nqn string) ([]spdktypes.NvmfSubsystem, error) {
	found, err := rpc.GetSubsystems(nqn).Do(ctx, h.rpc)
	if errors.Is(err, ports.ErrNotFound) {
		return nil, nil
	}
	return found, err
}

// hasOpened reports whether the subsystem is one of this host's runs.
func (h *Host) hasOpened(nqn string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, state := range h.runs {
		for _, sub := range state.subsystems {
			if sub.nqn == nqn {
				return true
			}
		}
	}
	return false
}

// closeSubsystem deletes a subsystem of the run that is of no more use. Where
// that fails it stays noted, for Release.
func (h *Host) closeSubsystem(ctx context.Context, state *runState, sub *subsystem) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyFor)
	defer cancel()
	if err := h.deleteSubsystems(ctx, sub.nqn); err != nil {
		h.log.Warn("a subsystem stays until the run is released", zap.String("nqn", sub.nqn), zap.Error(err))
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, s := range state.subsystems {
		if s == sub {
			state.subsystems = append(state.subsystems[:i], state.subsystems[i+1:]...)
			return
		}
	}
}
