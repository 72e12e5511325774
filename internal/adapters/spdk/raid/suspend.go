package raid

import (
	"context"
	"errors"
	"fmt"
	"slices"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
)

// listener is one through which clients reach the RAID.
type listener struct {
	nqn       string
	at        spdktypes.NvmfSubsystemListenAddress
	namespace spdktypes.NvmfSubsystemNamespace // the RAID
}

// Suspend stops reads and writes of clients, and waits for those in flight. It sets the ANA
// state of each listener of the subsystems that export the RAID to inaccessible: initiators
// hold back their commands until Resume, as Linux does with native multipath. Other
// namespaces of these subsystems are stopped, too.
//
// ErrUnsupported: no subsystem exports the RAID, or it was created without ana_reporting.
func (m *Mirror) Suspend(ctx context.Context) (err error) {
	defer m.explain(&err, "stop the clients")
	listeners, err := m.listeners(ctx)
	if err != nil {
		return err
	}
	if len(listeners) == 0 {
		return errNotExported
	}
	m.suspended.Store(&listeners)
	if err := m.setState(ctx, listeners, spdktypes.NvmfSubsystemListenerAnaStateInaccessible); err != nil {
		return err
	}
	return m.drain(ctx, listeners)
}

// CheckSuspend finds out whether Suspend can work: ErrUnsupported as there. It lets clients
// go on, as Resume does: a target tells only by a change that a subsystem has ANA states.
func (m *Mirror) CheckSuspend(ctx context.Context) (err error) {
	defer m.explain(&err, "check how to stop the clients")
	listeners, err := m.listeners(ctx)
	if err != nil {
		return err
	}
	if len(listeners) == 0 {
		return errNotExported
	}
	for _, l := range listeners {
		err := rpc.SetANAState(l.nqn, l.at, spdktypes.NvmfSubsystemListenerAnaStateOptimized).Do(ctx, m.rpc)
		if rpc.ReportsNoANA(err) {
			err = rpc.WithKind(ports.ErrUnsupported, fmt.Errorf("%s was created without ana_reporting: %w", l.nqn, err))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

var errNotExported = rpc.WithKind(ports.ErrUnsupported, errors.New("no subsystem with a listener exports it"))

// Resume lets clients go on, also those that another process has stopped. No error if they
// were not stopped. While this process makes the RAID again, it waits until there is one.
func (m *Mirror) Resume(ctx context.Context) (err error) {
	defer m.explain(&err, "resume the clients")
	done, err := m.take(ctx, remaking)
	if err != nil {
		return err
	}
	defer done()
	listeners := m.suspended.Load()
	if listeners == nil {
		found, err := m.listeners(ctx)
		if err != nil {
			return err
		}
		listeners = &found
	}
	if err := m.setState(ctx, *listeners, spdktypes.NvmfSubsystemListenerAnaStateOptimized); err != nil {
		return err
	}
	m.suspended.CompareAndSwap(listeners, nil)
	return nil
}

// listeners returns those through which clients reach the RAID now.
func (m *Mirror) listeners(ctx context.Context) (listeners []listener, err error) {
	all, err := rpc.GetSubsystems("").Do(ctx, m.rpc)
	if err != nil {
		return nil, err
	}
	for i := range all {
		for _, ns := range all[i].Namespaces {
			if ns.BdevName != m.name {
				continue
			}
			ns.Anagrpid = "" // its default is the NSID
			for _, at := range all[i].ListenAddresses {
				listeners = append(listeners, listener{all[i].Nqn, at, ns})
			}
		}
	}
	return listeners, nil
}

// setState sets the state of one listener after the other: each pauses its subsystem.
func (m *Mirror) setState(ctx context.Context, listeners []listener, state spdktypes.NvmfSubsystemListenerAnaState) error {
	for _, l := range listeners {
		err := rpc.SetANAState(l.nqn, l.at, state).Do(ctx, m.rpc)
		if rpc.ReportsNoANA(err) {
			if state == spdktypes.NvmfSubsystemListenerAnaStateOptimized {
				continue // clients cannot have been stopped there
			}
			err = rpc.WithKind(ports.ErrUnsupported, fmt.Errorf("it was created without ana_reporting: %w", err))
		}
		if rpc.IsRefusal(err) && state == spdktypes.NvmfSubsystemListenerAnaStateOptimized && m.isRemoved(ctx, l) {
			continue
		}
		if err != nil {
			return fmt.Errorf("set the ANA state of %s at %s:%s to %s: %w", l.nqn, l.at.Traddr, l.at.Trsvcid, state, err)
		}
	}
	return nil
}

// isRemoved reports whether a listener is gone, such as with a target that has ended.
func (m *Mirror) isRemoved(ctx context.Context, l listener) bool {
	all, err := rpc.GetSubsystems("").Do(ctx, m.rpc)
	return err == nil && !slices.ContainsFunc(all, func(s spdktypes.NvmfSubsystem) bool {
		return s.Nqn == l.nqn && slices.Contains(s.ListenAddresses, l.at)
	})
}

// drain waits for the commands in flight, which the change of an ANA state does not. A
// target pauses a namespace, and waits for its commands, before it finds that its ID is in
// use and refuses to add another one.
func (m *Mirror) drain(ctx context.Context, listeners []listener) error {
	for i, l := range listeners {
		if i > 0 && l.nqn == listeners[i-1].nqn && l.namespace.Nsid == listeners[i-1].namespace.Nsid {
			continue // another listener of it
		}
		if err := rpc.AddNamespace(l.nqn, l.namespace).Do(ctx, m.rpc); rpc.OutcomeUnknown(err) {
			return fmt.Errorf("wait for the commands of clients of %s: %w", l.nqn, err)
		}
	}
	return nil
}
