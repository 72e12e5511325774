package domain

import (
	"fmt"
	"slices"
	"strings"
)

// EntryPoint is an empty snapshot that is a clone of a snapshot of another volume, the
// source volume. The ancestors of linked clones have it as their parent, so that no
// replica has a clone of another one's snapshot: deleting such a snapshot would merge it
// into the clone. All linked clones of one snapshot on a store share one.
//
// Longhorn's v2 data engine makes them since version 1.12.1, and names them
// <replica>-clone-ep-<snapshot>, after the replica that the snapshot belongs to.
type EntryPoint struct {
	Replica  string // of the source volume, on the same store
	Snapshot string // of that replica
	Lvol     Lvol
}

// EntryPointLvolName is the name of the entry point on a replica's snapshot.
func EntryPointLvolName(replica, snapshot string) string {
	return replica + linkedCloneInfix + snapshot
}

// entryPointOf interprets the name of an lvol as an entry point's. Longhorn's helper of
// the same form, which ends in -tmp-head, is none.
func entryPointOf(name string) (replica, snapshot string, ok bool) {
	replica, snapshot, ok = strings.Cut(name, linkedCloneInfix)
	ok = ok && replica != "" && snapshot != "" && !strings.HasSuffix(snapshot, tmpHeadSuffix)
	return replica, snapshot, ok
}

// volumeOf is the volume that a replica belongs to, by its name: the replica's own name
// if it has not Longhorn's form.
func volumeOf(replica string) string {
	if volume, ok := VolumeOfReplica(replica); ok {
		return volume
	}
	return replica
}

// Base is the base of the linked clones of that entry point.
func (e EntryPoint) Base() Base { return CloneBase(volumeOf(e.Replica), e.Snapshot) }

// EntryPoint finds the entry point of linked clones with that base. It refuses a store
// with several, one for each replica of the source volume.
func (s Listing) EntryPoint(base Base) (found EntryPoint, ok bool, err error) {
	volume, snapshot, isClone := base.Clone()
	if !isClone {
		return EntryPoint{}, false, nil
	}
	for i := range s.Lvols {
		replica, of, isEntryPoint := entryPointOf(s.Lvols[i].Name)
		if !isEntryPoint || of != snapshot || volumeOf(replica) != volume {
			continue
		}
		if ok {
			return EntryPoint{}, false, refuse("lvstore %s has two entry points of %s: %s and %s", s.Name, base, found.Lvol.Name, s.Lvols[i].Name)
		}
		found, ok = EntryPoint{replica, of, s.Lvols[i]}, true
	}
	return found, ok, nil
}

// entryPointDefect says why the lvol at that position cannot be the parent of linked
// clones, "" if it can. Its snapshot has to be its parent: only then do they read that
// snapshot's bytes.
func (x *index) entryPointDefect(at int) string {
	l := &x.store.Lvols[at]
	replica, snapshot, _ := entryPointOf(l.Name)
	want := SnapshotLvolName(replica, snapshot)
	switch parent := x.parents[at]; {
	case l.Degraded:
		return "is degraded"
	case l.External != "":
		return "reads through to external snapshot " + l.External
	case l.Own.Count > 0:
		return fmt.Sprintf("has %s: its snapshot was merged into it, or it was written", clustersText(l.Own.Count))
	case parent == noParent:
		return "has no parent instead of " + want
	case x.readsSetAside(at):
		return fmt.Sprintf("has %s instead of %s as its parent: a rebuild of replica %s has set it aside, and is at work or was interrupted", x.store.Lvols[parent].Name, want, replica)
	case x.store.Lvols[parent].Name != want:
		return fmt.Sprintf("has %s instead of %s as its parent", x.store.Lvols[parent].Name, want)
	case l.Size != x.store.Lvols[parent].Size:
		return fmt.Sprintf("has %d bytes instead of the %d of its snapshot", l.Size, x.store.Lvols[parent].Size)
	case !l.ReadOnly:
		return "is writable"
	}
	return ""
}

// readsSetAside reports whether a rebuild of the source volume's replica has renamed the
// parent of the entry point at that position, and has not given it the copy yet. An empty
// parent may also be a spacer of an interrupted graft.
func (x *index) readsSetAside(at int) bool {
	parent := x.parents[at]
	if parent == noParent {
		return false
	}
	replica, _, _ := entryPointOf(x.store.Lvols[at].Name)
	of, inFlight := ReplicaInFlight(x.store.Lvols[parent].Name)
	return inFlight && of == replica && x.store.Lvols[parent].Own.Count > 0
}

// sourceSnapshot finds the snapshot of the source volume that linked clones with that base
// share on a store, and the replica that it belongs to. Refuses a store that lacks it, with
// what has to be done there first.
func (x *index) sourceSnapshot(base Base) (replica string, at int, err error) {
	volume, snapshot, _ := base.Clone()
	at = noPosition
	isWanted := func(r reading) bool {
		return r.role == roleSnapshot && r.snapshot == snapshot && volumeOf(r.replica) == volume
	}
	var others []string // replicas of the volume without that snapshot
	for i := range x.store.Lvols {
		all := slices.DeleteFunc(readings(x.store.Lvols[i]), func(r reading) bool { return volumeOf(r.replica) != volume })
		if !slices.ContainsFunc(all, isWanted) {
			for _, r := range all {
				others = append(others, r.replica)
			}
			continue
		}
		r, err := x.owner(i)
		switch {
		case err != nil:
			return "", noPosition, err
		case !isWanted(r):
		case at != noPosition && replica != r.replica:
			return "", noPosition, refuse("lvstore %s has %s twice: of replica %s and of replica %s", x.store.Name, base, replica, r.replica)
		default:
			replica, at = r.replica, i
		}
	}
	if slices.Sort(others); at == noPosition && len(others) > 0 {
		replica = others[0]
	}
	switch {
	case replica != "" && !x.hasHead(replica):
		return "", noPosition, refuse("replica %s on lvstore %s has no head, so it is incomplete: wait for its rebuild, or rebuild it first; this volume is a linked clone of %s", replica, x.store.Name, base)
	case at != noPosition:
		return replica, at, nil
	case replica != "":
		return "", noPosition, refuse("replica %s on lvstore %s has no snapshot %s, whose linked clone this volume is: rebuild that replica first", replica, x.store.Name, snapshot)
	default:
		return "", noPosition, refuse("no replica of volume %s is on lvstore %s, and this volume is a linked clone of its snapshot %s: rebuild a replica of volume %s there first", volume, x.store.Name, snapshot, volume)
	}
}

func (x *index) hasHead(replica string) bool {
	at, ok := x.named(replica)
	return ok && !x.store.Lvols[at].ReadOnly
}

// named is the position of the lvol of that name.
func (x *index) named(name string) (at int, ok bool) {
	i, ok := slices.BinarySearchFunc(x.byName, name, func(n named, name string) int { return strings.Compare(n.name, name) })
	if !ok {
		return noPosition, false
	}
	return x.byName[i].at, true
}
