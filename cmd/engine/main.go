// Command engine rebuilds replicas of SPDK volumes on SPDK targets, and simulates
// rebuilds in memory.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"go.uber.org/fx"

	"github.com/rootgraft/rebuild"
	"github.com/rootgraft/rebuild/internal/scenario"
)

// Exit statuses.
const (
	exitDone   = 0
	exitFailed = 1 // refused, failed, or something is wrong with the replica
	exitUsage  = 2 // bad usage or a bad file
)

func main() {
	os.Exit(run(untilInterrupted(), os.Args[1:], os.Stdout, os.Stderr))
}

// untilInterrupted returns a context that the first signal cancels, so that the command
// cleans up. A second signal ends the program at once.
func untilInterrupted() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel(interrupted{})
		second := <-signals
		signal.Reset(second)
		if self, err := os.FindProcess(os.Getpid()); err != nil || self.Signal(second) != nil {
			os.Exit(exitFailed)
		}
	}()
	return ctx
}

// interrupted is the cause of the context after the first signal.
type interrupted struct{}

func (interrupted) Error() string        { return "interrupted; run it again to continue" }
func (interrupted) Is(target error) bool { return target == context.Canceled }

// run is main without globals; options replace parts of the program.
func run(ctx context.Context, args []string, stdout, stderr io.Writer, options ...fx.Option) int {
	var telling sync.Mutex
	ctx = rebuild.OnWaiting(ctx, func(text string) {
		telling.Lock()
		defer telling.Unlock()
		fmt.Fprintln(stderr, "engine: waiting "+oneLine(text))
	})
	command, err := wire(stdout, stderr, options...)
	if err == nil {
		command.SetArgs(args)
		err = command.ExecuteContext(ctx)
	}
	if err == nil {
		return exitDone
	}
	if quiet := (*printedError)(nil); !errors.As(err, &quiet) {
		fmt.Fprintln(stderr, "engine: "+strings.TrimPrefix(oneLine(err.Error()), "engine "))
	}
	bad := (*scenario.Error)(nil)
	usage := (*usageError)(nil)
	if errors.As(err, &bad) || errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailed
}

// usageError is an error in the command line.
type usageError struct{ problem string }

func (u *usageError) Error() string { return u.problem }

func badUsage(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// printedError is a failure that the output on stdout has already.
type printedError struct{ error }

// oneLine is a text on one line, such as joined errors.
func oneLine(text string) string {
	var parts []string
	for line := range strings.Lines(text) {
		if words := strings.Fields(line); len(words) > 0 {
			parts = append(parts, strings.Join(words, " "))
		}
	}
	return strings.ReplaceAll(strings.Join(parts, "; "), ":; ", ": ")
}
