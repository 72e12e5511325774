package nvmf

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"
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

// PortAllocator chooses the TCP ports that a target listens on, one for each
// subsystem. Several subsystems of one target may have the same port. It is called
// by several goroutines at once.
type PortAllocator interface {
	// Allocate chooses a port for one subsystem, other than those that the target
	// has refused since this search began. An error ends the search.
	Allocate(ctx context.Context, refused []uint16) (uint16, error)

	// Release takes a port back: its subsystem has gone, or the target has refused
	// the port and the search is over. The ports of a process that crashed are not
	// given back; their subsystems go when the run is ended.
	Release(port uint16)
}

// sharedPort is the default: all subsystems of the target listen on one port, the
// first of the range that is free.
type sharedPort struct {
	listen Listen

	mu   sync.Mutex
	last uint16 // the last one chosen
}

func (s *sharedPort) Allocate(_ context.Context, refused []uint16) (uint16, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first, last := int(s.listen.First), int(s.listen.Last)
	begin := max(int(s.last), first)
	for n := range last - first + 1 {
		port := uint16(first + (begin-first+n)%(last-first+1))
		if !slices.Contains(refused, port) {
			s.last = port
			return port, nil
		}
	}
	return 0, fmt.Errorf("no port of %s:%d-%d can be listened on", s.listen.Address, first, last)
}

// Release does nothing: the port is shared.
func (*sharedPort) Release(uint16) {}
