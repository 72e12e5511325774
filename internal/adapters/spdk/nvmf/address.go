package nvmf

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
)

// peer is a sender, or a mirror: the target, and the NQN that it connects with.
//
// A target has no identity of its own, and socket paths and process ids mean nothing on
// another machine. But it has the lvstore, whose base bdev has a UUID: the disk's own, or
// a new one whenever an AIO or malloc bdev is created. The target that lists both UUIDs
// is the sender's. A copy of its disk in another target has the lvstore's only.
type peer struct {
	Lvstore string `json:"lvstore"` // UUID
	Base    string `json:"base"`    // UUID of the bdev under it
	HostNQN string `json:"hostnqn"`

	// RAID is the UUID of a mirror's bdev. Its target need not have an lvstore.
	RAID string `json:"raid,omitempty"`
}

// RAIDPeer is the target that has the RAID of that UUID, and connects with that NQN.
func RAIDPeer(uuid, hostNQN string) (ports.Peer, error) {
	text, err := json.Marshal(peer{RAID: uuid, HostNQN: hostNQN})
	return ports.Peer(text), err
}

// Address is where a copy goes. Within one target it is the lvol itself.
type Address struct {
	Lvol    string                     `json:"lvol"`    // UUID
	Lvstore string                     `json:"lvstore"` // UUID of the receiving lvstore
	HostNQN string                     `json:"hostnqn"` // who may connect
	Remote  *spdktypes.NvmeTransportID `json:"remote,omitempty"`
	NSID    uint32                     `json:"nsid,omitempty"`
	NGUID   string                     `json:"nguid,omitempty"` // 32 hex digits, new for every namespace
}

// ParseAddress reads what Receive gave to this host. ports.ErrUnavailable: it gave
// it to another one.
func (e *Exports) ParseAddress(text ports.Address) (Address, error) {
	where, err := parse[Address]("address", string(text))
	if err == nil && where.HostNQN != e.nqns.target {
		err = fmt.Errorf("lvol %s is received from %s, which this host is not: %w", where.Lvol, where.HostNQN, ports.ErrUnavailable)
	}
	return where, err
}

// bdev is the name under which a namespace is found where it is attached. An
// NVMe bdev's UUID is the namespace's NGUID (nvme_disk_create), so no other
// namespace is ever taken for it.
func (a Address) bdev() (string, error) {
	if len(a.NGUID) != 32 {
		return "", fmt.Errorf("NGUID %s: expected 32 hex digits: %w", strconv.Quote(a.NGUID), ports.ErrInvalid)
	}
	return uuidOf(a.NGUID), nil
}

// Peer is this target as a sender.
func (e *Exports) Peer(ctx context.Context) (ports.Peer, error) {
	base, err := e.baseUUID(ctx)
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(peer{Lvstore: e.store.UUID, Base: base, HostNQN: e.nqns.target})
	return ports.Peer(text), err
}

// baseUUID is that of the lvstore's base bdev. It is asked for each time: after a restart,
// which nobody may have noticed yet, it may be another one.
func (e *Exports) baseUUID(ctx context.Context) (string, error) {
	found, err := rpc.GetBdev(e.store.Base).Do(ctx, e.rpc)
	if err != nil {
		return "", rpc.Unavailable(err)
	}
	if len(found) != 1 {
		return "", fmt.Errorf("bdev %s is listed %d times: %w", e.store.Base, len(found), ports.ErrUnavailable)
	}
	return found[0].UUID, nil
}

// isHere reports whether the peer is this very target.
func (e *Exports) isHere(ctx context.Context, p peer) (bool, error) {
	if p.HostNQN == "" || p.RAID == "" && (p.Lvstore == "" || p.Base == "") {
		return false, fmt.Errorf("peer %+v is incomplete: %w", p, ports.ErrInvalid)
	}
	if p.RAID != "" {
		all, err := rpc.GetRAIDs().Do(ctx, e.rpc)
		if errors.Is(err, ports.ErrUnsupported) {
			return false, nil
		}
		return slices.ContainsFunc(all, func(r rpc.RAID) bool { return r.UUID == p.RAID }), err
	}
	both := []rpc.Request{rpc.GetLvstore(p.Lvstore), rpc.GetBdev(p.Base)}
	e.rpc.Do(ctx, both...)
	err := rpc.FirstErr(both)
	if errors.Is(err, ports.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

func parse[T any](what, text string) (T, error) {
	var parsed T
	if err := json.Unmarshal([]byte(text), &parsed); err != nil {
		return parsed, fmt.Errorf("%s %q is not of an SPDK host: %w: %w", what, text, err, ports.ErrInvalid)
	}
	return parsed, nil
}
