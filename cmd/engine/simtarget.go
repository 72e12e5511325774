package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget/livevolume"
)

type simtargetFlags struct {
	sockets       []string
	flavour       flavourFlag
	state, volume string
	poll          time.Duration
}

func (p cli) simtarget() *cobra.Command {
	flags := simtargetFlags{flavour: flavourFlag(simtarget.Fork)}
	var kill string
	c := &cobra.Command{
		Use:   "simtarget --socket PATH...",
		Short: "Run simulated SPDK targets, one per socket",
		Long: `simtarget runs SPDK targets without SPDK: each answers JSON-RPC on its socket as
spdk_tgt does, with the same refusals, locks and restarts. Targets of one process
reach each other's NVMe-oF listeners; no data crosses the network.

Create a disk as on a real target: bdev_aio_create on a file, then
bdev_lvol_create_lvstore. With --state a disk's lvstore survives the process: it is
there again when the disk is created again.

With --volume NAME, each target has a disk in memory, and there is a volume with a replica
on each of them but the last. Clients read and write it all the time, and check every byte.
simtarget prints how to rebuild a replica under it, and every 5 seconds what the clients
have done. At its end it reads the volume once more; its exit status is 1 if a request
failed or a byte was wrong.

simtarget prints a line for each socket once it answers, and runs until it is
interrupted.`,
		Example: "  engine simtarget --socket /tmp/a.sock --socket /tmp/b.sock --flavour upstream --state /tmp/state\n\n  engine simtarget --socket /tmp/a.sock --socket /tmp/b.sock --socket /tmp/c.sock --volume vol-1",
		RunE: func(c *cobra.Command, more []string) error {
			if c.Flags().Changed("kill") {
				return killTarget(c, kill, more)
			}
			flags.sockets = append(flags.sockets, more...)
			return p.runSimtarget(c, flags)
		},
	}
	c.Flags().StringArrayVar(&flags.sockets, "socket", nil, "`PATH` of a target's socket; repeat it for several targets")
	c.Flags().Var(&flags.flavour, "flavour", "SPDK that the targets behave like: Longhorn's branch or upstream")
	c.Flags().StringVar(&flags.state, "state", "", "`DIR` to keep lvstores in; without it they end with the process")
	c.Flags().StringVar(&flags.volume, "volume", "", "make a volume of that `NAME`, with clients that read and write it")
	c.Flags().StringVar(&kill, "kill", "", "kill the target of the socket `PATH`, as kill -9 does, and run none")
	c.Flags().DurationVar(&flags.poll, "poll", 0, "poll the sockets every `DURATION`, as SPDK does every 4ms (default: answer at once)")
	return c
}

func killTarget(c *cobra.Command, socket string, more []string) error {
	others := more
	c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		if f.Changed && f.Name != "kill" {
			others = append(others, "--"+f.Name)
		}
	})
	switch {
	case socket == "":
		return badUsage("--kill is empty: expected the path of a target's socket")
	case len(others) > 0:
		return badUsage("--kill %s: expected nothing else with it, got %s", socket, strings.Join(others, " "))
	}
	return livevolume.Kill(c.Context(), socket)
}

func (p cli) runSimtarget(c *cobra.Command, flags simtargetFlags) error {
	paths, err := socketPaths(flags.sockets)
	switch {
	case err != nil:
		return err
	case flags.state == "" && c.Flags().Changed("state"):
		return badUsage("--state is empty: expected a directory")
	case flags.poll < 0:
		return badUsage("--poll %v: expected an interval such as 4ms, or 0 to answer at once", flags.poll)
	case flags.state != "" && flags.volume != "":
		return badUsage("--volume and --state: expected one of them, got both")
	}
	serve := func(ctx context.Context, ends <-chan targetEnd) error { return untilDone(ctx, p.out, ends) }
	if c.Flags().Changed("volume") {
		tried, err := newTriedVolume(flags.volume, paths)
		if err != nil {
			return err
		}
		serve = func(ctx context.Context, ends <-chan targetEnd) error { return tried.serve(ctx, p, ends) }
	}
	config := simtarget.Config{Flavour: simtarget.Flavour(flags.flavour), State: flags.state, Poll: flags.poll, Logger: p.log}
	return runTargets(c.Context(), p.out, config, paths, serve)
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

// targetEnd is the end of a target before that of the program.
type targetEnd struct {
	socket  string
	failure error // nil: it was killed
}

func (e targetEnd) tell(out io.Writer) error {
	if e.failure == nil {
		fmt.Fprintf(out, "%s: the target was killed\n", e.socket)
	}
	return e.failure
}

// runTargets runs one target per socket until serve returns, which is told about targets that end.
func runTargets(ctx context.Context, out io.Writer, config simtarget.Config, paths []string, serve func(context.Context, <-chan targetEnd) error) (err error) {
	fabric := simtarget.NewFabric()
	var targets []*simtarget.Target
	defer func() {
		for _, target := range targets {
			err = errors.Join(err, target.Close())
		}
	}()
	ends := make(chan targetEnd, len(paths))
	for _, path := range paths {
		config.Socket = path
		target, err := fabric.Start(config)
		if err != nil {
			return badUsage("%v", err)
		}
		targets = append(targets, target)
		go func() {
			<-target.Done()
			ends <- targetEnd{path, target.Err()}
		}()
	}
	for _, path := range paths {
		fmt.Fprintf(out, "%s: a simulated %s target answers\n", path, config.Flavour)
	}
	return serve(ctx, ends)
}

// untilDone waits for the end of the context, of all targets, or of one that fails.
func untilDone(ctx context.Context, out io.Writer, ends <-chan targetEnd) error {
	for range cap(ends) {
		select {
		case <-ctx.Done():
			return nil
		case end := <-ends:
			if err := end.tell(out); err != nil {
				return err
			}
		}
	}
	return nil
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
