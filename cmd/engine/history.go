package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rootgraft/rebuild/internal/adapters/journal"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// historyResult is what history prints as JSON.
type historyResult struct {
	verdict
	Rebuilds []pastRebuild `json:"rebuilds"`
}

type pastRebuild struct {
	Run          string      `json:"run"`
	Replica      string      `json:"replica"`
	Lvstore      string      `json:"lvstore"`
	EndedAt      string      `json:"endedAt"`
	Sources      []string    `json:"sources"`
	Outcome      string      `json:"outcome"`
	Error        string      `json:"error"`
	BackingImage string      `json:"backingImage"`
	Full         bool        `json:"full"`
	Plan         []pastEntry `json:"plan"`
	Warnings     []string    `json:"warnings"`
	CopiedBytes  uint64      `json:"copiedBytes"`
	DurationMS   int64       `json:"durationMs"`

	Served []sourceLine `json:"served,omitempty"` // by each source, where there were several
}

type pastEntry struct {
	Snapshot string `json:"snapshot"`
	Parent   string `json:"parent"`
	Action   string `json:"action"`
	Reason   string `json:"reason"`
	Clusters uint64 `json:"clusters"`
}

func newHistory(s streams) commandOut {
	output := outputText
	replica := ""
	c := &cobra.Command{
		Use:   "history FILE",
		Short: "Tell what rebuilds did, from the journal that they kept",
		Long: `history reads the journal that engine rebuild --journal FILE has kept: for each
rebuild what was kept, grafted and copied, why, how many bytes, and how long it
took. It can be read while a rebuild writes it.`,
		Example: "  engine history /var/lib/engine/rebuilds --replica vol-1-r-2",
		Args:    exactArgs("FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			entries, err := journal.Read(args[0])
			past := pastOf(entries, replica)
			return s.conclude(output, err, historyResult{verdictOf(err), past}, historyText(past, err))
		},
	}
	c.Flags().StringVar(&replica, "replica", "", "only the rebuilds of the replica of that `NAME`")
	c.Flags().Var(&output, "output", "how the result is printed")
	return commandOut{Command: c}
}

// knownSealings reads a journal that somebody else may have open. One that is not
// there yet knows nothing.
func knownSealings(path string) ([]domain.Sealing, error) {
	if path == "" {
		return nil, nil
	}
	entries, err := journal.Read(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var known []domain.Sealing
	for _, e := range entries {
		if e.Sealed != nil {
			known = append(known, e.Sealed.Sealing)
		}
	}
	return known, err
}

// pastOf puts the beginnings and ends of runs together, the oldest first.
func pastOf(entries []ports.Entry, replica string) []pastRebuild {
	past := []pastRebuild{}
	sources := make(map[ports.Run][]string)
	for _, e := range entries {
		if e.Began != nil {
			sources[e.Run] = e.Began.Sources
		}
		if e.Ended == nil || replica != "" && e.Run.Replica != replica {
			continue
		}
		r := pastRebuild{
			Run: e.Run.ID, Replica: e.Run.Replica, Lvstore: e.Lvstore, EndedAt: timeText(e.At),
			Sources: append([]string{}, sources[e.Run]...), Outcome: e.Ended.Outcome, Error: e.Ended.Error,
			BackingImage: e.Ended.Image, Full: e.Ended.Full, Plan: []pastEntry{}, Warnings: append([]string{}, e.Ended.Warnings...),
			CopiedBytes: e.Ended.CopiedBytes, DurationMS: e.Ended.Duration.Milliseconds(),
		}
		for _, s := range e.Ended.Served {
			r.Served = append(r.Served, newSourceLine(s, domain.ImageNamed(e.Ended.Image).Parent().String()))
		}
		for _, d := range e.Ended.Steps {
			r.Plan = append(r.Plan, pastEntry{d.Snapshot, d.Parent, string(d.Action), d.Reason, d.Clusters})
		}
		past = append(past, r)
	}
	return past
}

func historyText(past []pastRebuild, failure error) string {
	if failure != nil {
		return ""
	}
	if len(past) == 0 {
		return "no rebuilds\n"
	}
	var text strings.Builder
	for i, r := range past {
		if i > 0 {
			text.WriteString("\n")
		}
		fmt.Fprintf(&text, "%s  replica %s on lvstore %s: %s, %s copied in %s\n", r.EndedAt, r.Replica, r.Lvstore, r.Outcome,
			bytesText(r.CopiedBytes), (time.Duration(r.DurationMS) * time.Millisecond).String())
		if len(r.Sources) > 0 {
			fmt.Fprintf(&text, "  from %s\n", strings.Join(r.Sources, ", "))
		}
		for _, s := range r.Served {
			if len(s.Snapshots) > 0 {
				fmt.Fprintf(&text, "    %s\n", s.text())
			}
		}
		if r.Error != "" {
			fmt.Fprintf(&text, "  %s\n", oneLine(fmt.Errorf("%s", r.Error)))
		}
		for _, e := range r.Plan {
			what := e.Snapshot
			if what == "" {
				what = e.Parent
			}
			fmt.Fprintf(&text, "  %-11s %s: %s\n", e.Action, what, e.Reason)
		}
		for _, w := range r.Warnings {
			fmt.Fprintf(&text, "  warning: %s\n", w)
		}
	}
	return text.String()
}
