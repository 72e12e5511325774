package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/scenario"
)

func newSimulate(s streams, engine *app.Engine) simulateCommand {
	output := outputText
	c := &cobra.Command{
		Use:   "simulate FILE",
		Short: "Play a scenario file in memory, without hardware",
		Long: `simulate reads a scenario: a healthy replica, what is left of a lost one, and how
to rebuild it. It plays the rebuild on two in-memory hosts that hold every byte,
and shows the trees before, the plan with its reasons, how it went, the tree
after, and whether every snapshot reads as the source's does.

The format is described in docs/scenarios.md; examples/ has scenarios to begin
with.`,
		Example: "  engine simulate examples/damaged-leftover.yaml\n  engine simulate examples/lost-image.yaml --output json",
		Args:    exactArgs("FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			file, err := scenario.Parse(args[0])
			if err != nil {
				return err
			}
			world, err := file.Build()
			if err != nil {
				return err
			}
			return simulate(c.Context(), engine, world, s, output)
		},
	}
	c.Flags().Var(&output, "output", "how the result is printed")
	return simulateCommand{c}
}

func simulate(ctx context.Context, engine *app.Engine, world *scenario.World, s streams, output outputFlag) error {
	request := app.Request{
		Source:      app.Site{Host: world.Source, Replica: world.SourceReplica},
		Destination: app.Site{Host: world.Destination, Replica: world.DestinationReplica},
		Image:       world.Image,
		Options:     domain.Options{Full: !world.Fast, AcceptHurtSource: world.AcceptHurtSource},
		Parallel:    world.Parallel,
	}
	show := newStory(s.out)
	// Who interrupts a simulation is still told what came of it.
	looking := context.WithoutCancel(ctx)
	if output == outputText {
		if err := show.before(looking, request); err != nil {
			return err
		}
	}
	var report app.Report
	var failure error
	var local uint64
	for n := 1; n <= max(world.Runs, 1); n++ {
		if output == outputText {
			show.run(n, world.Runs)
			request.Observer = show
		}
		copiedBefore := world.Destination.CopiedLocally()
		report, failure = engine.Rebuild(ctx, request)
		local = world.Destination.CopiedLocally() - copiedBefore
		if failure != nil {
			break
		}
	}
	outcome := newResult(report, failure)
	outcome.LocalBytes = local
	if err := outcome.lookAtWorld(looking, engine, request, report, world); err != nil {
		return err
	}
	if output == outputJSON {
		if err := outcome.print(s.out); err != nil {
			return err
		}
	} else {
		show.after(report, outcome)
	}
	if failure != nil || len(outcome.Violations) > 0 {
		return &saidAlready{errors.New(outcome.Error)}
	}
	return nil
}

// lookAtWorld adds what is on the two hosts now, every view read back.
func (r *result) lookAtWorld(ctx context.Context, engine *app.Engine, request app.Request, report app.Report, world *scenario.World) error {
	image := report.Plan.Image
	if !image.Known() {
		image = request.Image
	}
	for _, side := range []struct {
		host  *memory.Host
		name  string
		state *replicaState
	}{{world.Source, world.SourceReplica, &r.Source}, {world.Destination, world.DestinationReplica, &r.Destination}} {
		store, err := side.host.List(ctx)
		if err != nil {
			return err
		}
		replica, err := domain.NewReplica(store, side.name)
		if err != nil {
			// What cannot be told apart is shown as it is.
			replica, err = domain.NewReplica(domain.Store{UUID: store.UUID, Name: store.Name}, side.name)
			replica.Store = store
		}
		if err != nil {
			return err
		}
		read, err := engine.ReadViews(ctx, app.Site{Host: side.host, Replica: side.name}, store.Lvols, nil)
		if err != nil {
			return err
		}
		*side.state = newReplicaState(replica, image, read)
	}
	return nil
}
