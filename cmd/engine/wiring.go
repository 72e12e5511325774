package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"go.uber.org/fx"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/rootgraft/rebuild"
	"github.com/rootgraft/rebuild/rebuildfx"
)

// streams are where a command prints.
type streams struct{ out, err io.Writer }

// wire builds the command line. options replace parts of it.
func wire(stdout, stderr io.Writer, options ...fx.Option) (*cobra.Command, error) {
	var root *cobra.Command
	graph := fx.New(
		fx.NopLogger,
		fx.Supply(streams{stdout, stderr}, zap.NewAtomicLevelAt(zapcore.ErrorLevel)),
		rebuildfx.Module,
		fx.Provide(newLogger, newOpeners, newConfirmer, newCLI, newRoot),
		fx.Options(options...),
		fx.Populate(&root),
	)
	return root, graph.Err()
}

// newLogger logs to stderr, one line per message. Commands print their results
// themselves; the log is for debugging.
func newLogger(s streams, level zap.AtomicLevel) *zap.Logger {
	config := zap.NewProductionEncoderConfig()
	config.EncodeTime = zapcore.ISO8601TimeEncoder
	return zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(config), zapcore.Lock(zapcore.AddSync(s.err)), level))
}

// cli is what all commands use.
type cli struct {
	streams
	openers
	engine  *rebuild.Engine
	confirm confirmer
	log     *zap.Logger
}

func newCLI(s streams, open openers, engine *rebuild.Engine, confirm confirmer, log *zap.Logger) cli {
	return cli{s, open, engine, confirm, log}
}

func newRoot(p cli, level zap.AtomicLevel) *cobra.Command {
	root := &cobra.Command{
		Use:   "engine",
		Short: "Rebuild replicas of SPDK volumes, including their base",
		Long: `engine rebuilds a replica of an SPDK volume, its whole snapshot tree, from a
healthy replica on another host. The parent of the oldest rebuilt snapshot is
always the volume's base, whatever the source reports: a backing image or, of a linked
clone, the entry point on a snapshot of another volume. engine also finds replicas that
lost their base, and repairs them in place. docs/commands.md describes each command.

Exit status: 0 done, 1 refused or failed, or something is wrong with the
replica, 2 usage error or bad file.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          aCommand,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.Version = thisVersion().text()
	root.SetVersionTemplate("{{.Version}}")
	root.SetOut(p.out)
	root.SetErr(p.err)
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return badUsage("%v", err) })
	root.PersistentFlags().Var(levelFlag{level}, "log", "level of the log on stderr: debug, info, warn or error")
	root.AddCommand(p.simulate(), p.plan(), p.rebuild(), p.tree(), p.audit(), p.repair(), p.replica(), p.snapshot(), p.volume())
	root.AddCommand(p.gc(), p.history(), p.simtarget(), p.image(), p.version())
	return root
}

// aCommand refuses arguments that name no subcommand.
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

// exactArgs is cobra.ExactArgs with a usageError. It refuses empty arguments: a script
// forgot to set a variable.
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
