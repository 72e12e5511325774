package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rootgraft/rebuild"
	"github.com/rootgraft/rebuild/internal/scenario"
	"github.com/rootgraft/rebuild/memhost"
)

func newSimulate(s streams, engine *rebuild.Engine) simulateCommand {
	output := outputText
	c := &cobra.Command{
		Use:   "simulate FILE",
		Short: "Play a scenario file in memory, without hardware",
		Long: `simulate reads a scenario: a healthy replica, what is left of a lost one, and how
to rebuild it. It plays the rebuild on two in-memory hosts that hold every byte,
and shows the trees before, the plan with its reasons, how it went, the tree
after, and whether every snapshot reads as the source's does. Calls can be made
to fail and processes to die on the way; what is left then is rebuilt by the
next run.

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

func simulate(ctx context.Context, engine *rebuild.Engine, world *scenario.World, s streams, output outputFlag) error {
	request := rebuild.Request{
		Source:      rebuild.Site{Host: world.Source, Replica: world.SourceReplica},
		Destination: rebuild.Site{Host: world.Destination, Replica: world.DestinationReplica},
		Image:       world.Image,
		Options:     rebuild.Options{Full: !world.Fast, AcceptHurtSource: world.AcceptHurtSource},
		Parallel:    world.Parallel,
	}
	if world.Overwrite {
		request.Options.Overwrite = world.DestinationReplica
	}
	show := newStory(s.out)
	// Who interrupts a simulation is still told what came of it.
	looking := context.WithoutCancel(ctx)
	if output == outputText {
		if err := show.before(looking, request); err != nil {
			return err
		}
		show.faults(world.Faults)
	}
	var last played
	var runs []runLine
	var missed []string
	for n := 1; n <= max(world.Runs, 1); n++ {
		if output == outputText {
			show.run(n, world.Runs)
		}
		var on *story
		if output == outputText {
			on = show
		}
		last = play(ctx, engine, request, world, n, on)
		runs = append(runs, last.line())
		if on != nil && n < world.Runs {
			show.failed(last.failure)
		}
		missed = append(missed, last.trouble.Missed()...)
		// What was refused, or fails by itself, would do so again.
		if last.failure != nil && !last.trouble.Struck() || ctx.Err() != nil {
			break
		}
	}
	for i, f := range world.Faults {
		if f.Run > len(runs) {
			missed = append(missed, fmt.Sprintf("faults[%d] never struck (%s); there was no run %d", i, f, f.Run))
		}
	}
	outcome := simulated{result: newResult(last.report, last.failure), Runs: runs}
	outcome.LocalBytes = last.local
	outcome.Warnings = append(outcome.Warnings, missed...)
	if err := outcome.lookAtWorld(looking, engine, request, last.report, world); err != nil {
		return err
	}
	if output == outputJSON {
		if err := printJSON(s.out, outcome); err != nil {
			return err
		}
	} else {
		show.runs(runs)
		show.after(last.report, outcome.result)
	}
	if last.failure != nil || len(outcome.Violations) > 0 {
		return &saidAlready{errors.New(outcome.Error)}
	}
	return nil
}

// lookAtWorld adds what is on the two hosts now, every view read back.
func (r *result) lookAtWorld(ctx context.Context, engine *rebuild.Engine, request rebuild.Request, report rebuild.Report, world *scenario.World) error {
	image := report.Plan.Image
	if !image.Known() {
		image = request.Image
	}
	for _, side := range []struct {
		host  *memhost.Host
		name  string
		state *replicaState
	}{{world.Source, world.SourceReplica, &r.Source}, {world.Destination, world.DestinationReplica, &r.Destination}} {
		store, err := side.host.List(ctx)
		if err != nil {
			return err
		}
		replica, err := rebuild.NewReplica(store, side.name)
		if err != nil {
			// What cannot be told apart is shown as it is.
			replica, err = rebuild.NewReplica(rebuild.Listing{UUID: store.UUID, Name: store.Name}, side.name)
			replica.Store = store
		}
		if err != nil {
			return err
		}
		read, err := engine.ReadViews(ctx, rebuild.Site{Host: side.host, Replica: side.name}, store.Lvols, nil)
		if err != nil {
			return err
		}
		*side.state = newReplicaState(replica, image, read)
	}
	return nil
}
