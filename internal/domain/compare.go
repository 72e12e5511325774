package domain

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// Difference is one property in which the replicas of a volume differ. It groups all
// replicas by their value. A comparison cannot know which group is right.
type Difference struct {
	Subject string // a snapshot's name, "head", or the base as in Parent.String
	Rule    string // one of the Rule constants
	Groups  []Group
}

// Group lists the replicas that have the same value.
type Group struct {
	Value    string   // in words
	Replicas []string // as VolumeAudit.Names calls them
}

// String is the difference on one line.
func (d Difference) String() string {
	return d.Subject + ": " + d.Rule + ": " + d.Detail()
}

// Detail lists each value and its replicas, the largest group first.
func (d Difference) Detail() string {
	parts := make([]string, len(d.Groups))
	for i, g := range d.Groups {
		parts[i] = g.Value + ": " + strings.Join(g.Replicas, ", ")
	}
	return strings.Join(parts, "; ")
}

// VolumeAudit lists what is wrong with the replicas of one volume, each by itself
// and compared with each other.
type VolumeAudit struct {
	Base        Base           // of the volume; the zero Base if it is not known
	Names       []string       // of the replicas, each once: with their lvstore's
	Replicas    []ReplicaAudit // in the order given
	Differences []Difference
	Notices     []string // facts that are no fault, but worth knowing

	partial map[string]bool // system snapshots that not all replicas have
}

// AuditVolume audits replicas of one volume. One replica that identifies the base
// is enough, so a hurt replica without a record is found, too. A violation of a
// single replica is not repeated as a difference.
func AuditVolume(requested Base, replicas ...Replica) VolumeAudit {
	v := &VolumeAudit{Names: uniqueNames(replicas)}
	var agreeing []evidence
	for _, r := range sameVolume(replicas) {
		if all := auditEvidence(requested, r); len(all) > 0 {
			if _, err := agreedBase(all); err == nil {
				agreeing = append(agreeing, all[0])
			}
		}
	}
	base, err := agreedBase(agreeing)
	v.Base = base
	for _, r := range replicas {
		known := auditEvidence(requested, r)
		other := DifferentVolumes(replicas[0].Name, r.Name)
		if other {
			v.Notices = append(v.Notices, fmt.Sprintf("%s is named as a replica of another volume than %s", r.located(), replicas[0].located()))
		}
		if err == nil && base.Known() && !other {
			known = append(known, evidence{"the volume's other replicas", base})
		}
		v.Replicas = append(v.Replicas, audit(r, known))
	}
	if len(replicas) > 1 {
		v.compare()
	}
	return *v
}

// Wrong reports whether anything was found.
func (v VolumeAudit) Wrong() bool {
	return len(v.Differences) > 0 || slices.ContainsFunc(v.Replicas, func(a ReplicaAudit) bool { return len(a.Violations) > 0 })
}

// uniqueNames are the replicas' names with their lvstore's and, if that is
// ambiguous, the lvstore's UUID.
func uniqueNames(replicas []Replica) []string {
	names := make([]string, len(replicas))
	count := make(map[string]int)
	for i, r := range replicas {
		names[i] = r.Name + " on " + r.Store.Name
		count[names[i]]++
	}
	for i, r := range replicas {
		if count[names[i]] > 1 {
			names[i] += " (" + r.Store.UUID + ")"
		}
	}
	return names
}

func (v *VolumeAudit) compare() {
	v.compareBases()
	v.findPartial()
	for _, name := range v.snapshotNames() {
		v.compareSnapshot(name)
	}
	v.compareHeads()
}

// notCompared is the value of a replica that has none, or whose own audit already
// reports the violation.
const notCompared = "\x00"

// differ adds a difference if not all replicas have the same value.
func (v *VolumeAudit) differ(subject, rule string, value func(a *ReplicaAudit) string) bool {
	return v.differNamed(subject, rule, func(_ string, a *ReplicaAudit) string { return value(a) })
}

// differNamed is differ for a value that also depends on the replica's name.
func (v *VolumeAudit) differNamed(subject, rule string, value func(name string, a *ReplicaAudit) string) bool {
	var groups []Group
	for i := range v.Replicas {
		is := value(v.Names[i], &v.Replicas[i])
		if is == notCompared {
			continue
		}
		at := slices.IndexFunc(groups, func(g Group) bool { return g.Value == is })
		if at < 0 {
			at = len(groups)
			groups = append(groups, Group{Value: is})
		}
		groups[at].Replicas = append(groups[at].Replicas, v.Names[i])
	}
	if len(groups) < 2 {
		return false
	}
	slices.SortStableFunc(groups, func(a, b Group) int { return len(b.Replicas) - len(a.Replicas) })
	v.Differences = append(v.Differences, Difference{subject, rule, groups})
	return true
}

// compareBases checks that all replicas have the same base, and that it shows the same
// bytes on all hosts.
func (v *VolumeAudit) compareBases() {
	subject, rule := "backing-image", RuleImage
	if slices.ContainsFunc(v.Replicas, func(a ReplicaAudit) bool { _, _, isClone := a.Base.Clone(); return isClone }) {
		subject, rule = "base", RuleBase
	}
	if v.differ(subject, rule, func(a *ReplicaAudit) string {
		if !a.Base.Known() {
			return notCompared
		}
		return a.Base.String()
	}) {
		return
	}
	if name, isImage := v.Base.Image(); isImage {
		v.compareImages(name)
	} else if v.Base.Any() {
		v.compareChains()
	}
}

// compareChains compares what linked clones read below their entry points. An entry point
// with a defect is a violation of its replica.
func (v *VolumeAudit) compareChains() {
	var first []link
	var firstStore, equal string
	v.differ(v.Base.Parent().String(), RuleBase, func(a *ReplicaAudit) string {
		chain := a.Replica.baseChain(v.Base)
		if chain == nil {
			return notCompared
		}
		isFirst := first == nil
		if isFirst {
			first, firstStore = chain, a.Replica.Store.Name
			equal = "as on lvstore " + firstStore
		}
		differ, unproven := chainDifference(first, chain)
		if differ != "" {
			return differ
		}
		if unproven != "" && !isFirst {
			v.Notices = append(v.Notices, unverifiedBase(v.Base, a.Replica.Store.Name, firstStore))
		}
		return equal
	})
}

// compareImages compares the copies of an image on all hosts.
func (v *VolumeAudit) compareImages(name string) {
	var first *BackingImage
	contradicts := false
	for _, a := range v.Replicas {
		here, isHere := a.Replica.Store.BackingImage(name)
		switch {
		case !isHere:
		case first == nil:
			first = &here
		default:
			contradicts = contradicts || first.difference(here) != ""
		}
	}
	if !contradicts {
		return
	}
	v.differ(v.Base.Parent().String(), RuleImage, func(a *ReplicaAudit) string {
		here, isHere := a.Replica.Store.BackingImage(name)
		if !isHere {
			return notCompared
		}
		l := here.Lvol
		text := fmt.Sprintf("UUID %s, SHA-512 %s, %d bytes", cmp.Or(l.Image.UUID, notRecorded), cmp.Or(shortChecksum(l.Image.Checksum), notRecorded), l.Size)
		if l.Own.Proven() {
			text += ", " + proofText(l.Own)
		}
		return text
	})
}

// notRecorded stands for a UUID or checksum that the host does not record.
const notRecorded = "not recorded"

// proofText is a short text that is equal for equal proofs.
func proofText(own Clusters) string {
	sum := sha256.Sum256([]byte(own.Map))
	return "map " + hex.EncodeToString(sum[:4]) + ", checksum " + shortChecksum(own.Checksum)
}

// snapshotNames are the names of the snapshots of all replicas.
func (v *VolumeAudit) snapshotNames() []string {
	var names []string
	for _, a := range v.Replicas {
		for _, s := range a.Replica.Snapshots {
			names = append(names, s.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (v *VolumeAudit) compareSnapshot(name string) {
	if !v.partial[name] {
		v.differ(name, RuleMissing, func(a *ReplicaAudit) string {
			if _, ok := a.Replica.Snapshot(name); ok {
				return "there"
			}
			return "missing"
		})
	}
	find := func(r Replica) (Lvol, bool) {
		s, ok := r.Snapshot(name)
		return s.Lvol, ok
	}
	v.compareLvols(name, find, func(l Lvol) string {
		if !l.Own.Proven() {
			return notCompared
		}
		return proofText(l.Own)
	})
	v.differ(name, RuleAttributes, valueOf(find, func(r Replica, l Lvol) string {
		if !r.Store.Records {
			return notCompared
		}
		by := "the system"
		if l.Attributes.UserCreated {
			by = "a user"
		}
		return "created at " + l.Attributes.CreatedAt.UTC().Format("2006-01-02T15:04:05Z") + " by " + by
	}))
}

// compareLvols compares parent, size and clusters of a snapshot or of the heads.
func (v *VolumeAudit) compareLvols(subject string, find func(Replica) (Lvol, bool), proof func(Lvol) string) {
	v.differ(subject, RuleParent, v.parentOf(subject, find))
	v.differ(subject, RuleSize, valueOf(find, func(_ Replica, l Lvol) string { return fmt.Sprintf("%d bytes", l.Size) }))
	v.compareClusters(subject, find, proof)
}

// valueOf is the value of an lvol, unless that is missing or degraded.
func valueOf(find func(Replica) (Lvol, bool), value func(r Replica, l Lvol) string) func(a *ReplicaAudit) string {
	return func(a *ReplicaAudit) string {
		l, ok := find(a.Replica)
		if !ok || l.Degraded {
			return notCompared
		}
		return value(a.Replica, l)
	}
}

func clustersText(n uint64) string {
	if n == 1 {
		return "1 cluster of its own"
	}
	return fmt.Sprintf("%d clusters of its own", n)
}

// parentOf is the parent of an lvol, unless the audit reports it already. Whether an
// ancestor has the image as its parent is checked by the audit.
func (v *VolumeAudit) parentOf(subject string, find func(Replica) (Lvol, bool)) func(a *ReplicaAudit) string {
	return func(a *ReplicaAudit) string {
		l, ok := find(a.Replica)
		if !ok || a.reports(subject, RuleParent, RuleOneRoot, RuleDegraded) {
			return notCompared
		}
		parent, _ := v.effectiveParent(a.Replica, l)
		if name, ok := parent.Snapshot(); ok {
			return "on " + name
		}
		return "the ancestor"
	}
}

func (a *ReplicaAudit) reports(subject string, rules ...string) bool {
	return slices.ContainsFunc(a.Violations, func(found Violation) bool {
		return found.Subject == subject && slices.Contains(rules, found.Rule)
	})
}

// compareHeads leaves out missing heads; the replica's own audit reports them.
func (v *VolumeAudit) compareHeads() {
	find := func(r Replica) (Lvol, bool) {
		if r.Head == nil {
			return Lvol{}, false
		}
		return *r.Head, true
	}
	v.compareLvols(headSubject, find, func(Lvol) string { return notCompared })
}
