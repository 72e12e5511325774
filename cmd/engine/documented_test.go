package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

var (
	// A line of a code block, after a prompt or indented, or text in backticks.
	aCommandLine = regexp.MustCompile("(?m)(?:^(?:\\$ |    )?|`)(?:go run \\./cmd/)?engine ([a-z][^`\n]*)")
	aFlag        = regexp.MustCompile(`(?:^|[\s` + "`" + `(])--([a-z][a-z0-9-]*)`)
)

// documents are the README and the manual, with continued lines joined.
func documents(t *testing.T) map[string]string {
	t.Helper()
	manual, err := filepath.Glob(filepath.Join("..", "..", "docs", "*.md"))
	require.NoError(t, err)
	texts := make(map[string]string)
	for _, file := range append(manual, filepath.Join("..", "..", "README.md")) {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		texts[filepath.Base(file)] = strings.ReplaceAll(string(text), "\\\n", " ")
	}
	return texts
}

// leaves are the commands below c that have no subcommands.
func leaves(c *cobra.Command) (all []*cobra.Command) {
	for _, child := range c.Commands() {
		if child.IsAvailableCommand() && child.Name() != "help" {
			all = append(all, leaves(child)...)
		}
	}
	if len(all) == 0 {
		return []*cobra.Command{c}
	}
	return all
}

func TestManualListsEveryCommand(t *testing.T) {
	root, err := wire(io.Discard, io.Discard)
	require.NoError(t, err)
	manual := documents(t)["commands.md"]
	for _, c := range leaves(root) {
		require.Regexp(t, "(?m)^\\| `"+c.CommandPath()+"[` ]", manual, "the table of all commands")
		require.NotEmpty(t, c.Short)
	}
	require.Len(t, regexp.MustCompile("(?m)^\\| `engine [a-z]").FindAllString(manual, -1), len(leaves(root)), "and no others are")
}

func TestManualShowsExistingCommandsAndFlags(t *testing.T) {
	root, err := wire(io.Discard, io.Discard)
	require.NoError(t, err)
	known := map[string]bool{"help": true, "version": true}
	for _, c := range leaves(root) {
		c.InheritedFlags().VisitAll(func(f *pflag.Flag) { known[f.Name] = true })
		c.LocalFlags().VisitAll(func(f *pflag.Flag) { known[f.Name] = true })
	}
	shown := 0
	for file, text := range documents(t) {
		for _, line := range aCommandLine.FindAllStringSubmatch(text, -1) {
			c, _, err := root.Find(strings.Fields(line[1]))
			require.NoError(t, err, "%s: engine %s", file, line[1])
			require.NotEqual(t, root, c, "%s: engine %s", file, line[1])
			for _, flag := range aFlag.FindAllStringSubmatch(line[1], -1) {
				has := flag[1] == "help" || c.Flags().Lookup(flag[1]) != nil || c.InheritedFlags().Lookup(flag[1]) != nil
				require.True(t, has, "%s: engine %s has no flag --%s", file, line[1], flag[1])
			}
			shown++
		}
		for _, flag := range aFlag.FindAllStringSubmatch(text, -1) {
			require.True(t, known[flag[1]], "%s: no command has --%s", file, flag[1])
		}
	}
	require.Greater(t, shown, 30)
}
