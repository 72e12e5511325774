package main

import (
	"context"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/rootgraft/rebuild"
	"github.com/rootgraft/rebuild/spdkhost"
)

// openedHost is a host for the time of a command.
type openedHost interface {
	rebuild.Host

	// Close ends the connection.
	Close() error
}

// opener opens the host that an address leads to.
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

// with opens a host for a while.
func (open opener) with(ctx context.Context, at address, use func(openedHost) error) error {
	host, err := open(ctx, at)
	if err != nil {
		return err
	}
	defer func() { _ = host.Close() }() // nothing more is asked of it
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

// said is what was said of the image; an empty name is a mistake, not "not
// known".
func (f imageFlags) said(c *cobra.Command) (rebuild.Image, error) {
	named := c.Flags().Changed("image")
	switch {
	case named && f.none:
		return rebuild.Image{}, badUsage("--image and --no-image: expected one of them, got both")
	case f.none:
		return rebuild.NoImage(), nil
	case named:
		if err := rebuild.CheckImageName(f.name); err != nil {
			return rebuild.Image{}, badUsage("--image: %v", err)
		}
		return rebuild.ImageNamed(f.name), nil
	}
	return rebuild.Image{}, nil
}
