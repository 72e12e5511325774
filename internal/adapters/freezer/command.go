package freezer

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/rootgraft/rebuild/internal/ports"
)

// DefaultTimeout is the deadline of a command if Commands is given none.
const DefaultTimeout = 5 * time.Second

// Commands makes a Freezer of two shell commands, each run by sh -c: one that stops the
// clients and waits for their reads and writes in flight, such as dmsetup suspend, and one
// that lets clients go on. A command that takes longer than the timeout (0: DefaultTimeout),
// or than the limit of the freeze, is killed with its children and has failed. The thaw
// command is also run after a freeze command that failed, so it must not fail if clients
// were not stopped.
func Commands(freeze, thaw string, timeout time.Duration) *Freezer {
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	command := func(line string) func(ctx context.Context) error {
		return func(ctx context.Context) error { return run(ctx, line, timeout) }
	}
	return Func(command(freeze), command(thaw)).Checked(func(ctx context.Context) error {
		return exists(ctx, freeze, timeout) // the other one is called first, and tells itself
	})
}

// firstWord finds the command that a line begins with, if it is plain.
var firstWord = regexp.MustCompile(`^\s*([\w./+-]+)(?:\s+[^\s(]|\s*$)`)

// exists is an ErrUnsupported if the shell does not find the command that a line begins with.
func exists(ctx context.Context, line string, timeout time.Duration) error {
	word := firstWord.FindStringSubmatch(line)
	if word == nil {
		return nil
	}
	if err := run(ctx, "command -v -- "+word[1], timeout); err != nil && !errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return fmt.Errorf("command %q: %w: %w", line, errNoCommand, ports.ErrUnsupported)
	}
	return nil
}

// outputLimit is the number of bytes of a command's output that an error repeats.
const outputLimit = 500

// errNoCommand says that the shell did not find a command.
var errNoCommand = errors.New("command not found")

func run(ctx context.Context, line string, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	command := exec.CommandContext(ctx, "sh", "-c", line) //nolint:gosec // the user's own command
	killGroup(command)
	command.WaitDelay = time.Second
	output, err := command.CombinedOutput()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	if failed := (*exec.ExitError)(nil); errors.As(err, &failed) && failed.ExitCode() == 127 {
		err = fmt.Errorf("%w: %w", errNoCommand, err)
	}
	said := strings.TrimSpace(string(output[max(0, len(output)-outputLimit):]))
	if said != "" {
		said = ": " + said
	}
	return fmt.Errorf("command %q: %w%s", line, err, said)
}
