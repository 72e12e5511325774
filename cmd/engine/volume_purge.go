package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rootgraft/rebuild"
)

// volumePurgeResult is what volume purge prints as JSON.
type volumePurgeResult struct {
	verdict
	Volume    string       `json:"volume"` // name
	Purged    bool         `json:"purged"` // --yes was given
	Snapshots []purgeState `json:"snapshots"`
	FreezeMS  float64      `json:"freezeMs"` // of several freezes the longest
	Warnings  []string     `json:"warnings"` // of members whose bytes may differ
}

// purgeState is a system snapshot of an earlier rebuild. stays is the reason to keep it.
type purgeState struct {
	Name       string   `json:"name"`
	Members    []string `json:"members"`    // replicas that have it
	MergesInto string   `json:"mergesInto"` // a snapshot's name, head, or "" if it has no children
	Stays      string   `json:"stays"`
	Gone       bool     `json:"gone"`
}

func (p cli) volumePurge() *cobra.Command {
	var flags volumeCommand
	c := &cobra.Command{
		Use:   "purge",
		Short: "Find the system snapshots of earlier rebuilds, and delete them on all members",
		Long: `purge finds the snapshots that rebuilds took of a volume: rebuild-cut-… and rebuild-… with
8 hex digits. It shows which can be deleted; it deletes them only with --yes, each on all
members while clients are stopped for a moment. A snapshot merges into its child, and no
other data changes.

It keeps a snapshot that several lvols or linked clones read through, and one that a
replica has which is not whole: a rebuild of that replica can keep what it proves. So name
lost replicas, too. purge is refused while a rebuild is at work, and while a rebuild has
left something that may read through such a snapshot. If it was interrupted, run it again.
` + freezeHelp + membersHelp,
		Example: "  engine volume purge --volume 'unix:///var/tmp/c.sock?raid=vol-1' --freeze ana --yes \\\n    --member 'unix:///var/tmp/a.sock?lvs=disk-1&replica=vol-1-r-0a1b2c3d' \\\n    --member 'unix:///var/tmp/b.sock?lvs=disk-2&replica=vol-1-r-4e5f6a7b'",
		Args:    exactArgs(),
		RunE: func(c *cobra.Command, _ []string) error {
			var purge rebuild.VolumePurge
			err := p.withVolume(c, &flags, func(request rebuild.VolumeRequest) (err error) {
				work := p.engine.PlanVolumePurge
				if flags.freezes {
					work = p.engine.PurgeVolume
				}
				purge, err = work(c.Context(), request)
				return err
			})
			result, text := newVolumePurgeResult(purge, flags.freezes, err), ""
			if err == nil || len(purge.Snapshots)+len(purge.Warnings) > 0 {
				text = volumePurgeText(result, flags.stopping())
			}
			return p.concludeAnyway(flags.output, err, result, text)
		},
	}
	c.Flags().BoolVar(&flags.freezes, "yes", false, "delete what can be deleted")
	flags.volumeFlags.add(c)
	flags.add(c)
	return c
}

func newVolumePurgeResult(purge rebuild.VolumePurge, yes bool, failure error) volumePurgeResult {
	r := volumePurgeResult{verdict: verdictOf(failure), Volume: purge.Volume.Name, Purged: yes, Snapshots: []purgeState{}, FreezeMS: milliseconds(purge.Frozen), Warnings: append([]string{}, purge.Warnings...)}
	for _, s := range purge.Snapshots {
		state := purgeState{s.Snapshot, []string{}, s.Into, s.Stays, slices.Contains(purge.Purged, s.Snapshot)}
		for _, at := range s.Members {
			state.Members = append(state.Members, purge.Replicas[at].Replica.Name)
		}
		r.Snapshots = append(r.Snapshots, state)
	}
	return r
}

func volumePurgeText(r volumePurgeResult, clients string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "volume %s: %s of earlier rebuilds\n", r.Volume, count(uint64(len(r.Snapshots)), "system snapshot"))
	can := 0
	for _, s := range r.Snapshots {
		fmt.Fprintf(&text, "  %s on %s: %s\n", s.Name, count(uint64(len(s.Members)), "member"), purgeText(s, r.Purged))
		if s.Stays == "" {
			can++
		}
	}
	switch {
	case can > 0 && !r.Purged:
		fmt.Fprintf(&text, "nothing was deleted; --yes deletes %s\n", count(uint64(can), "snapshot"))
	case r.FreezeMS > 0:
		fmt.Fprintf(&text, "%s for %s at most\n", clients, millisecondsText(r.FreezeMS))
	}
	for _, warning := range r.Warnings {
		fmt.Fprintf(&text, "warning: %s\n", warning)
	}
	return text.String()
}

func purgeText(s purgeState, purged bool) string {
	into := "it merges into " + s.MergesInto
	if s.MergesInto == "" {
		into = "it has no children"
	}
	switch {
	case s.Stays != "":
		return "kept: " + oneLine(s.Stays)
	case s.Gone:
		return "deleted; " + strings.Replace(into, "merges", "merged", 1)
	case purged:
		return "not deleted"
	}
	return into
}
