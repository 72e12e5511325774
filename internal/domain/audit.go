package domain

import (
	"fmt"
	"strings"
)

// The rules that only an audit checks, since it has no source to compare with.
const (
	RuleEntryPoint = "entry-point" // the entry points of other volumes, its linked clones, have its snapshots as their parents
	RuleOneRoot    = "one-root"    // there is one ancestor; no other lvol lacks a parent or has an image as its parent
	RuleDegraded   = "degraded"    // the external snapshot that an lvol reads through to is available
)

// ReplicaAudit lists what is wrong with one replica.
type ReplicaAudit struct {
	Replica    Replica
	Base       Base // of the volume; the zero Base if it is not known
	Violations []Violation
	Notices    []string // facts that are no fault, but worth knowing

	misplaced []misplaced
	clone     *cloneBase    // of a linked clone; nil: it cannot be used
	direct    int           // position of the foreign snapshot that the ancestor is a clone of; noPosition: none
	ancestor  *lineageEntry // nil: none, or more than one
}

// lineageEntry is an lvol of a replica and its parent.
type lineageEntry struct {
	subject   string // a snapshot's name, or "head"
	lvol      *Lvol
	parent    int // position in the store, spacers skipped
	viaSpacer bool
}

// misplaced is an lvol with a wrong parent that a graft can repair.
type misplaced struct {
	lineageEntry
	right  Parent
	target Ref  // the right parent as an lvol
	isBase bool // it is the entry point of linked clones, no lvol of the replica
}

const headSubject = "head"

// Audit checks a replica without comparing it with another one: the rules that hold
// for every tree, above all that the ancestor's parent is the volume's base.
// requested is that base as the caller knows it; it may be the zero Base. If
// the base is not known at all, that is a notice and no violation: an ancestor
// without a parent proves nothing.
func Audit(r Replica, requested Base) ReplicaAudit {
	return audit(r, auditEvidence(requested, r))
}

func audit(r Replica, all []evidence) ReplicaAudit {
	a := &ReplicaAudit{Replica: r}
	a.direct, _ = r.withoutEntryPoint()
	base, err := agreedBase(all)
	if err == nil {
		err = base.refuseOwn(r.Name)
	}
	if err != nil {
		a.contradiction(all, err)
		base = Base{}
	}
	a.Base = base
	a.checkBase()
	if r.Head == nil {
		a.found(headSubject, RuleHead, false, "replica %s has none, so it is incomplete", r.Name)
	}
	a.checkLineage()
	a.checkLeftovers()
	a.checkOwnEntryPoints()
	a.addNotices(err == nil)
	return *a
}

func (a *ReplicaAudit) found(subject, rule string, repairable bool, format string, args ...any) {
	a.Violations = append(a.Violations, Violation{subject, rule, fmt.Sprintf(format, args...), repairable})
}

// checkLineage checks the parent of every lvol. It does not stop at the first
// violation, as NewSnapshotTree does.
func (a *ReplicaAudit) checkLineage() {
	r := a.Replica
	var roots []lineageEntry
	for i := range r.Snapshots {
		p := r.lineageOf(r.Snapshots[i].Name, r.positions[i])
		if a.checkParent(p) {
			roots = append(roots, p)
		}
	}
	if r.Head != nil {
		if p := r.lineageOf(headSubject, r.head); a.checkParent(p) {
			if len(r.Snapshots) == 0 {
				roots = append(roots, p)
			} else {
				a.found(headSubject, RuleOneRoot, false, "it has %s instead of a snapshot of replica %s", a.parentWords(p), r.Name)
			}
		}
	}
	a.checkRoots(roots)
}

// lineageOf finds the parent of an lvol. It skips spacers, which an interrupted graft
// leaves: they are empty, so their clones read the spacer's parent.
func (r Replica) lineageOf(subject string, at int) lineageEntry {
	p := lineageEntry{subject: subject, lvol: &r.Store.Lvols[at], parent: r.index.parents[at]}
	for p.parent != noParent && r.members[p.parent].role == roleInFlight && r.isSpacer(p.parent) {
		p.parent, p.viaSpacer = r.index.parents[p.parent], true
	}
	return p
}

func (r Replica) isSpacer(at int) bool {
	l := &r.Store.Lvols[at]
	return l.ReadOnly && l.Own.Count == 0 && l.externalParent().IsNone()
}

// checkParent checks the parent of one lvol and reports whether the lvol is a root,
// one whose parent is no snapshot.
func (a *ReplicaAudit) checkParent(p lineageEntry) (root bool) {
	r := a.Replica
	switch outside := p.lvol.externalParent(); {
	case outside.IsUnknown():
		a.found(p.subject, RuleDegraded, false, "lvol %s is degraded: the external snapshot that it reads through to is missing", p.lvol.Name)
		return false
	case !outside.IsNone():
		a.found(p.subject, RuleParent, false, "lvol %s reads through to %s: a part of its bytes is outside of lvstore %s", p.lvol.Name, outside.words(), r.Store.Name)
		return false
	case p.parent == noParent:
		return true
	}
	parent := &r.Store.Lvols[p.parent]
	switch {
	case r.isBase(p.parent), p.parent == a.direct:
		return true
	case r.members[p.parent].role != roleSnapshot:
		a.found(p.subject, RuleParent, false, "the parent of lvol %s is %s, which is no snapshot of replica %s", p.lvol.Name, parent.Name, r.Name)
	case p.lvol.Size < parent.Size:
		a.found(p.subject, RuleSize, false, "lvol %s has %d bytes, fewer than its parent %s with %d", p.lvol.Name, p.lvol.Size, parent.Name, parent.Size)
	case p.viaSpacer:
		a.addMisplaced(p, RuleParent, r.asParent(p.parent), listed(*parent), true)
	}
	return false
}

// checkRoots: there is one ancestor, and its parent is the volume's base.
func (a *ReplicaAudit) checkRoots(roots []lineageEntry) {
	if len(roots) == 0 {
		return
	}
	ancestor := 0
	if len(roots) > 1 {
		if ancestor = a.onlyRootOnBase(roots); ancestor < 0 {
			names := make([]string, len(roots))
			for i, p := range roots {
				names[i] = fmt.Sprintf("%s (%s)", p.subject, a.parentWords(p))
			}
			a.found(roots[0].subject, RuleOneRoot, false, "it is one of %d ancestors: %s; there must be only one", len(roots), strings.Join(names, ", "))
			return
		}
		for i, p := range roots {
			if i != ancestor {
				a.found(p.subject, RuleOneRoot, false, "lvol %s has no parent, but the ancestor is snapshot %s", p.lvol.Name, roots[ancestor].subject)
			}
		}
	}
	a.ancestor = &roots[ancestor]
	a.checkAncestor(*a.ancestor)
}

// onlyRootOnBase is the position of the only root whose parent is a base; -1: none, or
// several.
func (a *ReplicaAudit) onlyRootOnBase(roots []lineageEntry) int {
	found := -1
	for i, p := range roots {
		if p.parent == noParent {
			continue
		}
		if found >= 0 {
			return -1
		}
		found = i
	}
	return found
}

// checkAncestor checks the rule (ancestor.go).
func (a *ReplicaAudit) checkAncestor(p lineageEntry) {
	r := a.Replica
	if !a.Base.Known() {
		if p.viaSpacer {
			a.found(p.subject, RuleAncestorParent, false, "the parent of lvol %s is %s, which an interrupted graft has left", p.lvol.Name, r.Store.Lvols[r.index.byUUID[p.lvol.Parent]].Name)
		}
		return
	}
	right := a.Base.Parent()
	if r.ParentOf(*p.lvol) == right {
		a.checkBaseSize(p)
		return
	}
	target, repairable := a.rightBase(p)
	a.addMisplaced(p, RuleAncestorParent, right, target, repairable)
}

func (a *ReplicaAudit) addMisplaced(p lineageEntry, rule string, right Parent, target Ref, repairable bool) {
	consequence := ""
	if p.parent != noParent && p.parent == a.direct {
		consequence = ": the volumes are no longer isolated, since deleting that snapshot would merge it into this lvol"
	}
	a.found(p.subject, rule, repairable, "lvol %s has %s instead of %s%s", p.lvol.Name, a.Replica.ParentOf(*p.lvol).words(), right.words(), consequence)
	if repairable {
		a.misplaced = append(a.misplaced, misplaced{lineageEntry: p, right: right, target: target})
	}
}

// parentWords describes the parent, spacers skipped.
func (a *ReplicaAudit) parentWords(p lineageEntry) string {
	if p.parent == noParent {
		return NoParent().words()
	}
	return a.Replica.asParent(p.parent).words()
}

func (a *ReplicaAudit) checkLeftovers() {
	for _, l := range a.Replica.InFlight {
		a.found(l.Name, RuleInFlight, false, "it is being filled, or was left by an interrupted run")
	}
}

func (a *ReplicaAudit) addNotices(baseIsClear bool) {
	r := a.Replica
	say := func(format string, args ...any) { a.Notices = append(a.Notices, fmt.Sprintf(format, args...)) }
	switch {
	case !baseIsClear:
	case !a.Base.Known():
		say("the volume's base is not known: no record or lineage identifies it, and an ancestor without a parent proves nothing")
	case r.Head != nil && r.Store.Records && r.Head.Record == "":
		say("the head does not record %s", a.Base)
	}
	for at := range r.Store.Lvols {
		parent := r.index.parents[at]
		if r.members[at].role != roleForeign || parent == noParent || r.members[parent].role == roleForeign {
			continue
		}
		if _, _, isEntryPoint := entryPointOf(r.Store.Lvols[at].Name); isEntryPoint && r.Store.Lvols[at].ReadOnly {
			say("entry point %s is a clone of %s; its linked clones: %s", r.Store.Lvols[at].Name, r.Store.Lvols[parent].Name, listOrNone(r.index.linkedClones(at)))
		} else {
			say("foreign lvol %s is a clone of %s", r.Store.Lvols[at].Name, r.Store.Lvols[parent].Name)
		}
	}
}
