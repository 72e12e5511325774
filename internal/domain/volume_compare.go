package domain

import (
	"maps"
	"slices"
)

// CheckEqual refuses replicas that were audited together and differ, or whose bases do.
func (v VolumeAudit) CheckEqual() error {
	if len(v.Differences) == 0 {
		return nil
	}
	d := v.Differences[0]
	if d.Rule == RuleImage || d.Rule == RuleBase {
		return refuse("the bases differ, so replicas over them cannot be mirrored: %s: replace those that are wrong", d)
	}
	return refuse("the replicas differ, so they cannot be mirrored: %s: rebuild those that are wrong", d)
}

// View is an lvol that shows the same data on all replicas of a volume.
type View struct {
	Lvols []Lvol // of each replica; the zero Lvol: it has none

	subject, cure string
}

// CheckEqual refuses data that differs; checksums are those of the Lvols.
func (w View) CheckEqual(checksums []string, replicas []Replica) error {
	first := -1
	for i, sum := range checksums {
		switch {
		case w.Lvols[i].UUID == "":
		case first < 0:
			first = i
		case sum != checksums[first]:
			return refuse("%s of replica %s has other data than that of replica %s: %s", w.subject, replicas[i].Name, replicas[first].Name, w.cure)
		}
	}
	return nil
}

// UnprovenViews are the views that have to be read to compare the replicas, since not all
// hosts have checksums of them: those of the base, of snapshots, and of the heads, if one has
// clusters of its own or anything below them has to be read. A system snapshot that not all
// replicas have is not read: the heads show its data.
func UnprovenViews(v VolumeAudit) (views []View) {
	if base, is := v.unprovenBase(); is {
		views = append(views, base)
	}
	snapshots := v.unprovenSnapshots()
	views = append(views, snapshots...)
	heads := View{subject: "the head", cure: "rebuild the wrong one"}
	var own uint64
	for _, a := range v.Replicas {
		var head Lvol
		if a.Replica.Head != nil {
			head = *a.Replica.Head
		}
		own += head.Own.Count
		heads.Lvols = append(heads.Lvols, head)
	}
	if own > 0 || len(snapshots) > 0 {
		views = append(views, heads)
	}
	return views
}

func (v VolumeAudit) unprovenSnapshots() (views []View) {
	all := make(map[string]View)
	proven := make(map[string]int)
	for i, a := range v.Replicas {
		for _, s := range a.Replica.Snapshots {
			if _, known := all[s.Name]; !known {
				all[s.Name] = View{make([]Lvol, len(v.Replicas)), "snapshot " + s.Name, "rebuild the wrong one"}
			}
			all[s.Name].Lvols[i] = s.Lvol
			if s.Lvol.Own.Proven() {
				proven[s.Name]++
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if proven[name] != len(v.Replicas) {
			views = append(views, all[name])
		}
	}
	return views
}

// unprovenBase is the view of the base, if neither records nor checksums show that it is the
// same on all lvstores.
func (v VolumeAudit) unprovenBase() (view View, unproven bool) {
	view = View{make([]Lvol, len(v.Replicas)), v.Base.String(), "replace the wrong one"}
	var first []link
	for i, a := range v.Replicas {
		links := a.Replica.baseLinks(v.Base)
		if len(links) == 0 || first != nil && links[0].lvol.UUID == first[0].lvol.UUID {
			continue // also on the lvstore of the first
		}
		view.Lvols[i] = *links[0].lvol
		if first == nil {
			first = links
			continue
		}
		_, name := chainDifference(first, links)
		unproven = unproven || name != ""
	}
	return view, unproven
}

// baseLinks are the lvols that show a base on the replica's lvstore, also if the replica does
// not exist.
func (r *Replica) baseLinks(base Base) []link {
	name, isImage := base.Image()
	here, isHere := r.Store.BackingImage(name)
	switch {
	case isImage && isHere:
		return []link{{base.String(), name, &here.Lvol}}
	case isImage || !base.Any():
		return nil
	}
	return r.baseChain(base)
}

// LvolsOf are the UUIDs of the lvols that show a base on the replica's lvstore.
func (r Replica) LvolsOf(base Base) (uuids []string) {
	for _, l := range r.baseLinks(base) {
		uuids = append(uuids, l.lvol.UUID)
	}
	return uuids
}
