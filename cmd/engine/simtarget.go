package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
)

func (p cli) simtarget() *cobra.Command {
	var sockets []string
	flavour := flavourFlag(simtarget.Fork)
	var state string
	var poll time.Duration
	c := &cobra.Command{
		Use:   "simtarget --socket PATH...",
		Short: "Run simulated SPDK targets, one per socket",
		Long: `simtarget runs SPDK targets without SPDK: each answers JSON-RPC on its socket as
spdk_tgt does, with the same refusals, locks and restarts. Targets of one process
reach each other's NVMe-oF listeners; no data crosses the network.

Create a disk as on a real target: bdev_aio_create on a file, then
bdev_lvol_create_lvstore. With --state a disk's lvstore survives the process: it is
there again when the disk is created again.

simtarget prints a line for each socket once it answers, and runs until it is
interrupted.`,
		Example: "  engine simtarget --socket /tmp/a.sock --socket /tmp/b.sock --flavour upstream --state /tmp/state",
		RunE: func(c *cobra.Command, more []string) error {
			config := simtarget.Config{Flavour: simtarget.Flavour(flavour), State: state, Poll: poll, Logger: p.log}
			paths, err := socketPaths(append(sockets, more...))
			if err != nil {
				return err
			}
			if c.Flags().Changed("state") && state == "" {
				return badUsage("--state is empty: expected a directory")
			}
			if poll < 0 {
				return badUsage("--poll %v: expected an interval such as 4ms, or 0 to answer at once", poll)
			}
			return runTargets(c.Context(), p.out, config, paths)
		},
	}
	c.Flags().StringArrayVar(&sockets, "socket", nil, "`PATH` of a target's socket; repeat it for several targets")
	c.Flags().Var(&flavour, "flavour", "SPDK that the targets behave like: Longhorn's branch or upstream")
	c.Flags().StringVar(&state, "state", "", "`DIR` to keep lvstores in; without it they end with the process")
	c.Flags().DurationVar(&poll, "poll", 0, "poll the sockets every `DURATION`, as SPDK does every 4ms (default: answer at once)")
	return c
}

// socketPaths refuses paths that are empty or given twice.
func socketPaths(paths []string) ([]string, error) {
	if len(paths) == 0 {
		return nil, badUsage("--socket is missing: expected the path of a target's socket")
	}
	seen := make(map[string]bool)
	for _, path := range paths {
		if path == "" {
			return nil, badUsage("--socket is empty: expected the path of a target's socket")
		}
		absolute, err := filepath.Abs(path)
		if err != nil {
			return nil, badUsage("--socket %s: %v", path, err)
		}
		if seen[absolute] {
			return nil, badUsage("--socket %s is given twice: expected one socket per target", path)
		}
		seen[absolute] = true
	}
	return paths, nil
}

// runTargets runs one target per socket until the context ends. A target that fails ends
// them all.
func runTargets(ctx context.Context, out io.Writer, config simtarget.Config, paths []string) (err error) {
	fabric := simtarget.NewFabric()
	var targets []*simtarget.Target
	defer func() {
		for _, target := range targets {
			err = errors.Join(err, target.Close())
		}
	}()
	ended := make(chan error, len(paths))
	for _, path := range paths {
		config.Socket = path
		target, err := fabric.Start(config)
		if err != nil {
			return badUsage("%v", err)
		}
		targets = append(targets, target)
		go func() {
			<-target.Done()
			if err := target.Err(); err != nil {
				ended <- err
			}
		}()
	}
	for _, path := range paths {
		fmt.Fprintf(out, "%s: a simulated %s target answers\n", path, config.Flavour)
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-ended:
		return err
	}
}

// flavourFlag is --flavour.
type flavourFlag simtarget.Flavour

func (f *flavourFlag) String() string { return simtarget.Flavour(*f).String() }
func (f *flavourFlag) Type() string   { return "fork|upstream" }
func (f *flavourFlag) Set(text string) error {
	flavour, err := simtarget.ParseFlavour(text)
	if err != nil {
		return fmt.Errorf("expected fork or upstream")
	}
	*f = flavourFlag(flavour)
	return nil
}
