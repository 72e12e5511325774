package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rootgraft/rebuild"
)

// volumeSnapshotResult is what volume snapshot prints as JSON.
type volumeSnapshotResult struct {
	volumeResult
	Snapshot string   `json:"snapshot"` // "": it was not taken
	FreezeMS float64  `json:"freezeMs"` // how long clients were stopped
	Warnings []string `json:"warnings"` // of members whose bytes may differ
}

func (p cli) volumeSnapshot() *cobra.Command {
	flags := volumeCommand{freezes: true}
	c := &cobra.Command{
		Use:   "snapshot NAME",
		Short: "Take a snapshot of every member of a live volume, in one freeze",
		Long: `snapshot takes a snapshot of one name of every member, while clients are stopped for a
moment. It works while a replica is being rebuilt, too: give that one as a --member, and its
live head gets the snapshot. If it fails on one member, it is taken away from the others.
If it was interrupted, run it again: it lets clients go on, and takes a snapshot of that name
away first that only some members have, which it tells, or the one of a rebuild that died.
` + freezeHelp + membersHelp,
		Example: "  engine volume snapshot before-upgrade --volume 'unix:///var/tmp/c.sock?raid=vol-1' --freeze ana \\\n    --member 'unix:///var/tmp/a.sock?lvs=disk-1&replica=vol-1-r-0a1b2c3d' \\\n    --member 'unix:///var/tmp/b.sock?lvs=disk-2&replica=vol-1-r-4e5f6a7b'",
		Args:    exactArgs("NAME"),
		RunE: func(c *cobra.Command, args []string) error {
			name := args[0]
			if err := rebuild.CheckSnapshotName(name); err != nil {
				return badUsage("NAME: %v", err)
			}
			var taken rebuild.VolumeSnapshot
			err := p.withVolume(c, &flags, func(request rebuild.VolumeRequest) (err error) {
				taken, err = p.engine.SnapshotVolume(c.Context(), request, name)
				return err
			})
			result, text := volumeSnapshotResult{volumeResult: newVolumeResult(taken.VolumeReport, err), FreezeMS: milliseconds(taken.Frozen)}, ""
			result.Warnings = append([]string{}, taken.Warnings...)
			if taken.Taken {
				result.Snapshot = taken.Name
				text = fmt.Sprintf("took snapshot %s of %s of volume %s; %s for %s\n",
					taken.Name, count(uint64(membersWith(taken)), "member"), taken.Volume.Name, flags.stopping(), millisecondsText(result.FreezeMS))
				for _, warning := range taken.Warnings {
					text += "warning: " + warning + "\n"
				}
			}
			return p.concludeAnyway(flags.output, err, result, text)
		},
	}
	flags.volumeFlags.add(c)
	flags.add(c)
	return c
}

// membersWith is the number of members that have the snapshot.
func membersWith(taken rebuild.VolumeSnapshot) (n int) {
	for _, p := range taken.Replicas {
		if p.Member.Mode == rebuild.ModeRW || p.Member.Mode == rebuild.ModeWO {
			n++
		}
	}
	return n
}
