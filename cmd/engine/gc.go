package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rootgraft/rebuild"
)

// garbageResult is what gc prints as JSON: what was found or, if removed is true, what
// was removed. stays is the reason to keep it.
type garbageResult struct {
	verdict
	Removed bool            `json:"removed"`
	Lvols   []leftoverState `json:"lvols"`
	Opened  []openedState   `json:"opened"`
}

type leftoverState struct {
	Name  string `json:"name"`
	Size  uint64 `json:"size"`
	Stays string `json:"stays"`
}

type openedState struct {
	What    string `json:"what"`
	Replica string `json:"replica"`
	Run     string `json:"run"`
	Stays   string `json:"stays"`
}

func (p cli) gc() *cobra.Command {
	yes := false
	c := reportingOn(namesNoReplica, &cobra.Command{
		Use:   "gc HOST",
		Short: "Find what crashed runs left on a host, and remove it",
		Long: `gc finds what runs left on a host that ended before they could clean up: lvols in
flight and helpers, subsystems and controllers. It also finds entry points without
linked clones. It shows which of them can be removed; it removes them only with --yes.
It keeps what belongs to a live run, in this process or another one, or to another
engine, and what is still in use.

A HOST is ` + hostAddressForm + `.`,
		Example: "  engine gc 'unix:///var/tmp/a.sock?lvs=disk-1'\n  engine gc 'unix:///var/tmp/a.sock?lvs=disk-1' --yes",
	}, func(c *cobra.Command, at address, output outputFlag) error {
		var found, removed rebuild.Garbage
		err := p.open.with(c.Context(), at, func(host openedHost) (err error) {
			if found, err = p.engine.FindGarbage(c.Context(), host); err != nil || !yes {
				return err
			}
			removed, err = p.engine.RemoveGarbage(c.Context(), host)
			return err
		})
		shown := found
		if yes {
			shown = removed
		}
		return p.concludeAnyway(output, err, newGarbageResult(shown, yes, err), garbageText(found, removed, yes))
	})
	c.Flags().BoolVar(&yes, "yes", false, "remove what can be removed")
	return c
}

func newGarbageResult(g rebuild.Garbage, removed bool, failure error) garbageResult {
	return garbageResult{
		verdict: verdictOf(failure), Removed: removed,
		Lvols:  each(g.Lvols, func(l rebuild.Leftover) leftoverState { return leftoverState{l.Lvol.Name, l.Lvol.Size, l.Stays} }),
		Opened: each(g.Opened, func(o rebuild.Leaving) openedState { return openedState{o.What, o.Run.Replica, o.Run.ID, o.Stays} }),
	}
}

func garbageText(found, removed rebuild.Garbage, yes bool) string {
	if found.Store.UUID == "" {
		return "" // the host was not listed
	}
	var text strings.Builder
	all := len(found.Lvols) + len(found.Opened)
	fmt.Fprintf(&text, "lvstore %s: %s\n", found.Store.Name, count(uint64(all), "leftover"))
	gone := make(map[string]bool)
	for _, l := range removed.Lvols {
		gone[l.Lvol.UUID] = true
	}
	for _, o := range removed.Opened {
		gone[o.What] = true
	}
	can := 0
	line := func(id, what, stays string) {
		switch {
		case stays != "":
			what += ": kept: " + stays
		case gone[id]:
			what += ": removed"
		case yes:
			what += ": not removed"
		default:
			can++
		}
		fmt.Fprintf(&text, "  %s\n", what)
	}
	for _, o := range found.Opened {
		line(o.What, o.What, o.Stays)
	}
	for _, l := range found.Lvols {
		what := fmt.Sprintf("lvol %s of %s", l.Lvol.Name, sizeText(l.Lvol))
		if l.IsEntryPoint() {
			what = fmt.Sprintf("entry point %s without linked clones", l.Lvol.Name)
		}
		line(l.Lvol.UUID, what, l.Stays)
	}
	if can > 0 {
		fmt.Fprintf(&text, "nothing was removed; --yes removes %s\n", count(uint64(can), "leftover"))
	}
	return text.String()
}
