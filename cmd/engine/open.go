package main

import (
	"context"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild"
	"github.com/rootgraft/rebuild/spdkhost"
)

// openers open the hosts and the volumes that addresses name.
type openers struct {
	open       opener
	openVolume volumeOpener
}

func newOpeners(log *zap.Logger) openers { return openers{newOpener(log), newVolumeOpener(log)} }

// openedHost is a host that a command uses.
type openedHost interface {
	rebuild.Host

	// Close ends the connection.
	Close() error
}

// opener opens the host of an address.
type opener func(ctx context.Context, at address) (openedHost, error)

func newOpener(log *zap.Logger) opener {
	return func(ctx context.Context, at address) (openedHost, error) {
		host, err := spdkhost.Open(ctx, spdkhost.Config{Socket: at.socket, Lvstore: at.lvstore, Listen: at.listen, Logger: log})
		if err != nil {
			return nil, err
		}
		return host, nil
	}
}

// all opens the hosts of several addresses; closeAll closes them when no call is under way. One that
// cannot be opened is stood in for if it may be missing.
func (open opener) all(ctx context.Context, places []address, mayMiss func(i int) bool) (hosts []openedHost, closeAll func(), err error) {
	closeAll = func() {
		for _, host := range hosts {
			_ = host.Close()
		}
	}
	for i, at := range places {
		host, err := open(ctx, at)
		switch {
		case err != nil && mayMiss(i):
			host = &unreachable{err: err}
		case err != nil:
			closeAll()
			return nil, nil, err
		}
		hosts = append(hosts, host)
	}
	return hosts, closeAll, nil
}

// with calls use with an open host, and closes it.
func (open opener) with(ctx context.Context, at address, use func(openedHost) error) error {
	host, err := open(ctx, at)
	if err != nil {
		return err
	}
	defer func() { _ = host.Close() }() // no call is under way
	return use(host)
}
