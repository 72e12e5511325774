package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rootgraft/rebuild"
	"github.com/rootgraft/rebuild/journalfile"
)

// historyResult is what history prints as JSON.
type historyResult struct {
	verdict
	Rebuilds []pastRebuild `json:"rebuilds"`

	UnreadableLines int `json:"unreadableLines"`
}

type pastRebuild struct {
	Run          string      `json:"run"`
	Replica      string      `json:"replica"`
	Lvstore      string      `json:"lvstore"`
	BegunAt      string      `json:"begunAt"`
	EndedAt      string      `json:"endedAt"`
	Sources      []string    `json:"sources"`
	Outcome      string      `json:"outcome"`
	Error        string      `json:"error"`
	Base         string      `json:"base"`
	BackingImage string      `json:"backingImage"`
	Full         bool        `json:"full"`
	Plan         []pastEntry `json:"plan"`
	Warnings     []string    `json:"warnings"`
	CopiedBytes  uint64      `json:"copiedBytes"`
	DurationMS   int64       `json:"durationMs"`
	Sealed       []string    `json:"sealed"` // by a rebuild that did not end

	Served  []sourceLine  `json:"served,omitempty"`  // by each source, if there were several
	Deleted []deletedLine `json:"deleted,omitempty"` // lvols of the destination
}

// outcomeRunning is the outcome of a rebuild whose process has the journal open.
const outcomeRunning = "running"

type pastEntry struct {
	Snapshot string `json:"snapshot"`
	Parent   string `json:"parent"`
	Action   string `json:"action"`
	Reason   string `json:"reason"`
	Clusters uint64 `json:"clusters"`
}

func (p cli) history() *cobra.Command {
	replica := ""
	c := reporting(&cobra.Command{
		Use:   "history FILE",
		Short: "Show what past rebuilds did, from their journal",
		Long: `history prints the journal that engine rebuild --journal FILE keeps: for each rebuild
what was kept, grafted and copied, and why, how many bytes were copied, and how long
it took. A rebuild without an end is running or was killed. The journal can be read
while a rebuild writes it.`,
		Example: "  engine history /var/lib/engine/rebuilds --replica vol-1-r-4e5f6a7b",
		Args:    exactArgs("FILE"),
	}, func(_ *cobra.Command, args []string, output outputFlag) error {
		read, err := journalfile.ReadAll(args[0])
		result := historyResult{verdictOf(err), pastOf(read, replica), read.Unreadable}
		return p.conclude(output, err, result, result.text())
	})
	c.Flags().StringVar(&replica, "replica", "", "show only rebuilds of the replica `NAME`")
	return c
}

// knownSealings reads the sealings in a journal, which another process may have open.
// There are none if the file does not exist.
func knownSealings(path string) ([]rebuild.Sealing, error) {
	if path == "" {
		return nil, nil
	}
	entries, err := journalfile.Read(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var known []rebuild.Sealing
	for _, e := range entries {
		if e.Sealed != nil {
			known = append(known, e.Sealed.Sealing)
		}
	}
	return known, err
}

// pastOf makes a rebuild of the entries of each run, in the order in which the runs
// ended; those without an end come last.
func pastOf(read journalfile.Contents, replica string) []pastRebuild {
	past := []pastRebuild{}
	begun := make(map[rebuild.Run]pastRebuild)
	for _, e := range read.Entries {
		if replica != "" && e.Run.Replica != replica {
			continue
		}
		r, known := begun[e.Run]
		if !known {
			r = pastRebuild{Run: e.Run.ID, Replica: e.Run.Replica, Sources: []string{}, Plan: []pastEntry{}, Warnings: []string{}, Sealed: []string{}}
		}
		r.Lvstore = e.Lvstore
		switch {
		case e.Began != nil:
			r.BegunAt, r.Sources = timeText(e.At), append(r.Sources, e.Began.Sources...)
			begun[e.Run] = r
		case e.Sealed != nil && known:
			r.Sealed = append(r.Sealed, e.Sealed.Snapshot)
			begun[e.Run] = r
		case e.Ended != nil:
			r.end(e.At, *e.Ended)
			past = append(past, r)
		}
	}
	add := func(outcome string, runs []rebuild.Run) {
		for _, run := range runs {
			if r, ok := begun[run]; ok {
				r.Outcome = outcome
				past = append(past, r)
			}
		}
	}
	add(rebuild.OutcomeKilled, read.Killed)
	add(outcomeRunning, read.Running)
	return past
}

// end adds the entry of its end.
func (r *pastRebuild) end(at time.Time, end rebuild.Ended) {
	base := rebuild.BaseOfRecord(end.Image)
	r.Outcome, r.Error, r.Base, r.BackingImage, r.Full = end.Outcome, end.Error, baseText(base), imageText(base), end.Full
	r.Warnings = append(r.Warnings, end.Warnings...)
	r.CopiedBytes, r.DurationMS = end.CopiedBytes, end.Duration.Milliseconds()
	if end.Outcome != rebuild.OutcomeKilled {
		r.EndedAt, r.Sealed = timeText(at), []string{}
	}
	for _, s := range end.Served {
		r.Served = append(r.Served, newSourceLine(s, base.Parent().String()))
	}
	if len(end.Deleted) > 0 {
		r.Deleted = deletedLines(end.Deleted)
	}
	for _, d := range end.Steps {
		r.Plan = append(r.Plan, pastEntry{d.Snapshot, d.Parent, string(d.Action), d.Reason, d.Clusters})
	}
}

// headline is the first line of a rebuild.
func (r pastRebuild) headline() string {
	on := fmt.Sprintf("replica %s on lvstore %s", r.Replica, r.Lvstore)
	switch r.Outcome {
	case outcomeRunning:
		return fmt.Sprintf("%s  %s: running: its process has the journal open", r.BegunAt, on)
	case rebuild.OutcomeKilled:
		return fmt.Sprintf("%s  %s: killed: its process ended before the rebuild did; run it again", r.BegunAt, on)
	}
	return fmt.Sprintf("%s  %s: %s, %s copied in %s", r.EndedAt, on, r.Outcome, bytesText(r.CopiedBytes), time.Duration(r.DurationMS)*time.Millisecond)
}

func (h historyResult) text() string {
	past := h.Rebuilds
	var text strings.Builder
	if len(past) == 0 {
		text.WriteString("no rebuilds\n")
	}
	for i, r := range past {
		if i > 0 {
			text.WriteString("\n")
		}
		fmt.Fprintln(&text, r.headline())
		if len(r.Sources) > 0 {
			fmt.Fprintf(&text, "  from %s\n", strings.Join(r.Sources, ", "))
		}
		for _, s := range r.Served {
			if len(s.Snapshots) > 0 {
				fmt.Fprintf(&text, "    %s\n", s.text())
			}
		}
		if len(r.Sealed) > 0 {
			fmt.Fprintf(&text, "  finished before that: %s\n", strings.Join(r.Sealed, ", "))
		}
		if r.Error != "" {
			fmt.Fprintf(&text, "  %s\n", oneLine(r.Error))
		}
		for _, e := range r.Plan {
			what := e.Snapshot
			switch {
			case e.Action == string(rebuild.ActionFetchImage), e.Action == string(rebuild.ActionCreateEntryPoint):
				what = r.Base
			case what == "":
				what = e.Parent
			}
			fmt.Fprintf(&text, "  %-11s %s: %s\n", e.Action, what, e.Reason)
		}
		if len(r.Deleted) > 0 {
			fmt.Fprintf(&text, "  %s\n", deletedText(r.Deleted))
		}
		for _, w := range r.Warnings {
			fmt.Fprintf(&text, "  warning: %s\n", w)
		}
	}
	if h.UnreadableLines > 0 {
		fmt.Fprintf(&text, "warning: %s of the journal cannot be read\n", count(uint64(h.UnreadableLines), "line"))
	}
	return text.String()
}
