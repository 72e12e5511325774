package raid

import (
	"context"
	"fmt"
	"slices"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
)

// door is a listener through which clients reach the RAID.
type door struct {
	nqn string
	at  spdktypes.NvmfSubsystemListenAddress
}

// Suspend stops reads and writes of clients, and waits for those in flight. It sets the ANA
// state of each listener of the subsystems that export the RAID to inaccessible: initiators
// hold back their commands until Resume, as Linux does with native multipath. Other
// namespaces of these subsystems are stopped, too.
//
// ErrUnsupported: no subsystem exports the RAID, or it was created without ana_reporting.
func (m *Mirror) Suspend(ctx context.Context) (err error) {
	defer m.explain(&err, "stop the clients")
	doors, err := m.doors(ctx)
	if err != nil {
		return err
	}
	if len(doors) == 0 {
		return fmt.Errorf("no subsystem with a listener exports it: %w", ports.ErrUnsupported)
	}
	m.suspended.Store(&doors)
	if err := m.setState(ctx, doors, rpc.ANAInaccessible); err != nil {
		return err
	}
	var nqns []string
	for _, d := range doors {
		if !slices.Contains(nqns, d.nqn) {
			nqns = append(nqns, d.nqn)
		}
	}
	return m.drain(ctx, nqns)
}

// Resume lets clients go on, also those that another process has stopped. No error if they
// were not stopped.
func (m *Mirror) Resume(ctx context.Context) (err error) {
	defer m.explain(&err, "let the clients go on")
	doors := m.suspended.Load()
	if doors == nil {
		found, err := m.doors(ctx)
		if err != nil {
			return err
		}
		doors = &found
	}
	if err := m.setState(ctx, *doors, rpc.ANAOptimized); err != nil {
		return err
	}
	m.suspended.CompareAndSwap(doors, nil)
	return nil
}

// doors are the listeners through which clients reach the RAID now.
func (m *Mirror) doors(ctx context.Context) (doors []door, err error) {
	all, err := rpc.GetSubsystems("").Do(ctx, m.rpc)
	if err != nil {
		return nil, err
	}
	for i := range all {
		exports := func(ns spdktypes.NvmfSubsystemNamespace) bool { return ns.BdevName == m.name }
		if !slices.ContainsFunc(all[i].Namespaces, exports) {
			continue
		}
		for _, at := range all[i].ListenAddresses {
			doors = append(doors, door{all[i].Nqn, at})
		}
	}
	return doors, nil
}

// setState sets the state of one listener after the other: each pauses its subsystem.
func (m *Mirror) setState(ctx context.Context, doors []door, state rpc.ANAState) error {
	for _, d := range doors {
		err := rpc.SetANAState(d.nqn, d.at, state).Do(ctx, m.rpc)
		if rpc.ReportsNoANA(err) {
			if state == rpc.ANAOptimized {
				continue // clients cannot have been stopped there
			}
			err = rpc.WithKind(ports.ErrUnsupported, fmt.Errorf("it was created without ana_reporting: %w", err))
		}
		if err != nil {
			return fmt.Errorf("set the ANA state of %s at %s:%s to %s: %w", d.nqn, d.at.Traddr, d.at.Trsvcid, state, err)
		}
	}
	return nil
}

// everyNamespace is the NSID that stands for all of them. None can be removed by it, but
// the target waits for the I/O of them all before it refuses.
const everyNamespace = 1<<32 - 1

// drain waits for the commands in flight. The change of an ANA state alone does not.
func (m *Mirror) drain(ctx context.Context, nqns []string) error {
	calls := make([]*rpc.Call, len(nqns))
	for i, nqn := range nqns {
		calls[i] = rpc.RemoveNamespace(nqn, everyNamespace)
	}
	m.rpc.Do(ctx, rpc.Requests(calls)...)
	return rpc.FirstUnknown(calls)
}
