package main

import (
	"cmp"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/rootgraft/rebuild"
)

// snapshotResult is what snapshot create prints as JSON.
type snapshotResult struct {
	verdict
	Snapshot *snapState `json:"snapshot"` // null: it was not created
}

// mergeResult is what snapshot delete prints as JSON.
type mergeResult struct {
	verdict
	Snapshot   string `json:"snapshot"`
	MergedInto string `json:"mergedInto"` // an lvol's name; "": it had no children
}

// revertResult is what snapshot revert prints as JSON.
type revertResult struct {
	verdict
	Snapshot     string `json:"snapshot"`
	Size         uint64 `json:"size"`         // of the new head, in bytes
	LostClusters uint64 `json:"lostClusters"` // of the old head's own
}

// othersHelp is in the help of the commands that change one replica of a volume.
const othersHelp = `
Only this replica is changed. Do the same to the volume's other replicas, or they
will differ.
`

func (p cli) snapshot() *cobra.Command {
	return group("snapshot", "Create, list and delete snapshots of a replica, and revert to one",
		p.snapshotCreate(), p.snapshotList(), p.snapshotDelete(), p.snapshotRevert())
}

// reportingOnSnapshot is reporting for a command whose arguments are a replica's address and
// the name of a snapshot.
func reportingOnSnapshot(c *cobra.Command, run func(c *cobra.Command, at address, name string, output outputFlag) error) *cobra.Command {
	c.Args = exactArgs("ADDRESS", "NAME")
	return reporting(c, func(c *cobra.Command, args []string, output outputFlag) error {
		at, err := readAddress("ADDRESS", args[0], namesReplica)
		if err != nil {
			return err
		}
		return run(c, at, args[1], output)
	})
}

func (p cli) snapshotCreate() *cobra.Command {
	var inUse bool
	c := reportingOnSnapshot(&cobra.Command{
		Use:   "create ADDRESS NAME",
		Short: "Create a snapshot of a replica's head",
		Long: `create takes a snapshot of a replica's head: the head's own clusters move into the
snapshot, which becomes the head's parent. Data that is written meanwhile is in one
of the two.
` + othersHelp + inUseHelp + addressHelp,
		Example: "  engine snapshot create 'unix:///var/tmp/a.sock?lvs=disk-1&replica=vol-1-r-0a1b2c3d' before-upgrade",
	}, func(c *cobra.Command, at address, name string, output outputFlag) error {
		if err := rebuild.CheckSnapshotName(name); err != nil {
			return badUsage("NAME: %v", err)
		}
		result, text := snapshotResult{}, ""
		err := p.open.with(c.Context(), at, func(host openedHost) error {
			snapshot, err := p.engine.CreateSnapshot(c.Context(), rebuild.Site{Host: host, Replica: at.replica, AllowInUse: inUse}, name)
			if err != nil {
				return err
			}
			r, err := p.engine.Replica(c.Context(), rebuild.Site{Host: host, Replica: at.replica})
			if err != nil {
				return err
			}
			state := newSnapState(r, snapshot)
			result.Snapshot = &state
			text = fmt.Sprintf("created snapshot %s of replica %s: %s\n", name, at.replica, count(snapshot.Lvol.Own.Count, "cluster"))
			return nil
		})
		result.verdict = verdictOf(err)
		return p.conclude(output, err, result, text)
	})
	addInUse(c, &inUse)
	return c
}

func (p cli) snapshotList() *cobra.Command {
	return reportingOn(namesReplica, &cobra.Command{
		Use:     "list ADDRESS",
		Short:   "List a replica's snapshots, parents before children",
		Long:    "list shows a replica's snapshots. Its JSON is that of engine tree.\n" + addressHelp,
		Example: "  engine snapshot list 'unix:///var/tmp/a.sock?lvs=disk-1&replica=vol-1-r-0a1b2c3d'",
	}, func(c *cobra.Command, at address, output outputFlag) error {
		survey, err := p.survey(c, at)
		text := ""
		if err == nil {
			text = snapshotsText(survey.Replicas[0])
		}
		return p.conclude(output, err, newHostState(survey, err), text)
	})
}

func snapshotsText(r rebuild.Replica) string {
	if len(r.Snapshots) == 0 {
		return "no snapshots\n"
	}
	var text strings.Builder
	rows := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(rows, "SNAPSHOT\tPARENT\tSIZE\tOWN CLUSTERS\tCREATED\tBY")
	for _, snapshot := range r.ParentsFirst() {
		state := newSnapState(r, snapshot)
		by := "user"
		switch {
		case !r.Store.Records:
			by = "?"
		case !state.UserCreated:
			by = "system"
		}
		fmt.Fprintf(rows, "%s\t%s\t%s\t%d\t%s\t%s\n", state.Name, cmp.Or(state.Parent, "-"), sizeText(snapshot.Lvol), state.AllocatedClusters, cmp.Or(state.CreatedAt, "?"), by)
	}
	_ = rows.Flush() // to a builder
	return text.String()
}

func (p cli) snapshotDelete() *cobra.Command {
	var confirmed string
	var inUse bool
	c := reportingOnSnapshot(&cobra.Command{
		Use:   "delete ADDRESS NAME",
		Short: "Delete a snapshot; the data of other lvols stays the same",
		Long: `delete deletes a snapshot. If its only child is an lvol of the replica, the snapshot
merges into that: the clusters that the child lacks move there, and no data changes.
A snapshot with several children, or with a child that is not the replica's, is
refused.
` + othersHelp + inUseHelp + addressHelp,
		Example: "  engine snapshot delete 'unix:///var/tmp/a.sock?lvs=disk-1&replica=vol-1-r-0a1b2c3d' before-upgrade \\\n    --confirm before-upgrade",
	}, func(c *cobra.Command, at address, name string, output outputFlag) error {
		var removal rebuild.SnapshotRemoval
		err := p.open.with(c.Context(), at, func(host openedHost) (err error) {
			site := rebuild.Site{Host: host, Replica: at.replica, AllowInUse: inUse}
			if removal, err = p.engine.PlanSnapshotRemoval(c.Context(), site, name); err != nil {
				return err
			}
			lost := fmt.Sprintf("snapshot %s of replica %s will be deleted", name, at.replica)
			if err := p.confirm.require(c, confirmed, name, lost); err != nil {
				return err
			}
			removal, err = p.engine.DeleteSnapshot(c.Context(), site, name)
			return err
		})
		result := mergeResult{verdict: verdictOf(err), Snapshot: name}
		text := ""
		if err == nil {
			text = fmt.Sprintf("deleted snapshot %s of replica %s: it had no children\n", name, at.replica)
			if removal.Into != nil {
				result.MergedInto = removal.Into.Name
				text = fmt.Sprintf("deleted snapshot %s of replica %s: it merged into %s\n", name, at.replica, removal.Into.Name)
			}
		}
		return p.conclude(output, err, result, text)
	})
	p.confirm.addFlag(c, &confirmed, "snapshot")
	addInUse(c, &inUse)
	return c
}

func (p cli) snapshotRevert() *cobra.Command {
	var confirmed string
	var inUse bool
	var size sizeFlag
	c := reportingOnSnapshot(&cobra.Command{
		Use:   "revert ADDRESS NAME",
		Short: "Revert the head to a snapshot; what was written since is lost",
		Long: `revert deletes the head and clones a new one from the snapshot, of the same size as
the old head, even if the volume was expanded since. Other snapshots are kept: the
tree branches. Nobody may use the head meanwhile.

No target replaces an lvol in one call, so the replica has no head for a moment.
Before revert deletes the old head, it makes a stand-in that keeps its size; if it is
interrupted then, run it again. On a host that keeps no records, give --size too.
` + othersHelp + inUseHelp + addressHelp,
		Example: "  engine snapshot revert 'unix:///var/tmp/a.sock?lvs=disk-1&replica=vol-1-r-0a1b2c3d' before-upgrade \\\n    --confirm before-upgrade",
	}, func(c *cobra.Command, at address, name string, output outputFlag) error {
		var revert rebuild.Revert
		err := p.open.with(c.Context(), at, func(host openedHost) (err error) {
			request := rebuild.RevertRequest{Replica: rebuild.Site{Host: host, Replica: at.replica, AllowInUse: inUse}, Snapshot: name, Size: uint64(size)}
			if revert, err = p.engine.PlanRevert(c.Context(), request); err != nil {
				return err
			}
			lost := fmt.Sprintf("replica %s will revert to snapshot %s and lose %s of its head", at.replica, name, count(lostClusters(revert), "cluster"))
			if err := p.confirm.require(c, confirmed, name, lost); err != nil {
				return err
			}
			revert, err = p.engine.Revert(c.Context(), request)
			return err
		})
		result := revertResult{verdict: verdictOf(err), Snapshot: name}
		text := ""
		if err == nil {
			result.Size, result.LostClusters = revert.Size, lostClusters(revert)
			text = fmt.Sprintf("reverted replica %s to snapshot %s: the head has %s and lost %s\n", at.replica, name, bytesText(revert.Size), count(lostClusters(revert), "cluster"))
		}
		return p.conclude(output, err, result, text)
	})
	p.confirm.addFlag(c, &confirmed, "snapshot")
	addInUse(c, &inUse)
	c.Flags().Var(&size, "size", "size of the volume, if an interrupted revert deleted the head and the host keeps no records")
	return c
}

func lostClusters(revert rebuild.Revert) uint64 {
	if revert.Old == nil {
		return 0
	}
	return revert.Old.Own.Count
}
