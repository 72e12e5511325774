package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rootgraft/rebuild"
	"github.com/rootgraft/rebuild/journalfile"
)

func (p cli) plan() *cobra.Command {
	var flags rebuildFlags
	c := &cobra.Command{
		Use:   "plan",
		Short: "Show what a rebuild would do, and why",
		Long: `plan observes both replicas and shows what rebuild would do, and why. It changes
nothing, except that a host may compute and store checksums that it does not have
yet (--no-checksums avoids that).

With --online it shows what rebuild --online would do. The flags of the freeze need not be
given; those of the copies (--bandwidth, --parallel, --verify) are only rebuild's.
` + addressHelp,
		Example: "  engine plan \\\n    --source 'unix:///var/tmp/a.sock?lvs=disk-1&replica=vol-1-r-0a1b2c3d' \\\n    --destination 'unix:///var/tmp/b.sock?lvs=disk-2&replica=vol-1-r-4e5f6a7b' --image base\n\n  engine plan --online --volume 'unix:///var/tmp/c.sock?raid=vol-1' \\\n    --source 'unix:///var/tmp/a.sock?lvs=disk-1&replica=vol-1-r-0a1b2c3d' \\\n    --destination 'unix:///var/tmp/b.sock?lvs=disk-2&replica=vol-1-r-4e5f6a7b'",
		RunE: func(c *cobra.Command, _ []string) error {
			if v := &flags.volume; v.freeze == "" && v.freezeCommand == "" && v.thawCommand == "" {
				v.freeze = freezeNone // a plan stops nobody
			}
			return p.withRequest(c, flags, func(request rebuild.Request, how rebuilder) error {
				sealings, err := knownSealings(flags.journal)
				if err != nil {
					return err
				}
				request.Options.Sealings = sealings
				plan, err := how.plan(c.Context(), request)
				report := rebuild.Report{Outcome: verdictOf(err).Outcome, Plan: plan, Warnings: plan.Warnings, Notices: plan.Notices, Deleted: plan.Deletions}
				return p.conclude(flags.output, err, newResult(report, err), planText(plan))
			})
		},
	}
	flags.add(c)
	c.Flags().StringVar(&flags.confirmed, "confirm", "", "plan what rebuild would do with --confirm `NAME`")
	return c
}

func planText(plan rebuild.Plan) string {
	var text strings.Builder
	writePlan(&text, plan)
	for _, warning := range plan.Warnings {
		fmt.Fprintf(&text, "  warning: %s\n", warning)
	}
	for _, notice := range plan.Notices {
		fmt.Fprintf(&text, "  notice: %s\n", notice)
	}
	return text.String()
}

func (p cli) rebuild() *cobra.Command {
	var flags rebuildFlags
	parallel := rebuild.DefaultParallel
	var bandwidth sizeFlag
	verify := verifyCounts
	c := &cobra.Command{
		Use:   "rebuild",
		Short: "Rebuild a replica on an SPDK target from a healthy one",
		Long: `rebuild makes the destination a copy of the source: its whole snapshot tree on the
volume's base, and a head. Nobody may write to either replica meanwhile, unless the
rebuild is --online. Interrupt it at any time and run it again: it keeps what was finished.

With several sources the plan is made from the first healthy one. The others serve
copies of snapshots that are proven identical there, and replace a source that
fails. If the first one lacks a user's snapshot that another one has, a part of the
size or all data, the rebuild is refused: name the right one with --right-source.

All copies share --bandwidth. A target limits in whole MiB per second: fewer copies
run at once if each would get less than one, and less than one in all is refused.

Snapshots that only the destination has are deleted. A destination is refused if it
is named as a replica of another volume and holds data, or if its head is larger
than the source's; --confirm NAME allows it.
` + inUseHelp + `A source is changed only if its head has clusters of its own: rebuild takes a
snapshot of it.

With --online, clients go on reading and writing the volume, a RAID1 over the heads of
its replicas. Each whole member is a source. The destination joins the RAID while clients
are stopped for a moment.
` + freezeHelp + addressHelp,
		Example: "  engine rebuild \\\n    --source 'unix:///var/tmp/a.sock?lvs=disk-1&replica=vol-1-r-0a1b2c3d' \\\n    --destination 'unix:///var/tmp/b.sock?lvs=disk-2&replica=vol-1-r-4e5f6a7b' --image base\n\n  engine rebuild --online --volume 'unix:///var/tmp/c.sock?raid=vol-1' --freeze ana \\\n    --source 'unix:///var/tmp/a.sock?lvs=disk-1&replica=vol-1-r-0a1b2c3d' \\\n    --destination 'unix:///var/tmp/b.sock?lvs=disk-2&replica=vol-1-r-4e5f6a7b'",
		RunE: func(c *cobra.Command, _ []string) error {
			if parallel < 1 {
				return badUsage("--parallel %d: expected at least 1", parallel)
			}
			if flags.noChecksums && verify == verifyProof {
				return badUsage("--no-checksums and --verify proof: expected one of them, got both")
			}
			if flags.online && verify == verifyViews {
				return badUsage("--online and --verify views: clients write meanwhile; expected counts or proof")
			}
			return p.withRequest(c, flags, func(request rebuild.Request, how rebuilder) error {
				if flags.journal != "" {
					kept, err := journalfile.Open(journalfile.Config{Path: flags.journal, Logger: p.log})
					if err != nil {
						return err
					}
					defer func() { _ = kept.Close() }() // each entry is written
					request.Journal = kept
				}
				request.Parallel = parallel
				request.Proof, request.Views = verify == verifyProof, verify == verifyViews
				if bandwidth > 0 {
					request.Bandwidth = []*rebuild.Bandwidth{rebuild.NewBandwidth(uint64(bandwidth))}
				}
				return p.runRebuild(c, request, how, flags.output)
			})
		},
	}
	flags.add(c)
	p.confirm.addFlag(c, &flags.confirmed, "destination")
	c.Flags().Var(&bandwidth, "bandwidth", "limit of all copies together, in bytes per second, such as 100MiB")
	c.Flags().IntVar(&parallel, "parallel", parallel, "number of copies at once; with 1, operations run one after the other")
	c.Flags().Var(newOneOf(&verify, verifyCounts, verifyProof, verifyViews), "verify", "check cluster counts, or maps and checksums, or every byte")
	return c
}

// runRebuild rebuilds and prints the result. On a terminal it asks before it overwrites what
// may be the only copy of something.
func (p cli) runRebuild(c *cobra.Command, request rebuild.Request, how rebuilder, output outputFlag) error {
	show := newPrinter(p.out)
	show.stopping = how.stopping
	if output == outputText {
		if err := show.before(c.Context(), request); err != nil {
			return err
		}
		request.Observer = show
	}
	report, err := how.rebuild(c.Context(), request)
	if loss := (*rebuild.LossRefusal)(nil); errors.As(err, &loss) && p.confirm.terminal && output == outputText {
		if err := p.confirm.require(c, "", loss.Replica, loss.Error()); err != nil {
			return err
		}
		request.Options.Overwrite = loss.Replica
		report, err = how.rebuild(c.Context(), request)
	}
	result := newResult(report, err)
	if output == outputText {
		show.after(report, result)
		if err != nil {
			err = &printedError{err}
		}
	}
	return p.conclude(output, err, result, "")
}
