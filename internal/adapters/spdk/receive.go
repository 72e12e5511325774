package spdk

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Receive implements ports.Copier. Within one target the lvol itself is the
// place: a target that attaches to its own export can hang for good. For another
// one it becomes a namespace of the run's subsystem, which only that peer may
// connect to. A second reception of an lvol ends the first, whose address may
// have been lost.
func (h *Host) Receive(ctx context.Context, run ports.Run, uuid string, from ports.Peer) (ports.Address, error) {
	where, err := h.receive(ctx, run, uuid, from)
	if err != nil {
		return "", h.store.Failed(err, "receive into lvol %s", uuid)
	}
	text, err := json.Marshal(where)
	return ports.Address(text), err
}

func (h *Host) receive(ctx context.Context, run ports.Run, uuid string, from ports.Peer) (address, error) {
	if err := checkRun(run); err != nil {
		return address{}, err
	}
	sender, err := parse[peer]("peer", string(from))
	if err != nil {
		return address{}, err
	}
	if !h.madeHere(uuid) {
		l, err := h.store.Find(ctx, uuid)
		if err != nil {
			return address{}, err
		}
		if l.ReadOnly() {
			return address{}, fmt.Errorf("%s is a snapshot: %w", l.LvolName(), ports.ErrInvalid)
		}
	}
	for attempt := 0; ; attempt++ {
		where, sub, err := h.reserve(ctx, run, uuid, from, sender)
		if err != nil || sub == nil {
			return where, err
		}
		err = h.addNamespace(ctx, sub.nqn, where)
		if err == nil {
			return where, nil
		}
		if rpc.OutcomeUnknown(err) {
			// It may be there; the reception stays noted, and Withdraw ends it.
			return address{}, err
		}
		h.unreserve(run, uuid, sub)
		retry, err := h.whyNot(ctx, run, uuid, sub, err)
		if !retry || attempt > 0 {
			return address{}, err
		}
	}
}

// reserve finds the place for an lvol, and opens a subsystem where none is
// open or the last one is used up.
func (h *Host) reserve(ctx context.Context, run ports.Run, uuid string, from ports.Peer, sender peer) (address, *subsystem, error) {
	unlock, err := h.locks.take(ctx, lockOf(run))
	if err != nil {
		return address{}, nil, err
	}
	defer unlock()
	state := h.run(run)

	h.mu.Lock()
	earlier := state.received[uuid]
	here, known := state.here[from]
	h.mu.Unlock()
	if earlier != nil {
		if err := h.withdraw(ctx, run, uuid, earlier); err != nil {
			return address{}, nil, err
		}
	}
	if !known {
		if here, err = h.isHere(ctx, sender); err != nil {
			return address{}, nil, err
		}
	}
	where := address{Lvol: uuid, Lvstore: h.store.UUID, HostNQN: sender.HostNQN}
	if here {
		h.mu.Lock()
		defer h.mu.Unlock()
		state.here[from] = true
		state.received[uuid] = &reception{}
		return where, nil, nil
	}
	sub, err := h.openSubsystem(ctx, run, state, sender.HostNQN)
	if err != nil {
		return address{}, nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	state.here[from] = false
	sub.nsids++
	sub.live++
	state.received[uuid] = &reception{subsystem: sub, nsid: sub.nsids}
	at := h.listen.at(sub.port)
	where.Remote = &spdktypes.NvmeTransportID{
		Trtype: at.Trtype, Adrfam: at.Adrfam, Traddr: at.Traddr, Trsvcid: at.Trsvcid, Subnqn: sub.nqn,
	}
	where.NSID = sub.nsids
	where.NGUID = newNGUID()
	return where, sub, nil
}

func (h *Host) unreserve(run ports.Run, uuid string, sub *subsystem) {
	h.mu.Lock()
	defer h.mu.Unlock()
	state := h.runLocked(run)
	if r := state.received[uuid]; r != nil && r.subsystem == sub {
		delete(state.received, uuid)
		sub.live--
	}
}

func (h *Host) addNamespace(ctx context.Context, nqn string, where address) error {
	return h.changeSubsystem(ctx, nqn, rpc.AddNamespace(nqn, spdktypes.NvmfSubsystemNamespace{
		Nsid: where.NSID, BdevName: where.Lvol, Nguid: where.NGUID,
	}))
}

// whyNot finds out why a namespace was refused: SPDK says "Invalid parameters"
// whatever it is. Where the subsystem is gone (the target has restarted), a new
// one is worth a try.
func (h *Host) whyNot(ctx context.Context, run ports.Run, uuid string, sub *subsystem, refusal error) (retry bool, err error) {
	l, err := h.store.Find(ctx, uuid)
	if err != nil {
		return false, err
	}
	if l.Claimed {
		return false, rpc.WithKind(ports.ErrBusy, fmt.Errorf("something else uses %s: %w", l.LvolName(), refusal))
	}
	there, err := h.subsystems(ctx, sub.nqn)
	if err != nil {
		return false, err
	}
	if len(there) > 0 {
		return false, refusal
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	state := h.runLocked(run)
	if state.current == sub {
		state.current = nil
	}
	if state.opens == sub {
		state.opens = nil
	}
	return true, refusal
}

func newNGUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// bdevOf is the name under which a namespace is found where it is attached. An
// NVMe bdev's UUID is the namespace's NGUID (nvme_disk_create), so no other
// namespace is ever taken for it.
func (a address) bdevOf() (string, error) {
	if len(a.NGUID) != 32 {
		return "", fmt.Errorf("NGUID %s: expected 32 hex digits: %w", strconv.Quote(a.NGUID), ports.ErrInvalid)
	}
	return a.NGUID[:8] + "-" + a.NGUID[8:12] + "-" + a.NGUID[12:16] + "-" + a.NGUID[16:20] + "-" + a.NGUID[20:], nil
}
