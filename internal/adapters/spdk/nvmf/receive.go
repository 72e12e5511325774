package nvmf

import (
	"context"
	"encoding/json"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"

	"github.com/rootgraft/rebuild/internal/ports"
)

// Reception is an lvol and the peer that is to copy into it.
type Reception struct {
	Run  ports.Run
	Lvol string // UUID
	from peer
}

// NewReception refuses a run that Release would not find again, and a peer of another kind
// of host.
func NewReception(r ports.Run, lvol string, from ports.Peer) (Reception, error) {
	if err := CheckRun(r); err != nil {
		return Reception{}, err
	}
	sender, err := parse[peer]("peer", string(from))
	return Reception{r, lvol, sender}, err
}

// Receive gives the peer a way to the lvol: a namespace of the run's subsystem that lets
// in only peers. Within one target it is the lvol itself. A second reception of an lvol
// ends the first, whose address may have been lost.
func (e *Exports) Receive(ctx context.Context, to Reception) (ports.Address, error) {
	ns, err := e.export(ctx,
		func() (*namespace, error) { return e.reserve(ctx, to) },
		func(ns *namespace) { e.forgetReception(to.Run, to.Lvol, ns) })
	if err != nil {
		return "", err // where the outcome is not known the reception stays noted, and Withdraw ends it
	}
	where := Address{Lvol: to.Lvol, Lvstore: e.store.UUID, HostNQN: to.from.HostNQN}
	if ns != nil {
		at := e.listen.at(ns.sub.port)
		where.Remote = &spdktypes.NvmeTransportID{
			Trtype: at.Trtype, Adrfam: at.Adrfam, Traddr: at.Traddr, Trsvcid: at.Trsvcid, Subnqn: ns.sub.nqn,
		}
		where.NSID, where.NGUID = ns.nsid, ns.nguid
	}
	text, err := json.Marshal(where)
	return ports.Address(text), err
}

// reserve notes a reception, and opens a subsystem where none is open or the last one
// is used up. Within this target there is no namespace.
func (e *Exports) reserve(ctx context.Context, to Reception) (*namespace, error) {
	unlock, err := e.lock(ctx, to.Run)
	if err != nil {
		return nil, err
	}
	defer unlock()
	state := e.run(to.Run)
	e.mu.Lock()
	earlier, received := state.received[to.Lvol]
	here, known := state.here[to.from]
	e.mu.Unlock()
	if received {
		if err := e.withdraw(ctx, to.Run, to.Lvol, earlier); err != nil {
			return nil, err
		}
	}
	if !known {
		if here, err = e.isHere(ctx, to.from); err != nil {
			return nil, err
		}
	}
	var sub *subsystem
	if !here {
		if sub, err = e.subsystem(ctx, to.Run, forPeers, to.from.HostNQN); err != nil {
			return nil, err
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	state.here[to.from] = here
	state.received[to.Lvol] = nil
	if !here {
		state.received[to.Lvol] = e.nextLocked(to.Run, to.Lvol, sub)
	}
	return state.received[to.Lvol], nil
}

// forgetReception reports whether the subsystem is of no more use.
func (e *Exports) forgetReception(r ports.Run, lvol string, ns *namespace) (usedUp bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	state := e.runLocked(r)
	if now, received := state.received[lvol]; received && now == ns {
		delete(state.received, lvol)
		if ns != nil {
			ns.sub.live--
		}
	}
	return ns != nil && ns.sub != state.current[forPeers] && ns.sub.live == 0
}
