package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/rootgraft/rebuild"
	"github.com/rootgraft/rebuild/internal/scenario"
)

// simulated is what simulate prints as JSON: the result of the last run, and a line for
// each run.
type simulated struct {
	result

	Runs    []runLine     `json:"runs"`
	Clients *clientsState `json:"clients,omitempty"` // of a live volume

	Snapshot *meanwhileState `json:"snapshot,omitempty"` // that a user took of it
}

// runLine is one run of a simulation. Its field names are part of the public interface.
type runLine struct {
	Outcome     rebuild.Outcome `json:"outcome"`
	Error       string          `json:"error"`
	Kept        []string        `json:"kept"`   // snapshots that were proven and not copied
	Sealed      []string        `json:"sealed"` // snapshots that the run has finished
	CopiedBytes uint64          `json:"copiedBytes"`
	LocalBytes  uint64          `json:"localBytes"`
	DurationMS  int64           `json:"durationMs"`
	Faults      []string        `json:"faults"` // those that struck, in their order
}

// played is one run of a simulation.
type played struct {
	report  rebuild.Report
	failure error
	local   uint64
	sealed  []string
	struck  []string
	trouble *scenario.Injection
}

// play runs one rebuild.
func (s *simulation) play(ctx context.Context, n int) played {
	p := played{sealed: []string{}, struck: []string{}}
	request := s.request
	request.Observer = rebuild.ObserverFunc(func(e rebuild.Event) {
		if e.Kind == rebuild.EventEnded && e.Verb == rebuild.VerbSeal && e.Snapshot != "" {
			p.sealed = append(p.sealed, e.Snapshot)
		}
		s.show.Observe(e)
	})
	p.trouble = s.world.InjectFaults(n, func(f scenario.Fault) {
		p.struck = append(p.struck, f.String())
		s.show.strike(f)
	})
	taken := s.snapshotMeanwhile(ctx, p.trouble)
	before := s.world.Destination.CopiedLocally()
	p.report, p.failure = s.rebuild(ctx, request)
	taken()
	p.trouble.End()
	p.local = s.world.Destination.CopiedLocally() - before
	if at := p.trouble.Crashed(); at != nil {
		// The engine is gone: it reports nothing more.
		p.report.Outcome, p.failure = rebuild.OutcomeFailed, at
	}
	return p
}

func (p played) line() runLine {
	line := runLine{
		Outcome: p.report.Outcome, Kept: []string{}, Sealed: p.sealed, CopiedBytes: p.report.CopiedBytes, LocalBytes: p.local,
		DurationMS: p.report.Duration.Milliseconds(), Faults: p.struck,
	}
	if p.failure != nil {
		line.Error = oneLine(p.failure.Error())
	}
	mine := make(map[string]bool)
	for _, name := range p.sealed {
		mine[name] = true
	}
	for _, step := range p.report.Plan.Steps {
		if keeps := step.Action == rebuild.ActionKeep || step.Action == rebuild.ActionGraft; keeps && step.Snapshot != "" && !mine[step.Snapshot] {
			line.Kept = append(line.Kept, step.Snapshot)
		}
	}
	return line
}

// faults lists the faults of the scenario.
func (s *printer) faults(all []scenario.Fault) {
	if len(all) == 0 {
		return
	}
	s.heading("Faults")
	for _, f := range all {
		s.printf("  run %d: %s\n", max(f.Run, 1), f)
	}
}

// strike reports a fault as it strikes.
func (s *printer) strike(f scenario.Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.say(fmt.Sprintf("fault    %s", f))
}

// failed prints the error of a run that another run follows.
func (s *printer) failed(failure error) {
	if failure != nil {
		s.say("failed   " + oneLine(failure.Error()))
	}
}

// runs prints a table of all runs, if there are several.
func (s *printer) runs(all []runLine) {
	if len(all) < 2 {
		return
	}
	s.progress.clear()
	s.heading("Runs")
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for n, r := range all {
		fmt.Fprintf(table, "  %d\t%s\tkept %d\tsealed %d\tcopied %s\n", n+1, r.Outcome, len(r.Kept), len(r.Sealed), bytesText(r.CopiedBytes))
	}
	_ = table.Flush() // to a buffer
	for n, line := range strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n") {
		if said := all[n].Error; said != "" {
			line += "  " + said
		}
		s.printf("%s", fold(line+"\n", lineWidth(s.out)))
	}
}
