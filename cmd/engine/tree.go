package main

import (
	"fmt"
	"sort"
	"strings"

	"github.com/rootgraft/rebuild"
)

// drawTree draws a replica as text, each lvol below its parent. A broken replica is a
// forest.
func drawTree(r rebuild.Replica) string {
	d := &drawing{
		replica: r, children: make(map[string][]rebuild.Lvol), short: make(map[string]string),
		entryPoints: make(map[string]rebuild.EntryPointOnStore),
	}
	for _, s := range r.Snapshots {
		d.add(s.Lvol, s.Name)
	}
	for _, l := range r.InFlight {
		d.add(l, l.Name)
	}
	if r.Head != nil {
		d.add(*r.Head, "(head)")
	}
	if len(d.short) == 0 {
		return "(nothing)\n"
	}
	for _, e := range r.EntryPoints() {
		d.entryPoints[e.Lvol.UUID] = e
		d.add(e.Lvol, "entry point of "+e.Snapshot)
	}
	var roots []string
	for parent := range d.children {
		if _, ours := d.short[parent]; !ours {
			roots = append(roots, parent)
		}
	}
	sort.Slice(roots, func(i, j int) bool { return d.title(roots[i]) < d.title(roots[j]) })
	for _, root := range roots {
		d.text.WriteString(d.title(root) + "\n")
		d.branch(root)
	}
	return d.text.String()
}

type drawing struct {
	replica  rebuild.Replica
	children map[string][]rebuild.Lvol // by the parent's UUID, or by its name if the store does not have it
	short    map[string]string         // names by UUID
	text     strings.Builder

	entryPoints map[string]rebuild.EntryPointOnStore // on snapshots of the replica, by UUID
}

func (d *drawing) add(l rebuild.Lvol, short string) {
	d.short[l.UUID] = short
	parent := l.Parent
	if parent == "" {
		parent = d.replica.ParentOf(l).String() // outside of the store, unknown, or none
	}
	d.children[parent] = append(d.children[parent], l)
}

// title is the line above the children of a parent outside of the replica.
func (d *drawing) title(uuid string) string {
	first := d.children[uuid][0]
	switch parent := d.replica.ParentOf(first); {
	case parent.IsNone():
		return "(no parent)"
	case parent.IsUnknown():
		return "(parent unknown)"
	default:
		return parent.String()
	}
}

// maxIndent is the number of levels that are indented. Deeper ones are not, and name
// their parent.
const maxIndent = 8

// branch draws the descendants of an lvol, without recursion: chains can be long.
func (d *drawing) branch(root string) {
	type visit struct {
		lvol   rebuild.Lvol
		prefix string
		last   bool
		depth  int
	}
	var pending []visit
	push := func(parent, prefix string, depth int) {
		all := d.children[parent]
		sort.Slice(all, func(i, j int) bool { return d.before(all[i], all[j]) })
		for i := len(all) - 1; i >= 0; i-- {
			pending = append(pending, visit{all[i], prefix, i == len(all)-1, depth})
		}
	}
	push(root, "", 0)
	for len(pending) > 0 {
		v := pending[len(pending)-1]
		pending = pending[:len(pending)-1]
		joint, below := "├── ", "│   "
		if v.last {
			joint, below = "└── ", "    "
		}
		text, prefix := d.describe(v.lvol), v.prefix+below
		if v.depth > maxIndent {
			text += "  on " + d.short[v.lvol.Parent]
		}
		if v.depth >= maxIndent {
			prefix = v.prefix
		}
		d.text.WriteString(v.prefix + joint + text + "\n")
		push(v.lvol.UUID, prefix, v.depth+1)
	}
}

// before orders siblings by creation, the head last.
func (d *drawing) before(a, b rebuild.Lvol) bool {
	if (a.Name == d.replica.Name) != (b.Name == d.replica.Name) {
		return b.Name == d.replica.Name
	}
	if !a.Attributes.CreatedAt.Equal(b.Attributes.CreatedAt) {
		return a.Attributes.CreatedAt.Before(b.Attributes.CreatedAt)
	}
	return a.Name < b.Name
}

// degradedText replaces size and clusters of an lvol whose size and clusters are unknown.
const degradedText = "degraded"

// lvolText describes an lvol on one line, under that name.
func lvolText(name string, l rebuild.Lvol) string {
	if l.Degraded {
		return name + "  " + degradedText
	}
	return fmt.Sprintf("%s  %s of %s", name, count(l.Own.Count, "cluster"), bytesText(l.Size)) + useText(l)
}

// sizeText is the size of an lvol, or that it is unknown.
func sizeText(l rebuild.Lvol) string {
	if l.Degraded {
		return degradedText
	}
	return bytesText(l.Size)
}

func (d *drawing) describe(l rebuild.Lvol) string {
	if e, ok := d.entryPoints[l.UUID]; ok {
		text := d.short[l.UUID] + "  linked clones: " + strings.Join(e.Clones, ", ")
		if len(e.Clones) == 0 {
			text = d.short[l.UUID] + "  no linked clones"
		}
		if e.Defect != "" {
			text += "  wrong: it " + e.Defect
		}
		return text
	}
	if l.Degraded {
		return d.short[l.UUID] + "  " + degradedText
	}
	text := fmt.Sprintf("%s  %s", d.short[l.UUID], count(l.Own.Count, "cluster"))
	if d.replica.Head != nil && l.Size != d.replica.Head.Size {
		text += " of " + bytesText(l.Size)
	}
	if at := timeText(l.Attributes.CreatedAt); at != "" {
		text += "  " + at
	}
	if l.Record != "" {
		text += "  records " + recordWords(rebuild.BaseOfRecord(l.Record))
	}
	return text + useText(l)
}

// recordWords names a recorded base.
func recordWords(b rebuild.Base) string {
	if isClone(b) {
		return baseWords(b)
	}
	return "image " + b.Record()
}

// useText names the user of an lvol.
func useText(l rebuild.Lvol) string {
	if !l.UsedBy.Any() {
		return ""
	}
	return "  in use: " + l.UsedBy.String()
}
