package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rootgraft/rebuild"
)

// repairState is what repair prints as JSON.
type repairState struct {
	verdict
	DryRun      bool            `json:"dryRun"`
	Plan        []planEntry     `json:"plan"`
	Compared    bool            `json:"compared"`
	Violations  []violationLine `json:"violations"`
	Notices     []string        `json:"notices"`
	CopiedBytes uint64          `json:"copiedBytes"` // always 0
	DurationMS  int64           `json:"durationMs"`
}

func (p cli) repair() *cobra.Command {
	var base baseFlags
	var compare string
	var dryRun, inUse bool
	c := reporting(&cobra.Command{
		Use:   "repair ADDRESS",
		Short: "Give a replica back the base that its ancestor lost",
		Long: `repair gives the ancestor its base back as its parent, by grafts on the replica's own
host. The base is a backing image or, of a linked clone, the entry point on a snapshot
of another volume. No data is copied, and the snapshots keep their data. The image, or
the snapshot, has to be on the host. repair refuses damage that a graft does not repair: rebuild
such a replica from a healthy one.

This restores lineage. While the base was lost, readers saw zeros instead of its
data, so what was written on top of them is unproven. --compare names a healthy
replica of the volume: repair compares cluster maps and checksums with it and
reports the differences.

Interrupt it at any time and run it again. Exit status: 0 repaired, 1 refused or
failed, or something is still wrong.
` + inUseHelp + addressHelp,
		Example: "  engine repair 'unix:///var/tmp/b.sock?lvs=disk-2&replica=vol-1-r-4e5f6a7b' --dry-run \\\n    --compare 'unix:///var/tmp/a.sock?lvs=disk-1&replica=vol-1-r-0a1b2c3d'",
		Args:    exactArgs("ADDRESS"),
	}, func(c *cobra.Command, args []string, output outputFlag) error {
		request, places, err := repairRequest(c, args[0], compare, base)
		if err != nil {
			return err
		}
		var report rebuild.RepairReport
		err = p.open.with(c.Context(), places[0], func(host openedHost) error {
			request.Replica.Host, request.Replica.AllowInUse = host, inUse
			run := func() (err error) {
				if dryRun {
					report.Plan, err = p.engine.PlanRepair(c.Context(), request)
					report.Notices = report.Plan.Warnings
					return err
				}
				report, err = p.engine.Repair(c.Context(), request)
				return err
			}
			if len(places) == 1 {
				return run()
			}
			return p.open.with(c.Context(), places[1], func(healthy openedHost) error {
				request.Healthy.Host = healthy
				return run()
			})
		})
		state := newRepairState(report, dryRun, err)
		text := repairText(report, dryRun, err)
		if err == nil && len(report.Violations) > 0 {
			err = &printedError{errors.New("something is still wrong")}
		}
		return p.concludeAnyway(output, err, state, text)
	})
	base.add(c, baseUsage)
	c.Flags().StringVar(&compare, "compare", "", "`ADDRESS` of a healthy replica to compare with")
	addInUse(c, &inUse)
	c.Flags().BoolVar(&dryRun, "dry-run", false, "show the plan and change nothing")
	return c
}

func repairRequest(c *cobra.Command, at, compare string, base baseFlags) (request rebuild.RepairRequest, places []address, err error) {
	replica, err := readAddress("ADDRESS", at, namesReplica)
	if err != nil {
		return request, nil, err
	}
	places = []address{replica}
	request.Replica.Replica = replica.replica
	if c.Flags().Changed("compare") {
		healthy, err := parseAddress("compare", compare)
		if err != nil {
			return request, nil, err
		}
		places = append(places, healthy)
		request.Healthy.Replica = healthy.replica
	}
	request.Base, err = base.base(c)
	return request, places, err
}

func newRepairState(report rebuild.RepairReport, dryRun bool, failure error) repairState {
	return repairState{
		verdict: verdictOf(failure), DryRun: dryRun, Plan: planEntries(report.Plan), Compared: report.Compared,
		Violations: violationLines(report.Violations), Notices: append([]string{}, report.Notices...),
		CopiedBytes: 0, DurationMS: report.Duration.Milliseconds(),
	}
}

func planEntries(plan rebuild.Plan) []planEntry {
	return each(plan.Steps, func(step rebuild.Step) planEntry {
		return planEntry{step.Snapshot, step.Parent.String(), step.Action, step.Reason, step.Clusters, step.Deleted}
	})
}

func repairText(report rebuild.RepairReport, dryRun bool, failure error) string {
	if report.Plan.Base == (rebuild.Base{}) {
		return "" // refused before there was a plan
	}
	var text strings.Builder
	text.WriteString("Plan\n")
	writePlan(&text, report.Plan)
	if !dryRun && failure == nil {
		text.WriteString("\nAfter\n" + indent(drawTree(report.Replica), "  "))
		text.WriteString("\nVerdict\n")
		if len(report.Plan.Operations) == 0 {
			text.WriteString("  nothing to do\n")
		} else {
			text.WriteString("  lineage is restored; no data was copied\n")
		}
		for _, v := range report.Violations {
			fmt.Fprintf(&text, "  still wrong: %s\n", v)
		}
	}
	if dryRun && failure == nil && len(report.Notices) > 0 {
		text.WriteString("\nNotices\n")
	}
	for _, notice := range report.Notices {
		fmt.Fprintf(&text, "  notice: %s\n", notice)
	}
	return text.String()
}
