package spdk

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"
	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/ports"
)

// namespacesOf is how many namespaces a subsystem has in its life; then the run
// opens the next one. Few are live at a time: each is withdrawn after its copy.
const namespacesOf = 512

// addHostRequest is of nvmf_subsystem_add_host; go-spdk-helper has no type for it.
type addHostRequest struct {
	NQN  string `json:"nqn"`
	Host string `json:"host"`
}

// Receive implements ports.Copier. Within one target the lvol itself is the
// place: a target that attaches to its own export can hang for good. For another
// one it becomes a namespace of the run's subsystem, which only that peer may
// connect to. A second reception of an lvol ends the first, whose address may
// have been lost.
func (h *Host) Receive(ctx context.Context, run ports.Run, uuid string, from ports.Peer) (ports.Address, error) {
	where, err := h.receive(ctx, run, uuid, from)
	if err != nil {
		return "", h.failed(err, "receive into lvol %s", uuid)
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
		l, err := h.find(ctx, uuid)
		if err != nil {
			return address{}, err
		}
		if l.readOnly() {
			return address{}, fmt.Errorf("%s is a snapshot: %w", l.name(), ports.ErrInvalid)
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
		if unsaid(err) {
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
	where := address{Lvol: uuid, Lvstore: h.storeUUID, HostNQN: sender.HostNQN}
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
		return h.newSubsystem(ctx, run, state, hostNQN)
	}
	if sub.hosts[hostNQN] {
		return sub, nil
	}
	if err := h.change(ctx, "nvmf_subsystem_add_host", addHostRequest{NQN: sub.nqn, Host: hostNQN}, nil); err != nil {
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

	transport := newCall("nvmf_create_transport", spdktypes.NvmfCreateTransportRequest{Trtype: spdktypes.NvmeTransportTypeTCP}, nil)
	create := newCall("nvmf_create_subsystem", spdktypes.NvmfCreateSubsystemRequest{
		Nqn: sub.nqn, SerialNumber: run.ID, ModelNumber: modelNumber, MaxNamespaces: namespacesOf,
	}, nil)
	allow := newCall("nvmf_subsystem_add_host", addHostRequest{NQN: sub.nqn, Host: hostNQN}, nil)
	h.changeAll(ctx, transport, create, allow)
	if errors.Is(transport.err, ports.ErrExists) {
		transport.err = nil
	}
	var err error
	for _, one := range []*call{transport, create, allow} {
		if err == nil {
			err = one.err
		}
	}
	if err == nil {
		err = h.listenOn(ctx, sub)
	}
	if err != nil {
		h.closeSubsystem(ctx, state, sub)
		return nil, fmt.Errorf("export by %s: %w", sub.nqn, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	state.current = sub
	return sub, nil
}

// listenOn finds a port. Subsystems of one target share it; one that another
// process has is refused with the same words as an address that the machine has
// not, so all are tried.
func (h *Host) listenOn(ctx context.Context, sub *subsystem) error {
	h.mu.Lock()
	first := max(h.port, h.listen.First)
	h.mu.Unlock()
	var refusal error
	for n := 0; n <= int(h.listen.Last-h.listen.First); n++ {
		port := first + uint16(n)
		if over := int(first) + n - int(h.listen.Last); over > 0 {
			port = h.listen.First + uint16(over-1)
		}
		refusal = h.change(ctx, "nvmf_subsystem_add_listener",
			spdktypes.NvmfSubsystemAddListenerRequest{Nqn: sub.nqn, ListenAddress: h.listen.at(port)}, nil)
		if refusal == nil {
			h.mu.Lock()
			defer h.mu.Unlock()
			sub.port, h.port = port, port
			return nil
		}
		if !errors.Is(refusal, ports.ErrInvalid) {
			return refusal
		}
	}
	return as(ports.ErrUnavailable, fmt.Errorf("no port of %s:%d-%d can be listened on: %w", h.listen.Address, h.listen.First, h.listen.Last, refusal))
}

func (h *Host) addNamespace(ctx context.Context, nqn string, where address) error {
	return h.change(ctx, "nvmf_subsystem_add_ns", spdktypes.NvmfSubsystemAddNsRequest{
		Nqn:       nqn,
		Namespace: spdktypes.NvmfSubsystemNamespace{Nsid: where.NSID, BdevName: where.Lvol, Nguid: where.NGUID},
	}, nil)
}

// whyNot finds out why a namespace was refused: SPDK says "Invalid parameters"
// whatever it is. Where the subsystem is gone (the target has restarted), a new
// one is worth a try.
func (h *Host) whyNot(ctx context.Context, run ports.Run, uuid string, sub *subsystem, refusal error) (retry bool, err error) {
	l, err := h.find(ctx, uuid)
	if err != nil {
		return false, err
	}
	if l.Claimed {
		return false, as(ports.ErrBusy, fmt.Errorf("something else uses %s: %w", l.name(), refusal))
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
	if state := h.runLocked(run); state.current == sub {
		state.current = nil
	}
	return true, refusal
}

// subsystems are the target's, or the one of that NQN, if there is one.
func (h *Host) subsystems(ctx context.Context, nqn string) ([]spdktypes.NvmfSubsystem, error) {
	var found []spdktypes.NvmfSubsystem
	err := h.rpc.call(ctx, "nvmf_get_subsystems", spdktypes.NvmfGetSubsystemsRequest{Nqn: nqn}, &found)
	if errors.Is(err, ports.ErrNotFound) {
		return nil, nil
	}
	return found, err
}

// Withdraw implements ports.Copier. Without its namespace a copy from another
// target ends within milliseconds. Nothing ends a copy within one target, so
// that one is waited for; ErrBusy where it takes too long.
func (h *Host) Withdraw(ctx context.Context, run ports.Run, uuid string) error {
	var received *reception
	h.mu.Lock()
	if state := h.runs[run]; state != nil {
		received = state.received[uuid]
	}
	h.mu.Unlock()
	var err error
	if received == nil {
		err = h.withdrawUnknown(ctx, run, uuid)
	} else {
		err = h.withdraw(ctx, run, uuid, received)
	}
	return h.failed(err, "withdraw lvol %s", uuid)
}

func (h *Host) withdraw(ctx context.Context, run ports.Run, uuid string, received *reception) error {
	if received.subsystem == nil {
		if err := h.waitUnclaimed(ctx, uuid); err != nil {
			return err
		}
	} else if err := h.removeNamespace(ctx, received.subsystem.nqn, received.nsid); err != nil {
		return err
	}
	h.mu.Lock()
	state := h.runLocked(run)
	sub := received.subsystem
	if state.received[uuid] == received {
		delete(state.received, uuid)
		if sub != nil {
			sub.live--
		}
	}
	usedUp := sub != nil && sub != state.current && sub.live == 0
	h.mu.Unlock()
	if usedUp {
		h.closeSubsystem(ctx, state, sub)
	}
	return nil
}

// withdrawUnknown ends what another Host of this target, in another process
// perhaps, has received in the run.
func (h *Host) withdrawUnknown(ctx context.Context, run ports.Run, uuid string) error {
	all, err := h.subsystems(ctx, "")
	if err != nil {
		return err
	}
	for _, sub := range all {
		if sub.ModelNumber != modelNumber || sub.SerialNumber != run.ID || !isRunNQN(sub.Nqn, run.Replica) {
			continue
		}
		for _, ns := range sub.Namespaces {
			if ns.BdevName == uuid {
				if err := h.removeNamespace(ctx, sub.Nqn, ns.Nsid); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// removeNamespace removes it, if it is there.
func (h *Host) removeNamespace(ctx context.Context, nqn string, nsid uint32) error {
	refusal := h.change(ctx, "nvmf_subsystem_remove_ns", spdktypes.NvmfSubsystemRemoveNsRequest{Nqn: nqn, Nsid: nsid}, nil)
	if refusal == nil || unsaid(refusal) {
		return refusal
	}
	there, err := h.subsystems(ctx, nqn)
	if err != nil {
		return err
	}
	for _, sub := range there {
		for _, ns := range sub.Namespaces {
			if ns.Nsid == nsid {
				return as(ports.ErrUnavailable, refusal)
			}
		}
	}
	return nil
}

// localCopyFor is how long a copy within the target is waited for.
const localCopyFor = 30 * time.Second

// waitUnclaimed waits until no copy writes into the lvol: a shallow copy claims
// what it writes to (vbdev_lvol_shallow_copy).
func (h *Host) waitUnclaimed(ctx context.Context, uuid string) error {
	wait := backOff{pause: 2 * time.Millisecond, longest: 250 * time.Millisecond, until: time.Now().Add(localCopyFor)}
	for {
		l, err := h.find(ctx, uuid)
		if errors.Is(err, ports.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if !l.Claimed {
			return nil
		}
		if !wait.next(ctx) {
			return fmt.Errorf("a copy into %s is still going on, and SPDK cannot stop it: %w", l.name(), ports.ErrBusy)
		}
	}
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

// deleteSubsystems deletes those that are there.
func (h *Host) deleteSubsystems(ctx context.Context, nqns ...string) error {
	calls := make([]*call, len(nqns))
	for i, nqn := range nqns {
		calls[i] = newCall("nvmf_delete_subsystem", spdktypes.NvmfDeleteSubsystemRequest{Nqn: nqn}, nil)
	}
	h.changeAll(ctx, calls...)
	for _, one := range calls {
		// "Invalid parameters": there is none of that name.
		if one.err != nil && !errors.Is(one.err, ports.ErrInvalid) && !errors.Is(one.err, ports.ErrNotFound) {
			return one.err
		}
	}
	return nil
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
