package nvmf

import (
	"context"
	"errors"
	"fmt"
	"slices"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"
	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
)

// namespacesOf is how many namespaces a subsystem has in its life; then the run makes the
// next one. Few are live at a time: each is withdrawn after its copy.
const namespacesOf = 512

// subsystem is one of a run's. A namespace ID is given once in its life: else an old copy,
// which goes on without its engine, would write into a new lvol with the same ID.
type subsystem struct {
	nqn   string
	port  uint16 // 0: none yet
	nsids uint32 // given so far
	live  int    // namespaces now
	hosts map[string]bool
}

// subsystem is the run's subsystem for that purpose, with room for one more namespace, and
// lets in that host. The run's lock must be held.
func (e *Exports) subsystem(ctx context.Context, r ports.Run, why purpose, hostNQN string) (*subsystem, error) {
	state := e.run(r)
	e.mu.Lock()
	sub := state.current[why]
	if sub != nil && sub.nsids == namespacesOf {
		sub = nil
	}
	e.mu.Unlock()
	if sub == nil {
		sub, err := e.newSubsystem(ctx, r, hostNQN)
		if err != nil {
			return nil, err
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		state.current[why] = sub
		return sub, nil
	}
	if sub.hosts[hostNQN] {
		return sub, nil
	}
	if err := rpc.AddHost(sub.nqn, hostNQN).Do(ctx, e.rpc); err != nil {
		return nil, err
	}
	sub.hosts[hostNQN] = true
	return sub, nil
}

func (e *Exports) newSubsystem(ctx context.Context, r ports.Run, hostNQN string) (*subsystem, error) {
	sub := &subsystem{nqn: runNQN(r), hosts: map[string]bool{hostNQN: true}}
	state := e.run(r)
	e.mu.Lock()
	state.subsystems = append(state.subsystems, sub)
	e.mu.Unlock()
	err := e.create(ctx, sub, spdktypes.NvmfCreateSubsystemRequest{
		Nqn: sub.nqn, SerialNumber: r.ID, ModelNumber: modelNumber, MaxNamespaces: namespacesOf,
	})
	if err != nil {
		e.close(ctx, state, sub)
		return nil, fmt.Errorf("export by %s: %w", sub.nqn, err)
	}
	return sub, nil
}

// create makes the subsystem as it is described, lets its hosts in, and has it listen.
func (e *Exports) create(ctx context.Context, sub *subsystem, described spdktypes.NvmfCreateSubsystemRequest) error {
	port, err := e.allocate(ctx, nil)
	if err != nil {
		return rpc.WithKind(ports.ErrUnavailable, err)
	}
	transport := rpc.CreateTransport()
	opening := []*rpc.Call{transport, rpc.CreateSubsystem(described)}
	for host := range sub.hosts {
		opening = append(opening, rpc.AddHost(sub.nqn, host))
	}
	// The listener goes along, since as a rule the port is free. If it is not, or the
	// transport is new and not ready yet, listenOn repeats the call.
	listen := rpc.AddListener(sub.nqn, e.listen.at(port))
	e.rpc.Do(ctx, rpc.Requests(append(opening, listen))...)
	if errors.Is(transport.Err, ports.ErrExists) {
		transport.Err = nil
	}
	e.changes.note(sub.nqn, !rpc.OutcomeUnknown(listen.Err))
	err = rpc.FirstErr(opening)
	if err == nil && errors.Is(listen.Err, ports.ErrInvalid) {
		return e.listenOn(ctx, sub, port)
	}
	e.listening(sub, port)
	if err == nil {
		err = listen.Err
	}
	return err
}

// listenOn finds a port. It begins with the one that was refused while the transport may
// not have been ready. A target refuses a port of another process in the same words as an
// address of another machine, so all ports are tried.
func (e *Exports) listenOn(ctx context.Context, sub *subsystem, port uint16) error {
	var refused []uint16
	defer func() {
		for _, port := range refused {
			e.ports.Release(port)
		}
	}()
	for {
		refusal := e.changes.do(ctx, sub.nqn, rpc.AddListener(sub.nqn, e.listen.at(port)))
		if !errors.Is(refusal, ports.ErrInvalid) {
			e.listening(sub, port)
			return refusal
		}
		refused = append(refused, port)
		var err error
		if port, err = e.allocate(ctx, refused); err != nil {
			return rpc.WithKind(ports.ErrUnavailable, fmt.Errorf("%w: %w", err, refusal))
		}
	}
}

func (e *Exports) allocate(ctx context.Context, refused []uint16) (uint16, error) {
	port, err := e.ports.Allocate(ctx, refused)
	if err == nil && (port == 0 || slices.Contains(refused, port)) {
		err = fmt.Errorf("the port allocator chose port %d: expected one that the target has not refused", port)
	}
	return port, err
}

// listening notes the port that a subsystem listens on, or may listen on.
func (e *Exports) listening(sub *subsystem, port uint16) {
	e.mu.Lock()
	defer e.mu.Unlock()
	sub.port = port
}

// subsystems are the target's, or the one of that NQN, if there is one.
func (e *Exports) subsystems(ctx context.Context, nqn string) ([]spdktypes.NvmfSubsystem, error) {
	return subsystems(ctx, e.rpc, nqn)
}

func subsystems(ctx context.Context, client *rpc.Client, nqn string) ([]spdktypes.NvmfSubsystem, error) {
	found, err := rpc.GetSubsystems(nqn).Do(ctx, client)
	if errors.Is(err, ports.ErrNotFound) {
		return nil, nil
	}
	return found, err
}

// close deletes a subsystem of the run. If that fails it stays noted, for Release.
func (e *Exports) close(ctx context.Context, state *run, sub *subsystem) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyFor)
	defer cancel()
	if err := e.changes.deleteAll(ctx, sub.nqn); err != nil {
		e.log.Warn("a subsystem stays until the run is released", zap.String("nqn", sub.nqn), zap.Error(err))
		return
	}
	e.mu.Lock()
	state.subsystems = slices.DeleteFunc(state.subsystems, func(s *subsystem) bool { return s == sub })
	e.mu.Unlock()
	e.releasePort(sub)
}

// releasePort gives back the port of a subsystem that has gone.
func (e *Exports) releasePort(sub *subsystem) {
	e.mu.Lock()
	port := sub.port
	sub.port = 0
	e.mu.Unlock()
	if port != 0 {
		e.ports.Release(port)
	}
}
