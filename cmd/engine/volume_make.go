package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rootgraft/rebuild"
)

func (p cli) volumeCreate() *cobra.Command {
	flags := volumeCommand{mayBeNew: true, needsAll: true}
	var size sizeFlag
	var inUse bool
	c := &cobra.Command{
		Use:   "create",
		Short: "Make a volume: a RAID1 over the heads of replicas",
		Long: `create makes a RAID1 over the heads of replicas. Replicas that do not exist are created,
empty, as engine replica create does: then --size and the volume's base are required.
Replicas that exist must be whole and equal, and are compared: by maps and checksums where
hosts have them, else they are read. So are the bases. Heads on other targets are exported
for the RAID's target, and stay so. Nobody exports the RAID: that is up to you.

Interrupt create at any time and run it again: it goes on with what is there. If the
volume exists with just these members, create shows it.
` + inUseHelp + membersHelp,
		Example: "  engine volume create --volume 'unix:///var/tmp/c.sock?raid=vol-1' --size 16GiB --image base \\\n    --member 'unix:///var/tmp/a.sock?lvs=disk-1&replica=vol-1-r-0a1b2c3d' \\\n    --member 'unix:///var/tmp/b.sock?lvs=disk-2&replica=vol-1-r-4e5f6a7b'",
		Args:    exactArgs(),
		RunE: func(c *cobra.Command, _ []string) error {
			var report rebuild.VolumeReport
			err := p.withVolume(c, &flags, func(request rebuild.VolumeRequest) (err error) {
				for i := range request.Members {
					request.Members[i].AllowInUse = inUse
				}
				report, err = p.engine.CreateVolume(c.Context(), request, uint64(size))
				return err
			})
			return p.conclude(flags.output, err, newVolumeResult(report, err), volumeText(report))
		},
	}
	flags.addVolume(c)
	c.Flags().Var(&size, "size", "size of the volume if replicas are created: bytes, or a number with KiB, MiB, GiB or TiB")
	flags.base.add(c, baseUsage)
	addInUse(c, &inUse)
	flags.add(c)
	return c
}

// volumeRemovalResult is what volume delete prints as JSON.
type volumeRemovalResult struct {
	verdict
	Volume   string           `json:"volume"` // name
	Replicas []removedReplica `json:"replicas"`
}

// removedReplica is a former member. The plan lists what was to be deleted; it is empty if
// the replica was kept.
type removedReplica struct {
	Replica string      `json:"replica"`
	Store   string      `json:"store"`
	Plan    []planEntry `json:"plan"`
}

func (p cli) volumeDelete() *cobra.Command {
	flags := volumeCommand{needsAll: true}
	var confirmed string
	var replicas bool
	c := &cobra.Command{
		Use:   "delete",
		Short: "Delete a volume's RAID1; its replicas are kept, unless --replicas is given",
		Long: `delete deletes the RAID1, detaches its target from the heads of the replicas and closes
their exports. The replicas are kept as they are: engine volume create makes a volume of
them again. With --replicas they are deleted, too, as engine replica delete does; one with
children that belong to something else, such as a linked clone, is refused before anything
is changed.

delete is refused while something exports or claims the RAID, and while an engine works on
one of the replicas. Interrupt it at any time and run it again: it goes on with what is left.
` + membersHelp,
		Example: "  engine volume delete --volume 'unix:///var/tmp/c.sock?raid=vol-1' --confirm vol-1 \\\n    --member 'unix:///var/tmp/a.sock?lvs=disk-1&replica=vol-1-r-0a1b2c3d' \\\n    --member 'unix:///var/tmp/b.sock?lvs=disk-2&replica=vol-1-r-4e5f6a7b'",
		Args:    exactArgs(),
		RunE: func(c *cobra.Command, _ []string) error {
			var removal rebuild.VolumeRemoval
			err := p.withVolume(c, &flags, func(request rebuild.VolumeRequest) (err error) {
				if removal, err = p.engine.PlanVolumeRemoval(c.Context(), request, replicas); err != nil {
					return err
				}
				if err := p.confirm.require(c, confirmed, removal.Volume.Name, lostVolume(removal)); err != nil {
					return err
				}
				removal, err = p.engine.DeleteVolume(c.Context(), request, replicas)
				return err
			})
			text := ""
			if err == nil {
				text = fmt.Sprintf("deleted volume %s\n", removal.Volume.Name)
				for i, part := range removal.Replicas {
					text += fmt.Sprintf("  replica %s on %s: %s\n", part.Replica.Name, part.Replica.Store.Name, removedText(removal, i))
				}
			}
			return p.conclude(flags.output, err, newVolumeRemovalResult(removal, err), text)
		},
	}
	flags.addVolume(c)
	c.Flags().BoolVar(&replicas, "replicas", false, "delete the replicas, too, with all their snapshots")
	p.confirm.addFlag(c, &confirmed, "volume")
	flags.add(c)
	return c
}

func lostVolume(removal rebuild.VolumeRemoval) string {
	all := count(uint64(len(removal.Replicas)), "replica")
	if removal.Plans == nil {
		return fmt.Sprintf("volume %s will be deleted; its %s will be kept", removal.Volume.Name, all)
	}
	lvols := 0
	for _, plan := range removal.Plans {
		lvols += len(plan.Operations)
	}
	return fmt.Sprintf("volume %s will be deleted with its %s, %s", removal.Volume.Name, all, count(uint64(lvols), "lvol"))
}

func removedText(removal rebuild.VolumeRemoval, i int) string {
	if removal.Plans == nil {
		return "kept"
	}
	return "deleted, " + count(uint64(len(removal.Plans[i].Operations)), "lvol")
}

func newVolumeRemovalResult(removal rebuild.VolumeRemoval, failure error) volumeRemovalResult {
	r := volumeRemovalResult{verdict: verdictOf(failure), Volume: removal.Volume.Name, Replicas: []removedReplica{}}
	for i, part := range removal.Replicas {
		line := removedReplica{part.Replica.Name, part.Replica.Store.Name, []planEntry{}}
		if removal.Plans != nil {
			line.Plan = planEntries(removal.Plans[i])
		}
		r.Replicas = append(r.Replicas, line)
	}
	return r
}
