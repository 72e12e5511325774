package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/rootgraft/rebuild"
)

// replicaResult is what replica create prints as JSON.
type replicaResult struct {
	verdict
	Replica *treeState `json:"replica"` // null: it was not created
}

// removalResult is what replica delete prints as JSON. The plan lists what was to be
// deleted, in that order.
type removalResult struct {
	verdict
	Plan []planEntry `json:"plan"`
}

func (p cli) replica() *cobra.Command {
	return group("replica", "Create, list and delete replicas",
		p.replicaCreate(), p.replicaList(), p.replicaDelete())
}

func (p cli) replicaCreate() *cobra.Command {
	var size sizeFlag
	var base baseFlags
	c := reportingOn(namesReplica, &cobra.Command{
		Use:   "create ADDRESS",
		Short: "Create a replica without snapshots: a head on the volume's base",
		Long: `create makes the head of a new replica. Its parent is the volume's base, or nothing;
the head records which. The base is a backing image, which has to be on the host, or a
snapshot of a replica there: then the volume is a linked clone. The replica takes no
space until it is written to.
` + addressHelp,
		Example: "  engine replica create 'unix:///var/tmp/a.sock?lvs=disk-1&replica=vol-1-r-0a1b2c3d' --size 16GiB --image base",
	}, func(c *cobra.Command, at address, output outputFlag) error {
		said, err := base.base(c)
		switch {
		case err != nil:
			return err
		case !said.Known():
			return badUsage("%s: --base BASE, --image NAME or --no-image is required: an lvol without a parent does not tell whether it should have one", c.CommandPath())
		case size == 0:
			return badUsage("%s: --size is required, such as 16GiB", c.CommandPath())
		}
		var r rebuild.Replica
		err = p.open.with(c.Context(), at, func(host openedHost) (err error) {
			r, err = p.engine.CreateReplica(c.Context(), rebuild.Site{Host: host, Replica: at.replica}, uint64(size), said)
			return err
		})
		result, text := replicaResult{verdict: verdictOf(err)}, ""
		if err == nil {
			state := newTreeState(r)
			result.Replica = &state
			text = fmt.Sprintf("created replica %s of %s on lvstore %s\n%s", r.Name, bytesText(r.Head.Size), r.Store.Name, indent(drawTree(r), "  "))
		}
		return p.conclude(output, err, result, text)
	})
	c.Flags().Var(&size, "size", "size of the volume: bytes, or a number with KiB, MiB, GiB or TiB")
	base.add(c, "`BASE` of the volume: "+baseForms)
	return c
}

func (p cli) replicaList() *cobra.Command {
	return reportingOn(namesNoReplica, &cobra.Command{
		Use:   "list HOST",
		Short: "List the replicas, backing images and other lvols of a host",
		Long: `list shows every replica on an lvstore, complete or not, the backing images, and all
other lvols. Its JSON is that of engine tree.

A HOST is ` + hostAddressForm + `.`,
		Example: "  engine replica list 'unix:///var/tmp/a.sock?lvs=disk-1'",
	}, func(c *cobra.Command, at address, output outputFlag) error {
		survey, err := p.survey(c, at)
		return p.conclude(output, err, newHostState(survey, err), listText(survey))
	})
}

// listText is surveyText with a table instead of trees.
func listText(survey rebuild.Survey) string {
	rest := survey
	rest.Replicas = nil
	text := surveyText(rest, drawReplica, true)
	if len(survey.Replicas) == 0 {
		return text
	}
	var table strings.Builder
	rows := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(rows, "REPLICA\tSIZE\tSNAPSHOTS\tOWN CLUSTERS\tBASE\tSTATE")
	for _, r := range survey.Replicas {
		audit := rebuild.Audit(r, rebuild.Base{})
		size := "-"
		var own uint64
		if r.Head != nil {
			size, own = sizeText(*r.Head), r.Head.Own.Count
		}
		for _, snapshot := range r.Snapshots {
			own += snapshot.Lvol.Own.Count
		}
		fmt.Fprintf(rows, "%s\t%s\t%d\t%d\t%s\t%s\n", r.Name, size, len(r.Snapshots), own, listedBase(audit.Base), stateWords(audit)+useWords(r))
	}
	_ = rows.Flush() // to a builder
	return strings.Replace(text, "\nno replicas\n", "\n"+table.String(), 1)
}

// listedBase is a base in a column: an image's name alone.
func listedBase(b rebuild.Base) string {
	if name, ok := b.Image(); ok {
		return name
	}
	if !b.Known() {
		return "?"
	}
	return baseWords(b)
}

// stateWords describes a replica's state in a few words.
func stateWords(audit rebuild.ReplicaAudit) string {
	state, lost := "whole", "lost its "+baseNoun(audit.Base)
	for _, v := range audit.Violations {
		switch {
		case v.Rule == rebuild.RuleHead:
			return "no head"
		case v.Rule == rebuild.RuleAncestorParent, v.Rule == rebuild.RuleBase && audit.Replica.Hurt(audit.Base):
			state = lost
		case state == "whole" && v.Rule == rebuild.RuleInFlight:
			state = "whole, with leftovers"
		case v.Rule == rebuild.RuleEntryPoint:
			if strings.HasPrefix(state, "whole") {
				state = "whole, but its linked clones are hurt"
			}
		case state != lost && v.Rule != rebuild.RuleInFlight:
			state = "broken, see audit"
		}
	}
	return state
}

// useWords names the user of a replica, to follow its state.
func useWords(r rebuild.Replica) string {
	for _, l := range append(r.Views(), r.InFlight...) {
		if l.UsedBy.Any() && (r.Head == nil || l.UUID == r.Head.UUID || !r.Head.UsedBy.Any()) {
			return ", in use: " + l.UsedBy.String()
		}
	}
	return ""
}

func (p cli) replicaDelete() *cobra.Command {
	var confirmed string
	var inUse bool
	c := reportingOn(namesReplica, &cobra.Command{
		Use:   "delete ADDRESS",
		Short: "Delete a replica with its snapshots and lvols in flight",
		Long: `delete deletes the head first, since a replica with a head is complete, and then the
snapshots, leaves first, and lvols in flight. It refuses a replica with children that
belong to something else, such as a linked clone or another replica. Backing images
are kept. Interrupt it at any time and run it again: it goes on with what is left.

delete does not check whether the volume has other healthy replicas. It is refused
while an engine on this machine works on the replica; a rebuild from elsewhere that
writes to the replica fails.
` + inUseHelp + addressHelp,
		Example: "  engine replica delete 'unix:///var/tmp/a.sock?lvs=disk-1&replica=vol-1-r-0a1b2c3d' \\\n    --confirm vol-1-r-0a1b2c3d",
	}, func(c *cobra.Command, at address, output outputFlag) error {
		var plan rebuild.Plan
		err := p.open.with(c.Context(), at, func(host openedHost) (err error) {
			site := rebuild.Site{Host: host, Replica: at.replica, AllowInUse: inUse}
			if plan, err = p.engine.PlanReplicaRemoval(c.Context(), site); err != nil {
				return err
			}
			lost := fmt.Sprintf("replica %s with %s will be deleted", at.replica, count(uint64(len(plan.Operations)), "lvol"))
			if err := p.confirm.require(c, confirmed, at.replica, lost); err != nil {
				return err
			}
			plan, err = p.engine.DeleteReplica(c.Context(), site, nil)
			return err
		})
		text := fmt.Sprintf("deleted replica %s: %s\n", at.replica, count(uint64(len(plan.Operations)), "lvol"))
		return p.conclude(output, err, removalResult{verdictOf(err), planEntries(plan)}, text)
	})
	p.confirm.addFlag(c, &confirmed, "replica")
	addInUse(c, &inUse)
	return c
}
