package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rootgraft/rebuild"
)

// auditState is what audit prints as JSON.
type auditState struct {
	verdict
	Wrong   bool           `json:"wrong"`
	Volumes []volumeState  `json:"volumes"`
	Unclear []unclearState `json:"unclear"`
}

type volumeState struct {
	Base        string            `json:"base"`         // "none"; "": unknown
	Image       string            `json:"backingImage"` // likewise; "": it has another base
	Replicas    []auditedState    `json:"replicas"`
	Differences []differenceState `json:"differences"`
	Notices     []string          `json:"notices"`
}

type auditedState struct {
	Name       string          `json:"name"`
	Store      string          `json:"store"`
	Violations []violationLine `json:"violations"`
	Notices    []string        `json:"notices"`
}

type differenceState struct {
	Subject string       `json:"subject"`
	Rule    string       `json:"rule"`
	Groups  []groupState `json:"groups"`
}

type groupState struct {
	Value    string   `json:"value"`
	Replicas []string `json:"replicas"`
}

func (p cli) audit() *cobra.Command {
	verify := verifyProof
	var base baseFlags
	c := reporting(&cobra.Command{
		Use:   "audit ADDRESS…",
		Short: "Find what is wrong with replicas, and how those of a volume differ",
		Long: `audit reports which rules the trees of replicas break, above all whether the
ancestor lost its base, which is a backing image or, of a linked clone, the entry
point on a snapshot of another volume. It compares several replicas of a volume:
names, parents, base, sizes, cluster maps and checksums; each difference is reported once.
An address without a replica means all replicas of the host; of these, audit
compares those that are named as replicas of one volume (VOLUME-r-SOMETHING).

A volume's base is known from --base, --image or --no-image, from the record on a
head, from lineage, or from another replica. If none of them tells it, audit says so:
a replica that lost its base looks like one that never had any.

audit changes nothing, except that a host may compute and store checksums that it
does not have yet (--verify counts avoids that). Nobody may write to the volume
meanwhile, or audit may report differences that do not exist.

Exit status: 0 nothing is wrong, 1 something is wrong, or the audit failed.
` + addressHelp,
		Example: "  engine audit 'unix:///var/tmp/a.sock?lvs=disk-1'\n  engine audit 'unix:///var/tmp/a.sock?lvs=disk-1&replica=vol-1-r-0a1b2c3d' \\\n    'unix:///var/tmp/b.sock?lvs=disk-2&replica=vol-1-r-4e5f6a7b'",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return badUsage("%s: expected an address or several, got none; see %s --help", c.Use, c.CommandPath())
			}
			return nil
		},
	}, func(c *cobra.Command, args []string, output outputFlag) error {
		request := rebuild.AuditRequest{Counts: verify == verifyCounts}
		var err error
		if request.Base, err = base.base(c); err != nil {
			return err
		}
		places := make([]address, len(args))
		for i, arg := range args {
			if places[i], err = readAddress("ADDRESS", arg, mayNameReplica); err != nil {
				return err
			}
			if request.Base.Known() && places[i].replica == "" {
				return badUsage("--base, --image and --no-image are of one volume: ADDRESS %q must name a replica", arg)
			}
		}
		report, err := p.auditAt(c, places, request)
		state := newAuditState(report, err)
		if err == nil && report.Wrong() {
			err = &printedError{errors.New("something is wrong")}
		}
		return p.conclude(output, err, state, auditText(report))
	})
	base.add(c, baseUsage)
	c.Flags().Var(newOneOf(&verify, verifyCounts, verifyProof), "verify", "compare parents and numbers of clusters, or also maps and checksums")
	return c
}

func (p cli) auditAt(c *cobra.Command, places []address, request rebuild.AuditRequest) (rebuild.AuditReport, error) {
	for _, at := range places {
		host, err := p.open(c.Context(), at)
		if err != nil {
			return rebuild.AuditReport{}, err
		}
		defer func() { _ = host.Close() }() // no call is under way
		request.Sites = append(request.Sites, rebuild.Site{Host: host, Replica: at.replica})
	}
	return p.engine.Audit(c.Context(), request)
}

func newAuditState(report rebuild.AuditReport, failure error) auditState {
	return auditState{
		verdict: verdictOf(failure), Wrong: report.Wrong(), Volumes: each(report.Volumes, newVolumeState),
		Unclear: each(report.Unclear, func(u rebuild.UnclearReplica) unclearState { return unclearState{u.Name, u.Store, u.Reason} }),
	}
}

func newVolumeState(v rebuild.VolumeAudit) volumeState {
	return volumeState{
		Base: baseText(v.Base), Image: imageText(v.Base), Notices: append([]string{}, v.Notices...),
		Replicas: each(v.Replicas, func(a rebuild.ReplicaAudit) auditedState {
			return auditedState{a.Replica.Name, a.Replica.Store.Name, violationLines(a.Violations), append([]string{}, a.Notices...)}
		}),
		Differences: each(v.Differences, newDifferenceState),
	}
}

func newDifferenceState(d rebuild.Difference) differenceState {
	return differenceState{d.Subject, d.Rule, each(d.Groups, func(g rebuild.Group) groupState { return groupState(g) })}
}

func violationLines(found []rebuild.Violation) []violationLine {
	return each(found, func(v rebuild.Violation) violationLine { return violationLine(v) })
}

func auditText(report rebuild.AuditReport) string {
	var text strings.Builder
	repairable := false
	for _, v := range report.Volumes {
		for i, a := range v.Replicas {
			verdict := "wrong"
			if len(a.Violations) == 0 {
				verdict = "nothing is wrong"
			}
			fmt.Fprintf(&text, "%s, %s: %s\n", v.Names[i], auditedBase(a.Base), verdict)
			for _, found := range a.Violations {
				fmt.Fprintf(&text, "  wrong: %s\n", found)
				repairable = repairable || found.Repairable
			}
			for _, notice := range a.Notices {
				fmt.Fprintf(&text, "  notice: %s\n", notice)
			}
		}
		for _, notice := range v.Notices {
			fmt.Fprintf(&text, "  notice: %s\n", notice)
		}
		if len(v.Replicas) > 1 && len(v.Differences) == 0 {
			fmt.Fprintf(&text, "  no difference between the replicas\n")
		}
		for _, d := range v.Differences {
			fmt.Fprintf(&text, "  differ: %s: %s\n", d.Subject, d.Rule)
			for _, g := range d.Groups {
				fmt.Fprintf(&text, "    %s: %s\n", g.Value, strings.Join(g.Replicas, ", "))
			}
		}
	}
	for _, u := range report.Unclear {
		fmt.Fprintf(&text, "%s on %s: wrong\n  wrong: %s\n", u.Name, u.Store, u.Reason)
	}
	if repairable {
		text.WriteString("\nengine repair restores a lost base without copying data.\n")
	}
	if text.Len() == 0 {
		return "no replicas\n"
	}
	return text.String()
}

func auditedBase(b rebuild.Base) string {
	switch {
	case !b.Known():
		return "base unknown"
	case isClone(b):
		return baseWords(b)
	}
	return b.String()
}
