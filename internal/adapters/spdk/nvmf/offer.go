package nvmf

import (
	"context"
	"fmt"
	"slices"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
)

// outliving stands for all runs: what it has opened outlives them.
var outliving ports.Run

func (w Way) owner(r ports.Run) ports.Run {
	if w.Head != "" && w.Remote != nil {
		return outliving
	}
	return r
}

// Offer opens a way for the peers, without a namespace yet. A way of the same replica's
// head, and the same path of the same ID, is replaced: its address may have been lost.
func (e *Exports) Offer(ctx context.Context, r ports.Run, way ports.Way, to ...ports.Peer) (ports.Address, error) {
	if err := checkOffer(r, way); err != nil {
		return "", err
	}
	unlock, err := e.lock(ctx, r)
	if err != nil {
		return "", err
	}
	defer unlock()
	w, err := e.newWay(ctx, r, way, to)
	if err != nil {
		return "", err
	}
	described := w.describe(r, way.Path)
	state := e.run(w.owner(r)) // of a spare path, too: so its end does not look for the other one
	if w.Spare, err = e.replace(ctx, r, w, described); err != nil || w.Spare {
		return w.address(err)
	}
	sub := &subsystem{nqn: w.NQN, hosts: make(map[string]bool)}
	e.mu.Lock()
	state.subsystems = append(state.subsystems, sub)
	e.mu.Unlock()
	if err := e.openWay(ctx, sub, &w, described); err != nil {
		err = fmt.Errorf("open way %s: %w", w.NQN, err)
		if found, look := e.subsystems(ctx, w.NQN); look == nil && isOther(found, described) {
			e.drop(w.owner(r), w.NQN) // a host of the same target was first
			w.Spare = true
			return w.address(nil)
		}
		e.close(ctx, state, sub)
		return "", err
	}
	return w.address(nil)
}

// isOther reports whether the subsystem that was found is another path of that way.
func isOther(found []spdktypes.NvmfSubsystem, described spdktypes.NvmfCreateSubsystemRequest) bool {
	return len(found) > 0 && described.ModelNumber == modelNumber && found[0].MinCntlid != described.MinCntlid
}

func checkOffer(r ports.Run, way ports.Way) error {
	if err := CheckRun(r); err != nil {
		return err
	}
	if !runID.MatchString(way.ID) {
		return fmt.Errorf("way %q: expected 8 hex digits: %w", way.ID, ports.ErrInvalid)
	}
	if way.Path < 0 || way.Path >= 1<<16/pathIDs {
		return fmt.Errorf("path %d of way %s: expected 0 to %d: %w", way.Path, way.ID, 1<<16/pathIDs-1, ports.ErrInvalid)
	}
	return nil
}

// newWay says where the way is going to be, for these peers.
func (e *Exports) newWay(ctx context.Context, r ports.Run, way ports.Way, to []ports.Peer) (Way, error) {
	w := Way{Store: e.store.UUID, Head: way.Head, ID: way.ID}
	within := 0
	for _, text := range to {
		p, err := parse[peer]("peer", string(text))
		if err != nil {
			return Way{}, err
		}
		here, err := e.isHere(ctx, p)
		if err != nil {
			return Way{}, err
		}
		if here {
			within++
		}
		if !slices.Contains(w.Hosts, p.HostNQN) {
			w.Hosts = append(w.Hosts, p.HostNQN)
		}
	}
	here := within > 0
	if within < len(to) && here {
		return Way{}, fmt.Errorf("some peers are this target, others are not: within a target an lvol cannot be exported and be the base of something else: %w", ports.ErrInvalid)
	}
	if len(to) == 0 {
		return Way{}, fmt.Errorf("a way for nobody: %w", ports.ErrInvalid)
	}
	w.NQN = wayNQN(r, way, here)
	if !here {
		w.Remote = &spdktypes.NvmeTransportID{Subnqn: w.NQN}
	}
	return w, nil
}

// replace removes an earlier offer of the same way. spare: this target has another path of
// it. What is removed is what was seen: another host of the target may offer that path now.
func (e *Exports) replace(ctx context.Context, r ports.Run, w Way, described spdktypes.NvmfCreateSubsystemRequest) (spare bool, err error) {
	found, err := e.subsystems(ctx, w.NQN)
	if err != nil || isOther(found, described) {
		return err == nil, err
	}
	return false, e.hideFound(ctx, w.owner(r), w.NQN, found)
}

// openWay makes the subsystem. Within a target nobody connects to it.
func (e *Exports) openWay(ctx context.Context, sub *subsystem, w *Way, described spdktypes.NvmfCreateSubsystemRequest) error {
	if w.Remote == nil {
		return rpc.CreateSubsystem(described).Do(ctx, e.rpc)
	}
	for _, host := range w.Hosts {
		sub.hosts[host] = true
	}
	if err := e.create(ctx, sub, described); err != nil {
		return err
	}
	at := e.listen.at(sub.port)
	w.Remote.Trtype, w.Remote.Adrfam, w.Remote.Traddr, w.Remote.Trsvcid = at.Trtype, at.Adrfam, at.Traddr, at.Trsvcid
	return nil
}

// Hide closes a way, if it is open.
func (e *Exports) Hide(ctx context.Context, r ports.Run, at ports.Address) error {
	w, err := e.ownWay(at)
	if err != nil || w.Spare {
		return err
	}
	return e.hide(ctx, w.owner(r), w.NQN)
}

// HideHead closes the way to the head of a replica, whoever opened it.
func (e *Exports) HideHead(ctx context.Context, replica string) error {
	return e.hide(ctx, outliving, headNQN(replica))
}

func (e *Exports) hide(ctx context.Context, owner ports.Run, nqn string) error {
	found, err := e.subsystems(ctx, nqn)
	if err != nil {
		return err
	}
	return e.hideFound(ctx, owner, nqn, found)
}

func (e *Exports) hideFound(ctx context.Context, owner ports.Run, nqn string, found []spdktypes.NvmfSubsystem) error {
	if len(found) > 0 {
		if err := e.changes.deleteAll(ctx, nqn); err != nil {
			return err
		}
	}
	e.drop(owner, nqn)
	return nil
}

// drop forgets a subsystem, and gives its port back.
func (e *Exports) drop(owner ports.Run, nqn string) {
	e.mu.Lock()
	var gone []*subsystem
	if state := e.runs[owner]; state != nil {
		state.subsystems = slices.DeleteFunc(state.subsystems, func(sub *subsystem) bool {
			if sub.nqn == nqn {
				gone = append(gone, sub)
			}
			return sub.nqn == nqn
		})
	}
	e.mu.Unlock()
	for _, sub := range gone {
		e.releasePort(sub)
	}
}

// ownWay reads the address of a way to this lvstore.
func (e *Exports) ownWay(at ports.Address) (Way, error) {
	w, err := ParseWay(at)
	if err == nil && w.Store != e.store.UUID {
		err = fmt.Errorf("way %s leads to lvstore %s: %w", w.NQN, w.Store, ports.ErrNotFound)
	}
	return w, err
}
