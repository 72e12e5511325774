package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/rootgraft/rebuild"
)

// result is what simulate, plan and rebuild print as JSON. Its field names are part of
// the public interface.
type result struct {
	verdict
	Plan        []planEntry     `json:"plan"`
	Source      replicaState    `json:"source"`
	Destination replicaState    `json:"destination"`
	Violations  []violationLine `json:"violations"`
	Warnings    []string        `json:"warnings"`
	Notices     []string        `json:"notices"`
	CopiedBytes uint64          `json:"copiedBytes"`
	LocalBytes  uint64          `json:"localBytes"`
	DurationMS  int64           `json:"durationMs"`
	Deleted     []deletedLine   `json:"deleted"`           // of the destination: that a plan deletes, or a rebuild has deleted
	Sources     []sourceLine    `json:"sources,omitempty"` // if there are several
	Online      *onlineState    `json:"online,omitempty"`  // of a rebuild under a live volume
}

// deletedLine is an lvol that is or was deleted.
type deletedLine struct {
	Name     string `json:"lvol"`
	Clusters uint64 `json:"clusters"`           // of its own
	Degraded bool   `json:"degraded,omitempty"` // so its clusters are unknown
}

func deletedLines(all []rebuild.Deletion) []deletedLine {
	return each(all, func(d rebuild.Deletion) deletedLine { return deletedLine(d) })
}

// deletedText is all of them on one line.
func deletedText(all []deletedLine) string {
	var clusters uint64
	names := make([]string, len(all))
	for i, d := range all {
		names[i] = fmt.Sprintf("%s (%d)", d.Name, d.Clusters)
		if d.Degraded {
			names[i] = d.Name + " (degraded)"
		}
		clusters += d.Clusters
	}
	return fmt.Sprintf("deleted %s with %s: %s", count(uint64(len(all)), "lvol"), count(clusters, "cluster"), strings.Join(names, ", "))
}

// sourceLine describes what one of several sources did.
type sourceLine struct {
	Replica     string   `json:"replica"`
	Lvstore     string   `json:"lvstore"` // "": its host was never listed
	State       string   `json:"state"`
	Reason      string   `json:"reason"`
	Snapshots   []string `json:"snapshots"` // that were copied from it; backing-image:NAME is the image
	CopiedBytes uint64   `json:"copiedBytes"`
}

func newSourceLine(s rebuild.Served, base string) sourceLine {
	return sourceLine{
		Replica: s.Replica, Lvstore: s.Lvstore, State: s.State, Reason: s.Reason, CopiedBytes: s.CopiedBytes,
		Snapshots: each(s.Snapshots, func(name string) string { return cmp.Or(name, base) }),
	}
}

// text is the source on one line.
func (l sourceLine) text() string {
	copies := "1 copy"
	if n := len(l.Snapshots); n != 1 {
		copies = fmt.Sprintf("%d copies", n)
	}
	text := fmt.Sprintf("%s in %s from %s on lvstore %s", bytesText(l.CopiedBytes), copies, l.Replica, l.Lvstore)
	if l.State == string(rebuild.SourceLost) {
		text += ", until it was lost"
	}
	return text
}

type planEntry struct {
	Snapshot string         `json:"snapshot"`
	Parent   string         `json:"parent"`
	Action   rebuild.Action `json:"action"`
	Reason   string         `json:"reason"`
	Clusters uint64         `json:"clusters"`
	Deleted  uint64         `json:"deletedClusters"`
}

// replicaState is a replica and all other lvols on its store. The replica's lvols in
// flight are among the others, by their full names.
type replicaState struct {
	Base         string          `json:"base"`         // of the volume; "none"; "": unknown
	BackingImage string          `json:"backingImage"` // "": it is not on the host
	Head         *headState      `json:"head"`         // null: there is none
	Snapshots    []snapshotState `json:"snapshots"`
	Others       []otherState    `json:"others"`
}

type headState struct {
	Parent string `json:"parent"`
	SHA256 string `json:"sha256,omitempty"`
}

type snapshotState struct {
	Name              string `json:"name"`
	Parent            string `json:"parent"`
	AllocatedClusters uint64 `json:"allocatedClusters"`
	CreatedAt         string `json:"createdAt"`
	UserCreated       bool   `json:"userCreated"`
	SHA256            string `json:"sha256,omitempty"`
}

type otherState struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256,omitempty"`
}

type violationLine struct {
	Subject    string `json:"subject"`
	Rule       string `json:"rule"`
	Detail     string `json:"detail"`
	Repairable bool   `json:"repairable"`
}

func newResult(report rebuild.Report, failure error) result {
	base := report.Plan.Base
	r := result{
		verdict: verdictOf(failure), Plan: planEntries(report.Plan),
		Source:      newReplicaState(report.Source, base, report.SourceViews),
		Destination: newReplicaState(report.Destination, base, report.DestinationViews),
		Violations:  violationLines(report.Violations), Warnings: append([]string{}, report.Warnings...), Notices: append([]string{}, report.Notices...),
		CopiedBytes: report.CopiedBytes, DurationMS: report.Duration.Milliseconds(), Deleted: deletedLines(report.Deleted),
	}
	r.Outcome, r.Online = report.Outcome, newOnlineState(report.Online)
	for _, s := range report.Sources {
		served := rebuild.Served{Replica: s.Replica, Lvstore: s.Lvstore, State: string(s.State), Reason: s.Reason, Snapshots: s.Snapshots, CopiedBytes: s.CopiedBytes}
		r.Sources = append(r.Sources, newSourceLine(served, base.Parent().String()))
	}
	return r
}

// newReplicaState describes a replica as it was last listed.
func newReplicaState(r rebuild.Replica, base rebuild.Base, read rebuild.Views) replicaState {
	state := replicaState{Base: baseText(base), Snapshots: []snapshotState{}, Others: []otherState{}}
	if r.Store.UUID == "" {
		return state // it was never listed
	}
	imageUUID := ""
	if name, ok := base.Image(); ok {
		if found, ok := r.Store.BackingImage(name); ok {
			state.BackingImage, imageUUID = name, found.Lvol.UUID
		}
	}
	mine := map[string]bool{imageUUID: true}
	for _, s := range r.ParentsFirst() {
		mine[s.Lvol.UUID] = true
		line := snapshotState{
			Name: s.Name, Parent: r.ParentOf(s.Lvol).String(), AllocatedClusters: s.Lvol.Own.Count, UserCreated: true,
			SHA256: read[s.Lvol.UUID],
		}
		if r.Store.Records {
			line.CreatedAt, line.UserCreated = timeText(s.Lvol.Attributes.CreatedAt), s.Lvol.Attributes.UserCreated
		}
		state.Snapshots = append(state.Snapshots, line)
	}
	if r.Head != nil {
		mine[r.Head.UUID] = true
		state.Head = &headState{Parent: r.ParentOf(*r.Head).String(), SHA256: read[r.Head.UUID]}
	}
	for _, l := range r.Store.Lvols {
		if !mine[l.UUID] {
			state.Others = append(state.Others, otherState{l.Name, read[l.UUID]})
		}
	}
	return state
}

func timeText(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format(time.RFC3339)
}
