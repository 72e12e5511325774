package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/rootgraft/rebuild"
)

// volumeText draws the members of a volume side by side: a line for each snapshot, with a column for
// each member. A cell has the number of the snapshot's own clusters, and its parent where that is not
// the one that the line is drawn under.
func volumeText(report rebuild.VolumeReport) string {
	var text strings.Builder
	fmt.Fprintf(&text, "volume %s, %s\n\n", report.Volume.Name, bytesText(report.Volume.Size))
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	numbers := "CLUSTERS"
	for i, p := range report.Replicas {
		fmt.Fprintf(table, "%d\t%s\t%s on %s\n", i+1, modeText(p.Member), p.Replica.Name, p.Replica.Store.Name)
		numbers += fmt.Sprintf("\t%d", i+1)
	}
	fmt.Fprintln(table, "\n"+numbers+"\t")
	differ := differingRows(report)
	for _, row := range append(rowsOf(report), headRow(report)) {
		line := strings.Repeat("  ", min(row.depth, maxIndent)) + row.name
		for _, p := range report.Replicas {
			line += "\t" + row.cell(p)
		}
		note := ""
		if (row.depth == 0 || row.depth > maxIndent) && row.parent != "" {
			note = "on " + row.parent
		}
		if slices.Contains(differ, row.name) {
			note = strings.TrimPrefix(note+", differs", ", ")
		}
		fmt.Fprintln(table, line+"\t"+note)
	}
	_ = table.Flush() // to a builder
	trimmed := trimLines(text.String())
	if faults := report.Faults(); len(faults) > 0 {
		trimmed += "\n"
		for _, fault := range faults {
			trimmed += "  wrong: " + oneLine(fault) + "\n"
		}
	}
	return trimmed
}

func modeText(m rebuild.Member) string {
	if m.Mode == "" {
		return "no member"
	}
	return string(m.Mode)
}

func trimLines(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.TrimRight(line, " \n"))
	}
	return strings.Join(lines, "\n") + "\n"
}

// row is a snapshot, or the head, that at least one member has.
type row struct {
	name   string
	depth  int
	parent string // as the first member that has it tells; "": none
	find   func(p rebuild.VolumeReplica) *rebuild.Lvol
}

// rowsOf are the snapshots of all members, each below its parent as far as the first member
// that has it tells.
func rowsOf(report rebuild.VolumeReport) (rows []row) {
	position := func(name string) int { return slices.IndexFunc(rows, func(r row) bool { return r.name == name }) }
	for _, p := range report.Replicas {
		for _, s := range p.Replica.ParentsFirst() {
			if position(s.Name) >= 0 {
				continue
			}
			r := row{name: s.Name, parent: parentText(p, s.Lvol), find: finder(s.Name)}
			at := len(rows)
			above, _ := p.Replica.ParentOf(s.Lvol).Snapshot()
			if parent := position(above); parent >= 0 {
				r.depth = rows[parent].depth + 1
				for at = parent + 1; at < len(rows) && rows[at].depth >= r.depth; at++ {
				}
			}
			rows = slices.Insert(rows, at, r)
		}
	}
	return rows
}

func finder(name string) func(p rebuild.VolumeReplica) *rebuild.Lvol {
	return func(p rebuild.VolumeReplica) *rebuild.Lvol {
		if s, ok := p.Replica.Snapshot(name); ok {
			return &s.Lvol
		}
		return nil
	}
}

func headRow(report rebuild.VolumeReport) row {
	r := row{name: "(head)", find: func(p rebuild.VolumeReplica) *rebuild.Lvol {
		return cmp.Or(p.Head, p.Replica.Head) // that of a replica that is no member, too
	}}
	for _, p := range report.Replicas {
		if head := r.find(p); head != nil {
			r.parent = parentText(p, *head)
			break
		}
	}
	return r
}

func parentText(p rebuild.VolumeReplica, l rebuild.Lvol) string {
	if l.External != "" {
		return "another host's snapshot"
	}
	return p.Replica.ParentOf(l).String()
}

// cell is a member's lvol in a few words, "-" if it has none.
func (r row) cell(p rebuild.VolumeReplica) string {
	l := r.find(p)
	if l == nil {
		return "-"
	}
	text := strconv.FormatUint(l.Own.Count, 10)
	if parent := parentText(p, *l); parent != r.parent {
		text += " on " + cmp.Or(parent, "nothing")
	}
	return text
}

// differingRows are the names of the snapshots in which whole members differ.
func differingRows(report rebuild.VolumeReport) (names []string) {
	for _, row := range rowsOf(report) {
		seen := make(map[string]bool)
		for _, p := range report.Replicas {
			if p.Member.Mode == rebuild.ModeRW {
				seen[row.cell(p)] = true
			}
		}
		if len(seen) > 1 {
			names = append(names, row.name)
		}
	}
	return names
}
