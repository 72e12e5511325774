package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/rootgraft/rebuild"
	"github.com/rootgraft/rebuild/freezer"
	"github.com/rootgraft/rebuild/internal/scenario"
	"github.com/rootgraft/rebuild/memhost"
)

func (p cli) simulate() *cobra.Command {
	return reporting(&cobra.Command{
		Use:   "simulate FILE",
		Short: "Play a scenario file in memory, without hardware",
		Long: `simulate reads a scenario: a healthy replica, what is left of a lost one, and how
to rebuild it. It plays the rebuild on two hosts in memory that hold every byte. It
shows the trees before, the plan with its reasons, the progress, the tree after, and
whether every snapshot has the source's data. A scenario can make calls fail and
processes crash; the next run rebuilds what is left.

docs/scenarios.md describes the format; examples/ has scenarios to start from.`,
		Example: "  engine simulate examples/damaged-leftover.yaml\n  engine simulate examples/lost-image.yaml --output json",
		Args:    exactArgs("FILE"),
	}, func(c *cobra.Command, args []string, output outputFlag) error {
		file, err := scenario.Parse(args[0])
		if err != nil {
			return err
		}
		world, err := file.Build()
		if err != nil {
			return err
		}
		outcome, err := newSimulation(p, world, output).run(c.Context())
		if err != nil {
			return err
		}
		var failure error
		if outcome.Error != "" || len(outcome.Violations) > 0 {
			failure = &printedError{errors.New(outcome.Error)}
		}
		return p.conclude(output, failure, outcome, "")
	})
}

// simulation plays the runs of a scenario.
type simulation struct {
	engine  *rebuild.Engine
	world   *scenario.World
	request rebuild.Request
	freezer rebuild.Freezer // of a live volume
	show    *printer

	meanwhile *meanwhileState // nil: no snapshot was taken
}

func newSimulation(p cli, world *scenario.World, output outputFlag) *simulation {
	request := rebuild.Request{
		Source:      rebuild.Site{Host: world.Source, Replica: world.SourceReplica},
		Destination: rebuild.Site{Host: world.Destination, Replica: world.DestinationReplica},
		Base:        world.Base,
		Options:     rebuild.Options{Full: !world.Fast, AcceptHurtSource: world.AcceptHurtSource},
		Parallel:    world.Parallel,
	}
	var stop rebuild.Freezer
	if live := world.Live; live != nil {
		stop = freezer.Func(live.Mirror.Suspend, live.Mirror.Resume)
		for _, m := range live.Members[1:] {
			request.MoreSources = append(request.MoreSources, rebuild.Site{Host: m.Host, Replica: m.Replica})
		}
	}
	if world.Overwrite {
		request.Options.Overwrite = world.DestinationReplica
	}
	show := newPrinter(p.out)
	if output == outputJSON {
		show = newPrinter(io.Discard)
	}
	return &simulation{engine: p.engine, world: world, request: request, freezer: stop, show: show}
}

// run plays all runs. An interrupted simulation is still described.
func (s *simulation) run(ctx context.Context) (simulated, error) {
	undisturbed := context.WithoutCancel(ctx)
	if err := s.show.before(undisturbed, s.request); err != nil {
		return simulated{}, err
	}
	s.show.faults(s.world.Faults)
	clients, err := s.startClients(ctx)
	if err != nil {
		return simulated{}, err
	}
	var last played
	var runs []runLine
	var missed []string
	for n := 1; n <= max(s.world.Runs, 1); n++ {
		s.show.run(n, s.world.Runs)
		last = s.play(ctx, n)
		runs = append(runs, last.line())
		if n < s.world.Runs {
			s.show.failed(last.failure)
		}
		missed = append(missed, last.trouble.Missed()...)
		// Another run would end like this one unless a fault caused the failure.
		if last.failure != nil && !last.trouble.Hit() || ctx.Err() != nil {
			break
		}
	}
	for i, f := range s.world.Faults {
		if f.Run > len(runs) {
			missed = append(missed, fmt.Sprintf("%s did not occur (%s); there was no run %d", s.world.FaultField(i), f, f.Run))
		}
	}
	if live := s.world.Live; live != nil && live.Snapshot != nil && s.meanwhile == nil {
		missed = append(missed, fmt.Sprintf("online.snapshot was not taken: the call (%s) did not occur in run 1", live.Snapshot))
	}
	outcome := simulated{result: newResult(last.report, last.failure), Runs: runs}
	outcome.LocalBytes = last.local
	outcome.Warnings = append(outcome.Warnings, missed...)
	if err := s.stopClients(ctx, clients, &outcome); err != nil {
		return simulated{}, err
	}
	if err := s.readBack(undisturbed, last.report, &outcome.result); err != nil {
		return simulated{}, err
	}
	s.show.runs(runs)
	outcome.Snapshot = s.meanwhile
	s.show.clients(outcome.Clients)
	s.show.meanwhile(s.meanwhile)
	s.show.after(last.report, outcome.result)
	return outcome, nil
}

// readBack adds the present state of the two hosts to the result, with the checksum of
// every lvol.
func (s *simulation) readBack(ctx context.Context, report rebuild.Report, into *result) error {
	image := report.Plan.Base
	if !image.Known() {
		image = s.request.Base
	}
	source, name := s.healthy(ctx)
	for _, side := range []struct {
		host  *memhost.Host
		name  string
		state *replicaState
	}{
		{source, name, &into.Source},
		{s.world.Destination, s.world.DestinationReplica, &into.Destination},
	} {
		store, err := side.host.List(ctx)
		if err != nil {
			return err
		}
		replica, err := rebuild.NewReplica(store, side.name)
		if err != nil {
			// Its lvols cannot be told from another replica's: all are shown as others.
			replica, err = rebuild.NewReplica(rebuild.Listing{UUID: store.UUID, Name: store.Name}, side.name)
			replica.Store = store
		}
		if err != nil {
			return err
		}
		// A live head that a dead volume left has nothing below it to read.
		whole := slices.DeleteFunc(slices.Clone(store.Lvols), func(l rebuild.Lvol) bool { return l.External != "" })
		read, err := s.engine.ReadViews(ctx, rebuild.Site{Host: side.host, Replica: side.name}, whole, nil)
		if err != nil {
			return err
		}
		*side.state = newReplicaState(replica, image, read)
	}
	return nil
}
