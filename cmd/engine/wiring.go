package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"go.uber.org/fx"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/rootgraft/rebuild/rebuildfx"
)

// streams are where a command prints.
type streams struct{ out, err io.Writer }

// wire puts the program together. options replace parts of it.
func wire(stdout, stderr io.Writer, options ...fx.Option) (*cobra.Command, error) {
	var root *cobra.Command
	graph := fx.New(
		fx.NopLogger,
		fx.Supply(streams{stdout, stderr}, zap.NewAtomicLevelAt(zapcore.ErrorLevel)),
		rebuildfx.Module,
		fx.Provide(newLogger, newOpener, newConfirmer, newRoot, newSimulate, newPlan, newRebuild),
		fx.Provide(newTree, newAudit, newRepair, newReplica, newSnapshot, newGC, newHistory, newSimtarget, newImage, newVersion),
		fx.Options(options...),
		fx.Populate(&root),
	)
	return root, graph.Err()
}

// newLogger logs to stderr, one line a message. What a command has to say it
// prints itself; the log tells how it came about.
func newLogger(s streams, level zap.AtomicLevel) *zap.Logger {
	config := zap.NewProductionEncoderConfig()
	config.EncodeTime = zapcore.ISO8601TimeEncoder
	return zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(config), zapcore.Lock(zapcore.AddSync(s.err)), level))
}

// commands of the root, each a type of its own so that the graph can tell them
// apart.
type (
	simulateCommand struct{ *cobra.Command }
	planCommand     struct{ *cobra.Command }
	rebuildCommand  struct{ *cobra.Command }
)

// commandOut adds a command to the root.
type commandOut struct {
	fx.Out

	Command *cobra.Command `group:"commands"`
}

// rootIn is what the root command is made of.
type rootIn struct {
	fx.In

	Simulate simulateCommand
	Plan     planCommand
	Rebuild  rebuildCommand
	Others   []*cobra.Command `group:"commands"`
}

func newRoot(s streams, level zap.AtomicLevel, commands rootIn) *cobra.Command {
	root := &cobra.Command{
		Use:   "engine",
		Short: "Rebuild replicas of SPDK volumes, including their backing image",
		Long: `engine rebuilds a replica of an SPDK volume, its whole snapshot tree, from a
healthy replica on another host. The parent of the oldest rebuilt snapshot is
always the volume's backing image, whatever the source reports. engine also finds
replicas that lost their image, and repairs them in place. docs/commands.md
describes each command.

Exit status: 0 done, 1 refused or failed, or something is wrong with the
replica, 2 bad usage or a bad file.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          aCommand,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.Version = thisVersion().text()
	root.SetVersionTemplate("{{.Version}}")
	root.SetOut(s.out)
	root.SetErr(s.err)
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return badUsage("%v", err) })
	root.PersistentFlags().Var(levelFlag{level}, "log", "level of the log on stderr: debug, info, warn or error")
	root.AddCommand(commands.Simulate.Command, commands.Plan.Command, commands.Rebuild.Command)
	root.AddCommand(commands.Others...)
	return root
}

// aCommand refuses what is none of the command's own.
func aCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var known []string
	for _, one := range c.Commands() {
		if one.IsAvailableCommand() {
			known = append(known, one.Name())
		}
	}
	return badUsage("unknown command %q: expected one of %s; see %s --help", args[0], strings.Join(known, ", "), c.CommandPath())
}

type levelFlag struct{ level zap.AtomicLevel }

func (l levelFlag) String() string { return l.level.String() }
func (l levelFlag) Type() string   { return "LEVEL" }
func (l levelFlag) Set(text string) error {
	if err := l.level.UnmarshalText([]byte(text)); err != nil {
		return fmt.Errorf("expected debug, info, warn or error")
	}
	return nil
}

// exactArgs is cobra's, as bad usage. An empty argument is one that a script
// forgot to fill in.
func exactArgs(names ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != len(names) {
			return badUsage("%s: expected %s, got %d; see %s --help", c.Use, count(uint64(len(names)), "argument"), len(args), c.CommandPath())
		}
		for i, arg := range args {
			if arg == "" {
				return badUsage("%s: %s is empty; see %s --help", c.Use, names[i], c.CommandPath())
			}
		}
		return nil
	}
}
