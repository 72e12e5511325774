package domain

import (
	"fmt"
	"strings"
)

// The sources of a rebuild may differ: one of them was offline for a while, is empty,
// or missed an expansion. The engine cannot know which one is right. So it refuses a
// primary that lacks data of another source, unless the caller has named the primary
// as the right one.

// CheckPrimary compares the primary with the volume's other sources, including those
// that serve no copies. Warnings list what a replica rebuilt from the primary would
// lack, and the sources that have another size. It returns a Refusal if that is a user's
// snapshot, a part of the size or all the data. trusted: the caller has named the
// primary as the right source, so nothing is refused.
func CheckPrimary(primary Replica, others []Replica, trusted bool) (warnings []string, err error) {
	var losses []string
	for _, other := range others {
		c := comparison{primary: primary, other: other}
		c.compare()
		losses, warnings = append(losses, c.lost...), append(warnings, c.differences...)
	}
	warnings = append(losses[:len(losses):len(losses)], warnings...)
	if len(losses) == 0 || trusted {
		return warnings, nil
	}
	return warnings, refuse("the sources differ, and a replica rebuilt from %s would lack data of another one: %s; name the right source, or give the right ones only", primary.located(), strings.Join(losses, "; "))
}

// comparison compares the primary with one other source.
type comparison struct {
	primary, other Replica

	lost        []string // losses that the caller must confirm
	differences []string // all others
}

func (c *comparison) addLoss(format string, args ...any) {
	c.lost = append(c.lost, fmt.Sprintf(format, args...))
}

func (c *comparison) addDifference(format string, args ...any) {
	c.differences = append(c.differences, fmt.Sprintf(format, args...))
}

func (c *comparison) compare() {
	if !c.other.Exists() {
		return // nothing to compare
	}
	c.compareVolumes()
	c.compareData()
	c.compareSnapshots()
	c.compareSizes()
	c.compareHeads()
}

func (c *comparison) compareVolumes() {
	if DifferentVolumes(c.primary.Name, c.other.Name) {
		c.addLoss("%s is named as a replica of another volume", c.other.located())
	}
}

func (c *comparison) compareData() {
	if n := c.other.ownClusters(); n > 0 && c.primary.ownClusters() == 0 {
		c.addLoss("%s has %s, and %s has none", c.other.located(), clustersText(n), c.primary.located())
	}
}

// compareSnapshots leaves out the system snapshots of rebuilds: a rebuild takes one of
// its primary only.
func (c *comparison) compareSnapshots() {
	var users, systems lostSnapshots
	for _, s := range c.other.Snapshots {
		if _, has := c.primary.Snapshot(s.Name); has || isSystemSnapshot(s.Name) {
			continue
		}
		if c.other.Store.Records && !s.Lvol.Attributes.UserCreated {
			systems.add(s)
		} else {
			users.add(s) // where nothing is recorded, it may be a user's
		}
	}
	if len(users.names) > 0 {
		c.addLoss("only %s has %s", c.other.located(), users.text("snapshot"))
	}
	if len(systems.names) > 0 {
		c.addDifference("only %s has %s", c.other.located(), systems.text("system snapshot"))
	}
}

func (c *comparison) compareSizes() {
	ours, theirs := c.primary.volumeSize(), c.other.volumeSize()
	switch {
	case ours == 0 || theirs == 0: // not known
	case theirs > ours:
		c.addLoss("%s has %d bytes, and %s %d", c.other.located(), theirs, c.primary.located(), ours)
	case theirs < ours && c.other.Head != nil: // without a head, the volume may have grown since
		c.addDifference("source %s has another size: %d bytes instead of the %d of %s", c.other.located(), theirs, ours, c.primary.located())
	}
}

// compareHeads compares the writes since the newest snapshot. If a rebuild has frozen
// one of the heads and it was written to again, both may have written the same
// clusters, so then only a head without clusters counts as a difference.
func (c *comparison) compareHeads() {
	if c.primary.Head == nil || c.other.Head == nil {
		return
	}
	ours, theirs := c.primary.sinceSnapshot(), c.other.sinceSnapshot()
	switch {
	case ours.since != theirs.since || ours.clusters == theirs.clusters:
	case ours.clusters == 0 || theirs.clusters > 0 && !ours.frozen && !theirs.frozen:
		c.addDifference("%s has %s in its head, and %s %d", c.other.located(), clustersText(theirs.clusters), c.primary.located(), ours.clusters)
	}
}

// lostSnapshots are listed by name.
type lostSnapshots struct {
	names    []string
	clusters uint64
}

func (l *lostSnapshots) add(s Snapshot) {
	l.names, l.clusters = append(l.names, s.Name), l.clusters+s.Lvol.Own.Count
}

func (l *lostSnapshots) text(what string) string {
	if len(l.names) > 1 {
		what += "s"
	}
	return fmt.Sprintf("%s %s (%s)", what, someNames(l.names), clustersText(l.clusters))
}

// someNames lists at most ten names and counts the others.
func someNames(names []string) string {
	const enough = 10
	if more := len(names) - enough; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:enough], ", "), more)
	}
	return strings.Join(names, ", ")
}

// sameVolume leaves out replicas that are named as those of another volume than the
// first one.
func sameVolume(replicas []Replica) (same []Replica) {
	for _, r := range replicas {
		if !DifferentVolumes(replicas[0].Name, r.Name) {
			same = append(same, r)
		}
	}
	return same
}

// DifferentVolumes reports whether two replicas are named as replicas of different
// volumes. If only one name has the form of VolumeOfReplica, they are, too.
func DifferentVolumes(a, b string) bool {
	ofA, okA := VolumeOfReplica(a)
	ofB, okB := VolumeOfReplica(b)
	return (okA || okB) && (okA != okB || ofA != ofB)
}

// ownClusters is the number of clusters of the replica's head and snapshots.
func (r Replica) ownClusters() (n uint64) {
	for at, is := range r.members {
		if is.role == roleHead || is.role == roleSnapshot {
			n += r.Store.Lvols[at].Own.Count
		}
	}
	return n
}

// volumeSize is the head's size in bytes, or without a head that of the largest
// snapshot; 0: not known.
func (r Replica) volumeSize() (size uint64) {
	if r.Head != nil {
		return r.Head.Size
	}
	for i := range r.Snapshots {
		size = max(size, r.Snapshots[i].Lvol.Size)
	}
	return size
}

// headWrites counts the writes of a head since a snapshot.
type headWrites struct {
	since    string // the newest snapshot that no rebuild has taken of the head; "": none
	clusters uint64 // of the head and of the snapshots that rebuilds have taken of it
	frozen   bool   // a rebuild has taken a snapshot of it
}

func (r Replica) sinceSnapshot() headWrites {
	w := headWrites{clusters: r.Head.Own.Count}
	for at := r.index.parents[r.head]; at != noParent && r.members[at].role == roleSnapshot; at = r.index.parents[at] {
		if !isSystemSnapshot(r.members[at].snapshot) {
			w.since = r.members[at].snapshot
			break
		}
		w.clusters, w.frozen = w.clusters+r.Store.Lvols[at].Own.Count, true
	}
	return w
}
