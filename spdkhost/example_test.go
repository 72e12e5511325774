package spdkhost_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/rootgraft/rebuild/spdkhost"
)

// portPool gives each subsystem a port of its own.
type portPool struct {
	mu   sync.Mutex
	free []uint16
}

// Allocate takes a port that the target has not refused in this search.
func (p *portPool) Allocate(_ context.Context, refused []uint16) (uint16, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.free, func(port uint16) bool { return !slices.Contains(refused, port) })
	if i < 0 {
		return 0, errors.New("no port is free")
	}
	port := p.free[i]
	p.free = slices.Delete(p.free, i, i+1)
	return port, nil
}

// Release gives a port back.
func (p *portPool) Release(port uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, port)
}

// An engine that has an allocator of ports and NQNs of its own hands them over.
func ExampleOpen_portsAndNQNs() {
	ctx := context.Background()
	host, err := spdkhost.Open(ctx, spdkhost.Config{
		Socket:  "/var/tmp/spdk.sock",
		Lvstore: "disk-1",
		Listen:  spdkhost.Listen{Address: "10.0.0.7", First: 20001, Last: 20002},
		Ports:   &portPool{free: []uint16{20001, 20002}},
		HostNQNs: spdkhost.HostNQNs{
			Target: func(string) string { return "nqn.2014-08.io.longhorn:node-7" },
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer host.Close()
	store, name := host.Identity()
	fmt.Println(store, name)
}
