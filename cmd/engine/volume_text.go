package main

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/rootgraft/rebuild"
)

// volumeText draws the members of a volume side by side: a column for each, a line for each
// snapshot.
func volumeText(report rebuild.VolumeReport) string {
	var text strings.Builder
	fmt.Fprintf(&text, "volume %s, %s\n\n", report.Volume.Name, bytesText(report.Volume.Size))
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	title, modes := "", "MODE"
	for _, p := range report.Replicas {
		title += "\t" + p.Replica.Name + " on " + p.Replica.Store.Name
		modes += "\t" + modeText(p.Member)
	}
	fmt.Fprintln(table, title+"\t")
	fmt.Fprintln(table, modes+"\t")
	differ := differingRows(report)
	for _, row := range rowsOf(report) {
		line := strings.Repeat("  ", row.depth) + row.name
		for _, p := range report.Replicas {
			line += "\t" + cell(p, row.name)
		}
		note := ""
		if slices.Contains(differ, row.name) {
			note = "differs"
		}
		fmt.Fprintln(table, line+"\t"+note)
	}
	line := "(head)"
	for _, p := range report.Replicas {
		line += "\t" + headCell(p)
	}
	fmt.Fprintln(table, line+"\t")
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

// row is a snapshot that at least one member has.
type row struct {
	name  string
	depth int
}

// rowsOf are the snapshots of all members, each below its parent as far as the first member
// that has it tells.
func rowsOf(report rebuild.VolumeReport) (rows []row) {
	depth := make(map[string]int)
	for _, p := range report.Replicas {
		for _, s := range p.Replica.ParentsFirst() {
			if _, known := depth[s.Name]; known {
				continue
			}
			at := 0
			if parent, ok := p.Replica.ParentOf(s.Lvol).Snapshot(); ok {
				at = depth[parent] + 1
			}
			depth[s.Name] = at
			rows = append(rows, row{s.Name, at})
		}
	}
	return rows
}

// cell is a member's snapshot in a few words, "-" if it has none.
func cell(p rebuild.VolumeReplica, name string) string {
	s, ok := p.Replica.Snapshot(name)
	if !ok {
		return "-"
	}
	text := count(s.Lvol.Own.Count, "cluster")
	if parent := p.Replica.ParentOf(s.Lvol); !parent.IsNone() {
		text += " on " + parent.String()
	}
	return text
}

func headCell(p rebuild.VolumeReplica) string {
	head := p.Head
	if head == nil {
		head = p.Replica.Head // of a replica that is no member
	}
	if head == nil {
		return "-"
	}
	text := count(head.Own.Count, "cluster")
	if head.External != "" {
		return text + " on another host's snapshot"
	}
	if parent := p.Replica.ParentOf(*head); !parent.IsNone() {
		text += " on " + parent.String()
	}
	return text
}

// differingRows are the names of the snapshots in which whole members differ.
func differingRows(report rebuild.VolumeReport) (names []string) {
	for _, row := range rowsOf(report) {
		seen := make(map[string]bool)
		for _, p := range report.Replicas {
			if p.Member.Mode == rebuild.ModeRW {
				seen[cell(p, row.name)] = true
			}
		}
		if len(seen) > 1 {
			names = append(names, row.name)
		}
	}
	return names
}
