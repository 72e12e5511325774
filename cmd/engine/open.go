package main

import (
	"context"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/rootgraft/rebuild"
	"github.com/rootgraft/rebuild/spdkhost"
)

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

// with calls use with an open host, and closes it.
func (open opener) with(ctx context.Context, at address, use func(openedHost) error) error {
	host, err := open(ctx, at)
	if err != nil {
		return err
	}
	defer func() { _ = host.Close() }() // no call is under way
	return use(host)
}

// imageFlags are --image and --no-image.
type imageFlags struct {
	name string
	none bool
}

func (f *imageFlags) add(c *cobra.Command, usage string) {
	c.Flags().StringVar(&f.name, "image", "", usage)
	c.Flags().BoolVar(&f.none, "no-image", false, "the volume has no backing image")
}

// image is the image that the flags name, or the zero Image if none is given. An empty
// name is an error.
func (f imageFlags) image(c *cobra.Command) (rebuild.Base, error) {
	named := c.Flags().Changed("image")
	switch {
	case named && f.none:
		return rebuild.Base{}, badUsage("--image and --no-image: expected one of them, got both")
	case f.none:
		return rebuild.NoBase(), nil
	case named:
		if err := rebuild.CheckImageName(f.name); err != nil {
			return rebuild.Base{}, badUsage("--image: %v", err)
		}
		return rebuild.ImageBase(f.name), nil
	}
	return rebuild.Base{}, nil
}
