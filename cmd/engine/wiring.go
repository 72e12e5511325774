package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"go.uber.org/fx"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/rootgraft/rebuild/internal/app"
)

// streams are where a command prints.
type streams struct{ out, err io.Writer }

// wire puts the program together.
func wire(stdout, stderr io.Writer) (*cobra.Command, error) {
	var root *cobra.Command
	graph := fx.New(
		fx.NopLogger,
		fx.Supply(streams{stdout, stderr}, zap.NewAtomicLevelAt(zapcore.ErrorLevel)),
		fx.Provide(newLogger, app.New, newRoot, newSimulate, newPlan, newRebuild, newSimtarget),
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
	simulateCommand  struct{ *cobra.Command }
	planCommand      struct{ *cobra.Command }
	rebuildCommand   struct{ *cobra.Command }
	simtargetCommand struct{ *cobra.Command }
)

func newRoot(s streams, level zap.AtomicLevel, simulate simulateCommand, plan planCommand, rebuild rebuildCommand, simtarget simtargetCommand) *cobra.Command {
	root := &cobra.Command{
		Use:   "engine",
		Short: "Rebuild replicas of SPDK volumes, backing image and all",
		Long: `engine rebuilds a replica of an SPDK volume, its whole snapshot tree, from a
healthy replica on another host. The oldest rebuilt snapshot always hangs on the
volume's backing image, whatever the source reports.

Exit status: 0 done, 1 refused or failed or something is wrong with the
replica, 2 bad usage or a bad file.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return badUsage("unknown command %q: expected simulate, plan, rebuild or simtarget; see engine --help", args[0])
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetOut(s.out)
	root.SetErr(s.err)
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return badUsage("%v", err) })
	root.PersistentFlags().Var(levelFlag{level}, "log", "what is logged to stderr: debug, info, warn, error")
	root.AddCommand(simulate.Command, plan.Command, rebuild.Command, simtarget.Command)
	return root
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
			return badUsage("%s: expected %s, got %d; see engine %s --help", c.Use, count(uint64(len(names)), "argument"), len(args), c.Name())
		}
		for i, arg := range args {
			if arg == "" {
				return badUsage("%s: %s is empty; see engine %s --help", c.Use, names[i], c.Name())
			}
		}
		return nil
	}
}

// outputFlag is --output.
type outputFlag string

const (
	outputText outputFlag = "text"
	outputJSON outputFlag = "json"
)

func (o *outputFlag) String() string { return string(*o) }
func (o *outputFlag) Type() string   { return "text|json" }
func (o *outputFlag) Set(text string) error {
	switch value := outputFlag(text); value {
	case outputText, outputJSON:
		*o = value
		return nil
	}
	return fmt.Errorf("expected text or json")
}
