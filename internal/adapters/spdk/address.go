package spdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Listen says where copies from other targets are received.
type Listen struct {
	Address     string // an IP address of the target's machine
	First, Last uint16 // ports; one that is taken is passed over
}

// DefaultListen serves targets of one machine.
var DefaultListen = Listen{Address: "127.0.0.1", First: 20001, Last: 20400}

// Check refuses what no other target can send to.
func (l Listen) Check() error {
	at := net.ParseIP(l.Address)
	switch {
	case at == nil:
		return fmt.Errorf("%q is no IP address: expected the one by which other targets reach the target's machine", l.Address)
	case at.IsUnspecified():
		return fmt.Errorf("%s stands for all addresses of a machine, so nobody can send to it: expected the one by which other targets reach the target's machine", l.Address)
	case at.IsMulticast() || at.Equal(net.IPv4bcast):
		return fmt.Errorf("%s is not the address of one machine: expected the one by which other targets reach the target's machine", l.Address)
	case l.First == 0 || l.Last < l.First:
		return fmt.Errorf("ports %d-%d: expected the first and the last one", l.First, l.Last)
	}
	return nil
}

func (l Listen) family() spdktypes.NvmeAddressFamily {
	if net.ParseIP(l.Address).To4() == nil {
		return spdktypes.NvmeAddressFamilyIPv6
	}
	return spdktypes.NvmeAddressFamilyIPv4
}

func (l Listen) at(port uint16) spdktypes.NvmfSubsystemListenAddress {
	return spdktypes.NvmfSubsystemListenAddress{
		Trtype:  spdktypes.NvmeTransportTypeTCP,
		Adrfam:  l.family(),
		Traddr:  l.Address,
		Trsvcid: strconv.Itoa(int(port)),
	}
}

// peer is who sends: the target, and the NQN that it connects with.
//
// A target has no identity of its own, and socket paths and process ids mean
// nothing on another machine. But an lvstore is loaded in one target, and the
// bdev under it has a UUID: drawn anew whenever an AIO or malloc bdev is
// created, or the disk's own. A target that lists both under these UUIDs is the
// sender's; a clone of its disk in another target has the first in common only.
type peer struct {
	Lvstore string `json:"lvstore"` // UUID
	Base    string `json:"base"`    // UUID of the bdev under it
	HostNQN string `json:"hostnqn"`
}

// address is where a copy goes. Within one target it is the lvol itself.
type address struct {
	Lvol    string                     `json:"lvol"`    // UUID
	Lvstore string                     `json:"lvstore"` // UUID of the receiving lvstore
	HostNQN string                     `json:"hostnqn"` // who may connect
	Remote  *spdktypes.NvmeTransportID `json:"remote,omitempty"`
	NSID    uint32                     `json:"nsid,omitempty"`
	NGUID   string                     `json:"nguid,omitempty"` // 32 hex digits, new for every namespace
}

// Peer implements ports.Copier.
func (h *Host) Peer(ctx context.Context) (ports.Peer, error) {
	base, err := h.baseUUID(ctx)
	if err != nil {
		return "", h.store.Failed(err, "find out who the target is")
	}
	text, err := json.Marshal(peer{Lvstore: h.store.UUID, Base: base, HostNQN: h.hostNQN()})
	return ports.Peer(text), err
}

// baseUUID is that of the bdev under the lvstore. It is asked for each time: a target
// that has restarted may have given it another one, and nobody may have noticed yet.
func (h *Host) baseUUID(ctx context.Context) (string, error) {
	found, err := rpc.GetBdev(h.store.Base).Do(ctx, h.rpc)
	if err != nil {
		return "", rpc.Unavailable(err)
	}
	if len(found) != 1 {
		return "", fmt.Errorf("bdev %s is listed %d times: %w", h.store.Base, len(found), ports.ErrUnavailable)
	}
	return found[0].UUID, nil
}

// isHere reports whether the peer is this very target.
func (h *Host) isHere(ctx context.Context, p peer) (bool, error) {
	if p.Lvstore == "" || p.Base == "" || p.HostNQN == "" {
		return false, fmt.Errorf("peer %+v is incomplete: %w", p, ports.ErrInvalid)
	}
	both := []rpc.Request{rpc.GetLvstore(p.Lvstore), rpc.GetBdev(p.Base)}
	h.rpc.Do(ctx, both...)
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
