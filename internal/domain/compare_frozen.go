package domain

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A rebuild freezes the head of its primary in a system snapshot. The rebuilt replica
// has it, too; the volume's other replicas do not: their clones of its parent hold
// the same clusters. That is no damage. So a system snapshot that not all replicas
// have counts as a part of its clone.

// findPartial finds the system snapshots that only some of the replicas have.
func (v *VolumeAudit) findPartial() {
	v.partial = make(map[string]bool)
	for _, name := range v.snapshotNames() {
		if !isSystemSnapshot(name) {
			continue
		}
		var with, without []string
		for i, a := range v.Replicas {
			if _, has := a.Replica.Snapshot(name); has {
				with = append(with, v.Names[i])
			} else {
				without = append(without, v.Names[i])
			}
		}
		if len(without) == 0 {
			continue
		}
		v.partial[name] = true
		v.Notices = append(v.Notices, fmt.Sprintf("only %s has system snapshot %s, which a rebuild took of the head; on %s its clusters are part of its clone", strings.Join(with, ", "), name, strings.Join(without, ", ")))
	}
}

// effectiveParent is the parent of an lvol, and the system snapshots between the two
// that count as a part of the lvol, the newest first.
func (v *VolumeAudit) effectiveParent(r Replica, l Lvol) (parent Parent, between []Snapshot) {
	for parent = r.ParentOf(l); ; parent = r.ParentOf(l) {
		name, ok := parent.Snapshot()
		if !ok || !v.partial[name] {
			return parent, between
		}
		s, _ := r.Snapshot(name)
		between, l = append(between, s), s.Lvol
	}
}

// holding counts the clusters of an lvol and of the system snapshots that count as a
// part of it.
type holding struct {
	own      uint64
	between  string // names of the system snapshots; "": none
	frozen   uint64 // clusters of these
	min, max uint64 // possible numbers of distinct clusters: the same one may be own and frozen
}

func (v *VolumeAudit) holdingOf(r Replica, l Lvol) holding {
	_, between := v.effectiveParent(r, l)
	h := holding{own: l.Own.Count, min: l.Own.Count}
	names := make([]string, len(between))
	for i, s := range between {
		names[i] = s.Name
		h.frozen += s.Lvol.Own.Count
		h.min = max(h.min, s.Lvol.Own.Count)
	}
	h.between = strings.Join(names, ", ")
	h.max = max(h.min, min(h.own+h.frozen, r.Store.Clusters(l.Size)))
	return h
}

func (h holding) String() string {
	if h.between == "" {
		return clustersText(h.own)
	}
	return fmt.Sprintf("%s and %d in %s", clustersText(h.own), h.frozen, h.between)
}

// compareClusters compares the own clusters of a snapshot or of the heads by number
// and, if there is one, by proof. If only one of two replicas has a system snapshot,
// their numbers must merely allow equality.
func (v *VolumeAudit) compareClusters(subject string, find func(Replica) (Lvol, bool), proof func(Lvol) string) {
	holdings := make(map[string]holding) // by the replica's name
	groups := make(map[string][]holding) // of the replicas with the same system snapshots in between
	least, most := uint64(0), ^uint64(0)
	differ := false
	for i := range v.Replicas {
		r := v.Replicas[i].Replica
		l, ok := find(r)
		if !ok || l.Degraded { // its clusters are not known
			continue
		}
		h := v.holdingOf(r, l)
		holdings[v.Names[i]] = h
		groups[h.between] = append(groups[h.between], h)
		differ = differ || groups[h.between][0].own != h.own
		least, most = max(least, h.min), min(most, h.max)
	}
	if differ || least > most {
		v.differNamed(subject, RuleClusters, func(name string, _ *ReplicaAudit) string {
			if h, ok := holdings[name]; ok {
				return h.String()
			}
			return notCompared
		})
		return
	}
	for _, between := range slices.Sorted(maps.Keys(groups)) {
		v.differNamed(subject, RuleData, func(name string, a *ReplicaAudit) string {
			l, ok := find(a.Replica)
			if !ok || l.Degraded || holdings[name].between != between {
				return notCompared
			}
			return proof(l)
		})
	}
}
