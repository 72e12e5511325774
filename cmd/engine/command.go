package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// group is a command that only has subcommands.
func group(use, short string, subcommands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  aCommand,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(subcommands...)
	return c
}

// reporting makes a command that prints its result in the format of --output.
func reporting(c *cobra.Command, run func(c *cobra.Command, args []string, output outputFlag) error) *cobra.Command {
	var output outputFlag
	output.add(c)
	c.RunE = func(c *cobra.Command, args []string) error { return run(c, args, output) }
	return c
}

// reportingOn is reporting for a command whose only argument is an address.
func reportingOn(need names, c *cobra.Command, run func(c *cobra.Command, at address, output outputFlag) error) *cobra.Command {
	_, argument, _ := strings.Cut(c.Use, " ")
	c.Args = exactArgs(argument)
	return reporting(c, func(c *cobra.Command, args []string, output outputFlag) error {
		at, err := readAddress(argument, args[0], need)
		if err != nil {
			return err
		}
		return run(c, at, output)
	})
}
