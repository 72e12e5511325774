package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// confirmer makes the user repeat the name of what will be lost: by --confirm or, on a
// terminal, by a question.
type confirmer struct {
	in       io.Reader
	terminal bool
	out      io.Writer
}

func newConfirmer(s streams) confirmer {
	return confirmer{in: os.Stdin, terminal: term.IsTerminal(int(os.Stdin.Fd())), out: s.err}
}

// addFlag adds --confirm.
func (confirmer) addFlag(c *cobra.Command, into *string, what string) {
	c.Flags().StringVar(into, "confirm", "", "repeat the exact `NAME` of the "+what+"; on a terminal, engine asks for it")
}

// require returns an error unless the name was repeated. lost says what will be lost.
func (f confirmer) require(c *cobra.Command, confirmed, name, lost string) error {
	if !c.Flags().Changed("confirm") {
		if !f.terminal {
			return badUsage("%s: %s; to confirm, repeat the name: --confirm %s", c.CommandPath(), lost, name)
		}
		fmt.Fprintf(f.out, "%s. Type its name to continue: ", lost)
		line, err := bufio.NewReader(f.in).ReadString('\n')
		if err != nil && line == "" {
			return badUsage("%s: no name was typed; nothing was changed", c.CommandPath())
		}
		confirmed = strings.TrimSpace(line)
	}
	if confirmed != name {
		return badUsage("%s: the repeated name is %q, expected %s; nothing was changed", c.CommandPath(), confirmed, name)
	}
	return nil
}
