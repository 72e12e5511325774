package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/rootgraft/rebuild"
)

// printer prints a rebuild as text: the replicas before it, the plan, the progress, and
// the result.
type printer struct {
	out      io.Writer
	progress *progressLine
	stopping string            // what a freeze does to clients
	planned  []string          // lines of the plan that was printed last
	began    bool              // the heading of its rebuild is printed
	retried  map[string]string // the last failure of each operation

	mu sync.Mutex // for Observe and strike
}

func newPrinter(out io.Writer) *printer {
	return &printer{out: out, progress: newProgressLine(out), stopping: clientsStopped, began: true, retried: make(map[string]string)}
}

func (s *printer) printf(format string, args ...any) { fmt.Fprintf(s.out, format, args...) }

func (s *printer) heading(text string) { s.printf("\n%s\n", text) }

// before draws the replicas. One of several sources may fail to answer.
func (s *printer) before(ctx context.Context, r rebuild.Request) error {
	s.printf("Before\n")
	type side struct {
		what string
		at   rebuild.Site
	}
	sides := []side{{"source", r.Source}}
	for _, at := range r.MoreSources {
		sides = append(sides, side{"source", at})
	}
	for _, side := range append(sides, side{"destination", r.Destination}) {
		store, err := side.at.Host.List(ctx)
		if err != nil && side.what == "source" && len(r.MoreSources) > 0 {
			s.printf("  source replica %s: %s\n", side.at.Replica, oneLine(err.Error()))
			continue
		}
		if err != nil {
			return err
		}
		replica, err := rebuild.NewReplica(store, side.at.Replica)
		if err != nil {
			s.printf("  %s replica %s on %s: %v\n", side.what, side.at.Replica, store.Name, err)
			continue
		}
		s.printf("  %s replica %s on %s\n", side.what, side.at.Replica, store.Name)
		s.printf("%s", indent(drawTree(replica), "    "))
	}
	return nil
}

func (s *printer) run(n, of int) {
	if of > 1 {
		s.planned = nil
		s.heading(fmt.Sprintf("Run %d of %d", n, of))
	}
}

// Observe implements rebuild.Observer.
func (s *printer) Observe(e rebuild.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch e.Kind {
	case rebuild.EventPlanned:
		s.plan(*e.Plan)
		return
	case rebuild.EventCopying, rebuild.EventReading, rebuild.EventWriting:
		s.begin()
		s.progress.update(e)
		return
	case rebuild.EventRetry:
		of := string(e.Verb) + " " + e.Snapshot
		if s.retried[of] == e.Text {
			return
		}
		s.retried[of] = e.Text
	}
	s.say(s.eventText(e))
}

// begin prints the heading above the first line after a plan.
func (s *printer) begin() {
	if !s.began {
		s.began = true
		s.heading("Rebuild")
	}
}

// say prints a line of the rebuild; "": none.
func (s *printer) say(text string) {
	if text == "" {
		return
	}
	s.progress.clear()
	s.begin()
	s.printf("%s", fold("  "+text+"\n", lineWidth(s.out)))
}

func (s *printer) eventText(e rebuild.Event) string {
	switch e.Kind {
	case rebuild.EventEnded:
		return s.ended(e)
	case rebuild.EventAgain:
		return "plan again: " + e.Text
	case rebuild.EventRetry:
		return fmt.Sprintf("retry    %s: %s", strings.TrimSpace(string(e.Verb)+" "+e.Snapshot), e.Text)
	case rebuild.EventWaiting:
		return "waiting  " + e.Text
	case rebuild.EventSourceLost:
		return "lost     " + e.Text
	case rebuild.EventVerified:
		return "verified: " + e.Text
	case rebuild.EventCut:
		return "cut      " + e.Text
	case rebuild.EventLanded:
		return "landed   " + e.Text
	default:
		return ""
	}
}

func (s *printer) ended(e rebuild.Event) string {
	of := cmp.Or(e.Snapshot, e.LvolName)
	switch e.Verb {
	case rebuild.VerbCopy:
		from := ""
		if e.Source != "" {
			from = " from " + e.Source
		}
		return fmt.Sprintf("copied   %s%s (%s of %s in all)", cmp.Or(of, "the backing image"), from, bytesText(e.BytesDone), bytesText(e.BytesTotal))
	case rebuild.VerbGraft:
		switch e.Stage {
		case rebuild.StageDetach:
			return "detached " + of
		case rebuild.StageLand:
			of = "the live head"
		}
		return "grafted  " + cmp.Or(of, "the entry point")
	case rebuild.VerbSeal:
		return "sealed   " + e.LvolName
	case rebuild.VerbClone:
		return "head     " + e.LvolName
	case rebuild.VerbDelete:
		if e.LvolName == "" { // it was set aside
			return "deleted  the old " + of
		}
		return "deleted  " + e.LvolName
	case rebuild.VerbRename:
		if e.Stage == rebuild.StageSetAside {
			return "set aside " + of
		}
		return "named    " + e.LvolName
	case rebuild.VerbRecord:
		if e.Stage == rebuild.StageName {
			return "" // of the live head, which has no name yet
		}
		return "recorded " + e.LvolName
	case rebuild.VerbCreate:
	}
	return ""
}

// plan prints a plan, unless all of it was printed before: a plan after the cut has the rest of the
// one before it.
func (s *printer) plan(plan rebuild.Plan) {
	var text strings.Builder
	writePlan(&text, plan)
	var lines []string
	isNew := false
	for line := range strings.Lines(text.String()) {
		words := strings.Join(strings.Fields(line), " ") // columns have other widths
		lines = append(lines, words)
		isNew = isNew || !slices.Contains(s.planned, words)
	}
	if !isNew {
		return
	}
	s.planned, s.began = lines, !plan.Changes()
	s.progress.clear()
	s.heading("Plan")
	s.printf("%s", fold(text.String(), lineWidth(s.out)))
}

func writePlan(out io.Writer, plan rebuild.Plan) {
	fmt.Fprintf(out, "  base: %s\n", baseWords(plan.Base))
	if plan.SystemSnapshot != nil {
		fmt.Fprintf(out, "  first    the source's head has clusters of its own: create system snapshot %s of it\n", plan.SystemSnapshot.Name)
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, step := range plan.Steps {
		what := step.Snapshot
		switch {
		case step.Action == rebuild.ActionFetchImage, step.Action == rebuild.ActionCreateEntryPoint:
			what = plan.Base.Parent().String()
		case what == "":
			what = "(head)"
		}
		on := ""
		if step.Action != rebuild.ActionRemove && !step.Parent.IsNone() {
			on = "on " + step.Parent.String()
		}
		copied := ""
		if step.Clusters > 0 {
			copied = count(step.Clusters, "cluster")
		}
		reason := step.Reason
		if step.Deleted > 0 {
			reason += fmt.Sprintf(" (deletes %s)", count(step.Deleted, "cluster"))
		}
		fmt.Fprintf(table, "  %s\t%s\t%s\t%s\t%s\n", step.Action, what, on, copied, reason)
	}
	_ = table.Flush() // to a buffer
	if !plan.Changes() {
		fmt.Fprintln(out, "  nothing to do")
	}
}

func (s *printer) sentences(heading string, all []string) {
	if len(all) == 0 {
		return
	}
	s.heading(heading)
	for _, one := range all {
		s.printf("%s", fold("  "+one+"\n", lineWidth(s.out)))
	}
}

// after draws the destination and prints the outcome.
func (s *printer) after(report rebuild.Report, r result) {
	s.progress.clear()
	if report.Destination.Store.UUID != "" && r.Outcome != rebuild.OutcomeRefused {
		s.heading("After")
		s.printf("  destination replica %s on %s\n", report.Destination.Name, report.Destination.Store.Name)
		s.printf("%s", indent(drawTree(report.Destination), "    "))
	}
	s.online(r.Online)
	s.sentences("Warnings", r.Warnings)
	s.sentences("Notices", r.Notices)
	s.heading("Verdict")
	verdict := "  " + string(r.Outcome)
	if r.Error != "" {
		verdict += ": " + r.Error
	}
	s.printf("%s", fold(verdict+"\n", lineWidth(s.out)))
	for _, v := range r.Violations {
		s.printf("%s", fold(fmt.Sprintf("  wrong: %s: %s: %s\n", v.Subject, v.Rule, v.Detail), lineWidth(s.out)))
	}
	if r.Outcome == rebuild.OutcomeRefused {
		s.printf("  nothing was changed\n")
	}
	if len(r.Deleted) > 0 {
		s.printf("%s", fold("  "+deletedText(r.Deleted)+"\n", lineWidth(s.out)))
	}
	if r.Outcome == rebuild.OutcomeComplete {
		s.views(report, r)
		s.printf("  copied %s in %s\n", bytesText(r.CopiedBytes), report.Duration.Round(time.Millisecond))
		for _, source := range r.Sources {
			if len(source.Snapshots) > 0 {
				s.printf("    %s\n", source.text())
			}
		}
	}
}

// views prints how many lvols have the same data as the source's.
func (s *printer) views(report rebuild.Report, r result) {
	what, parent := "", ""
	switch {
	case len(r.Destination.Snapshots) > 0:
		what, parent = "the ancestor "+r.Destination.Snapshots[0].Name, r.Destination.Snapshots[0].Parent
	case r.Destination.Head != nil:
		what, parent = "the head", r.Destination.Head.Parent
	}
	switch {
	case what == "":
	case parent == "":
		s.printf("  %s has no parent, as the volume has no backing image\n", what)
	default:
		s.printf("  %s has parent %s\n", what, parent)
	}
	if r.Destination.Head == nil || r.Destination.Head.SHA256 == "" {
		return
	}
	if report.Source.Hurt(report.Plan.Base) {
		s.printf("  the source lost the %s, so its data is not compared\n", baseNoun(report.Plan.Base))
		return
	}
	equal, all := 0, len(r.Source.Snapshots)+1
	views := make(map[string]string)
	for _, d := range r.Destination.Snapshots {
		views[d.Name] = d.SHA256
	}
	for _, source := range r.Source.Snapshots {
		if views[source.Name] == source.SHA256 {
			equal++
		}
	}
	if r.Source.Head != nil && r.Source.Head.SHA256 == r.Destination.Head.SHA256 {
		equal++
	}
	s.printf("  %d of %d lvols (snapshots and head) have the source's data, byte for byte\n", equal, all)
}

func indent(text, by string) string {
	if text == "" {
		return ""
	}
	return by + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n"+by) + "\n"
}

func count(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// bytesText is a size with its unit.
func bytesText(n uint64) string {
	for _, unit := range []struct {
		size uint64
		name string
	}{{1 << 40, "TiB"}, {1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= unit.size {
			if n%unit.size == 0 {
				return fmt.Sprintf("%d %s", n/unit.size, unit.name)
			}
			return fmt.Sprintf("%.1f %s", float64(n)/float64(unit.size), unit.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}
