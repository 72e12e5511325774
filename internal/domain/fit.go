package domain

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// This file refuses destinations that do not fit, before anything is changed, with
// the figures in the message.

// refuseOtherGeometry: SPDK copies between stores of different cluster sizes without
// an error, and the data is wrong after a graft: a larger cluster that is filled in
// part masks the parent's bytes.
func (p *planner) refuseOtherGeometry() error {
	source, destination := p.source.Store, p.destination.Store
	switch {
	case source.ClusterSize == 0 || destination.ClusterSize == 0:
		return refuse("lvstore %s or %s reports no cluster size", source.Name, destination.Name)
	case source.ClusterSize != destination.ClusterSize:
		return refuse("lvstore %s has clusters of %d bytes, the source's lvstore %s of %d: they must be equal", destination.Name, destination.ClusterSize, source.Name, source.ClusterSize)
	case source.BlockSize != 0 && destination.BlockSize != 0 && source.BlockSize%destination.BlockSize != 0:
		return refuse("lvstore %s has blocks of %d bytes, which do not fit into the %d of the source's lvstore %s", destination.Name, destination.BlockSize, source.BlockSize, source.Name)
	}
	return nil
}

// refuseDegraded: the clones of a degraded lvol are not known, and deleting it could
// merge it into one. It warns of degraded and external lvols that are deleted.
func (p *planner) refuseDegraded() error {
	if err := p.destination.refuseDegraded(p.toDelete); err != nil {
		return err
	}
	for at := range p.destination.Store.Lvols {
		l := &p.destination.Store.Lvols[at]
		deleted := p.toDelete[at] || p.destination.members[at].role == roleHead && !p.keepHead
		switch outside := l.externalParent(); {
		case !deleted || outside.IsNone():
		case outside.IsUnknown():
			p.warn("lvol %s on lvstore %s is degraded: the external snapshot that it reads through to is missing; it is deleted", l.Name, p.destination.Store.Name)
		default:
			p.warn("lvol %s on lvstore %s reads through to %s; it is deleted", l.Name, p.destination.Store.Name, outside.words())
		}
	}
	return nil
}

// refuseDegraded refuses to delete lvols, marked by position in the store, that are
// degraded and may have clones.
func (r *Replica) refuseDegraded(marked []bool) error {
	for at := range r.Store.Lvols {
		if l := &r.Store.Lvols[at]; marked[at] && l.Degraded && l.ReadOnly {
			return refuse("lvol %s on lvstore %s would be deleted, but it is degraded and may have unknown clones: restore the external snapshot that it reads through to, or delete the clones and the lvol on the target", l.Name, r.Store.Name)
		}
	}
	return nil
}

// changed marks, by position in the destination's store, lvols that are deleted or
// grafted, and their descendants.
func (p *planner) changed() []bool {
	changed := slices.Clone(p.toDelete)
	for i := range p.decisions { // parents come before children
		f := &p.decisions[i]
		if !f.kept {
			continue
		}
		parent := p.destination.index.parents[f.counterpart]
		changed[f.counterpart] = f.detach || f.graft || parent != noParent && changed[parent]
	}
	return changed
}

// refuseForeignClones: a foreign clone of the replica must neither be deleted nor read
// other bytes, except an entry point that gets the copy as its parent.
func (p *planner) refuseForeignClones() error {
	destination, changed := p.destination, p.changed()
	for at := range destination.Store.Lvols {
		l := &destination.Store.Lvols[at]
		parent := destination.index.parents[at]
		if _, moved := p.moves[at]; moved || destination.members[at].role != roleForeign || parent == noParent || !changed[parent] {
			continue
		}
		parentLvol := &destination.Store.Lvols[parent]
		what := "would be changed"
		if p.toDelete[parent] {
			what = "would be deleted"
		}
		_, _, isEntryPoint := entryPointOf(l.Name)
		if clones := destination.index.linkedClones(at); isEntryPoint && len(clones) > 0 {
			_, why := p.moveOf(at)
			advice := "delete them first, and rebuild them afterwards, since they cannot be given the copy: " + why
			if why == onlyOffline {
				advice = "rebuild the replica offline, which gives them the copy"
			}
			return refuse("entry point %s on lvstore %s is a clone of %s, which %s, and replicas are linked clones of it: %s; %s", l.Name, destination.Store.Name, parentLvol.Name, what, someNames(clones), advice)
		}
		return refuse("lvol %s on lvstore %s is a foreign clone of %s, which %s: detach or delete the clone first", l.Name, destination.Store.Name, parentLvol.Name, what)
	}
	return nil
}

// warnOfLonghorn: Longhorn's engine remembers the snapshots of a stopped replica and
// refuses the replica if it has another one. A head counts as Longhorn's if Longhorn
// would load it: by its name, on a target of its SPDK branch, which keeps xattrs.
func (p *planner) warnOfLonghorn(system *SystemSnapshot) {
	if !p.source.Store.Records || !isLonghornReplica(p.source.Name) {
		return
	}
	warning := fmt.Sprintf("the head of replica %s on lvstore %s gets snapshot %s: if Longhorn's engine knows the replica, it refuses the replica until its server is restarted or the snapshot is deleted again on both sides", p.source.Name, p.source.Store.Name, system.Name)
	p.plan.Warnings = append(p.plan.Warnings, warning)
	system.Warnings = append(system.Warnings, warning)
}

// refuseInUse: a source's head in use is only read, unless it needs a snapshot; a
// destination's is deleted.
func (p *planner) refuseInUse() error {
	check := func(r Replica, l *Lvol, what change) error {
		if err := r.refuseInUse(l, what); err != nil {
			return err
		}
		if warning := r.warnInUse(l, what); warning != "" {
			p.plan.Warnings = append(p.plan.Warnings, warning)
		}
		return nil
	}
	if system := p.plan.SystemSnapshot; system != nil {
		if err := check(p.source, &system.Head, changeFreeze); err != nil {
			return err
		}
		if warning := p.source.warnInUse(&system.Head, changeFreeze); warning != "" {
			system.Warnings = append(system.Warnings, warning)
		}
		p.warnOfLonghorn(system)
	}
	if head := p.destination.Head; head != nil && !p.keepHead {
		if err := check(p.destination, head, changeDelete); err != nil {
			return err
		}
	}
	for at := range p.destination.members {
		if _, moved := p.moves[at]; !moved {
			continue
		}
		if err := check(p.destination, &p.destination.Store.Lvols[at], changeGraft); err != nil {
			return err
		}
	}
	for at, changed := range p.changed() {
		what := changeGraft
		if p.toDelete[at] {
			what = changeDelete
		}
		if !changed {
			continue
		}
		if err := check(p.destination, &p.destination.Store.Lvols[at], what); err != nil {
			return err
		}
	}
	return nil
}

// refuseNames: every final and in-flight name must fit and be free.
func (p *planner) refuseNames() error {
	if system := p.plan.SystemSnapshot; system != nil {
		if err := p.source.refuseNames([]string{system.LvolName}); err != nil {
			return err
		}
	}
	store := p.destination.Store
	names := make([]string, 0, len(p.names)+3)
	names = append(names, p.destination.Name, InFlightLvolName(p.destination.Name, "00000000"))
	for i := range p.decisions {
		if !p.decisions[i].kept {
			names = append(names, p.names[i])
		}
	}
	if p.fetch {
		names = append(names, ImageLvolName(p.fetched.Name, store.UUID))
	}
	if _, _, isClone := p.base.Clone(); isClone && p.baseAt == notMade {
		names = append(names, p.clone.name(p.base))
	}
	if err := p.destination.refuseNames(names); err != nil {
		return err
	}
	return p.refuseAmbiguousNames()
}

// refuseAmbiguousNames: while the rebuilt replica has no head, only names identify its
// snapshots, so none may be ambiguous with another replica's.
func (p *planner) refuseAmbiguousNames() error {
	if p.keepHead {
		return nil
	}
	if err := p.refuseAmbiguousDeletions(); err != nil {
		return err
	}
	plain := !strings.Contains(p.destination.Name, snapshotInfix)
	for _, snapshot := range p.tree.names {
		if plain && !strings.Contains(snapshot, snapshotInfix) && !endsInFlight("x-"+snapshot) {
			continue // unambiguous
		}
		name := SnapshotLvolName(p.destination.Name, snapshot)
		if other, doubt := p.destination.lineage.ambiguousWith(Lvol{Name: name, ReadOnly: true}); doubt {
			return refuse("a snapshot named %s on lvstore %s could also belong to replica %s there", name, p.destination.Store.Name, other)
		}
	}
	return nil
}

// refuseNames refuses names that are too long for the replica's store or taken there by
// a foreign lvol.
func (r Replica) refuseNames(names []string) error {
	foreign := make(map[string]bool)
	for at, is := range r.members {
		if is.role == roleForeign {
			foreign[r.Store.Lvols[at].Name] = true
		}
	}
	for _, name := range names {
		if r.Store.NameLimit > 0 && len(name) > r.Store.NameLimit {
			return refuse("lvol name %s has %d bytes, lvstore %s takes at most %d", name, len(name), r.Store.Name, r.Store.NameLimit)
		}
		if foreign[name] {
			return refuse("lvol %s already exists on lvstore %s and does not belong to replica %s", name, r.Store.Name, r.Name)
		}
	}
	return nil
}

// refuseAmbiguousDeletions: lvols that belong to the replica because of its head must
// still be recognized without it, or an interrupted run could not be repeated.
func (p *planner) refuseAmbiguousDeletions() error {
	destination := p.destination
	if destination.Head == nil || !slices.ContainsFunc(p.deletions, func(at int) bool { return len(readings(destination.Store.Lvols[at])) > 1 }) {
		return nil
	}
	withoutHead := destination.Store
	withoutHead.Lvols = slices.DeleteFunc(slices.Clone(withoutHead.Lvols), func(l Lvol) bool { return l.UUID == destination.Head.UUID })
	_, err := newReplica(withoutHead, destination.Name, destination.expected)
	return err
}

// refuseTooLittleSpace: thin volumes overcommit, and a store that fills up during a
// rebuild makes writes to its healthy replicas fail.
func (p *planner) refuseTooLittleSpace() error {
	store := p.destination.Store
	var need, freed uint64
	for i := range p.decisions {
		need += p.decisions[i].clusters
	}
	if p.fetch {
		need += p.fetched.Lvol.Own.Count
	}
	for _, at := range p.deletions {
		if !p.deletedLate(at) {
			freed += store.Lvols[at].Own.Count
		}
	}
	if head := p.destination.Head; head != nil && !p.keepHead {
		freed += head.Own.Count
	}
	reserve, err := Reserve(store, p.options.ReservePercent)
	if err != nil {
		return err
	}
	if taken := p.options.Taken; need > 0 && need+reserve+taken > store.FreeClusters+freed {
		return refuse("lvstore %s has too little space: the rebuild needs %d clusters and %d stay in reserve, but %d are free and it frees %d%s", store.Name, need, reserve, store.FreeClusters, freed, takenText(taken)+p.garbageText())
	}
	return nil
}

// takenText describes the clusters that others will allocate; "" for none.
func takenText(clusters uint64) string {
	if clusters == 0 {
		return ""
	}
	return fmt.Sprintf(", and other runs will take %d of these", clusters)
}

// Reserve is the number of clusters of the store that stay free, for a percentage of
// it from 0 to 100.
func Reserve(store Listing, percent float64) (clusters uint64, err error) {
	if !(percent >= 0 && percent <= 100) {
		return 0, refuse("reserve of %v %% of lvstore %s: expected 0 to 100", percent, store.Name)
	}
	return uint64(math.Ceil(float64(store.TotalClusters) * percent / 100)), nil
}

// garbageText describes the space that gc would free on the destination's store besides
// the plan's deletions; "" for none.
func (p *planner) garbageText() string {
	garbage, err := Garbage(p.destination.Store)
	if err != nil {
		return "" // impossible: the planner has indexed the same listing
	}
	var clusters uint64
	var names []string
	for _, l := range garbage {
		if l.Stays == "" && l.Lvol.Own.Count > 0 && !p.toDelete[p.destination.index.byUUID[l.Lvol.UUID]] {
			clusters, names = clusters+l.Lvol.Own.Count, append(names, l.Lvol.Name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf("; gc would free up to %d more from leftovers: %s", clusters, someNames(names))
}
