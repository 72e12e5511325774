package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rootgraft/rebuild"
)

// onlineState is what a rebuild under a live volume prints as JSON.
type onlineState struct {
	Cut      string        `json:"cut"`      // the snapshot's name; "": the volume was not cut
	FreezeMS float64       `json:"freezeMs"` // of several freezes the longest
	Freezes  int           `json:"freezes"`
	Members  []memberState `json:"members"`
	LastSeen bool          `json:"lastSeen"` // the RAID's target did not list the members at the end
}

// memberState is a member of a live volume.
type memberState struct {
	Name   string       `json:"name"` // by which the mirror knows it
	Head   string       `json:"head"` // UUID
	Mode   rebuild.Mode `json:"mode"`
	Reason string       `json:"reason,omitempty"` // of ERR, or of an I/O that failed
	Since  string       `json:"since"`            // from when on it has had every write; "": unknown

	replica string // and its lvstore; "": not known
}

func newOnlineState(r *rebuild.OnlineReport) *onlineState {
	if r == nil {
		return nil
	}
	state := &onlineState{Cut: r.Cut, FreezeMS: milliseconds(r.Frozen), Freezes: r.Freezes, Members: memberStates(r.Members), LastSeen: r.LastSeen}
	for i := range state.Members {
		state.Members[i].replica = r.Replicas[state.Members[i].Head]
	}
	return state
}

func memberStates(members []rebuild.Member) []memberState {
	states := []memberState{}
	for _, m := range members {
		states = append(states, memberState{Name: m.Name, Head: m.Head, Mode: m.Mode, Reason: m.Reason, Since: timeText(m.Since)})
	}
	return states
}

// milliseconds has three decimals.
func milliseconds(d time.Duration) float64 { return math.Round(d.Seconds()*1e6) / 1e3 }

// online prints the members of the live volume, and how long its clients were stopped.
func (s *printer) online(o *onlineState) {
	if o == nil || len(o.Members) == 0 {
		return
	}
	heading := "Volume"
	if o.LastSeen {
		heading = "Volume, as last seen"
	}
	s.heading(heading)
	writeMembers(s.out, o.Members)
	switch o.Freezes {
	case 0:
		s.printf("  clients were not stopped\n")
	case 1:
		s.printf("  %s once, for %s\n", s.stopping, millisecondsText(o.FreezeMS))
	default:
		s.printf("  %s %d times, for %s at most\n", s.stopping, o.Freezes, millisecondsText(o.FreezeMS))
	}
}

func millisecondsText(ms float64) string { return fmt.Sprintf("%.1f ms", ms) }

func writeMembers(out io.Writer, members []memberState) {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, m := range members {
		note := ""
		switch {
		case m.Reason != "":
			note = oneLine(m.Reason)
		case m.Since != "":
			note = "since " + m.Since
		}
		fmt.Fprintf(table, "  %s\t%s\t%s\n", cmp.Or(m.replica, "member "+m.Name), m.Mode, note)
	}
	_ = table.Flush() // to a builder
	fmt.Fprint(out, fold(trimLines(text.String()), lineWidth(out)))
}
