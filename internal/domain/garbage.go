package domain

import (
	"slices"
	"strings"
)

// Leftover is an lvol that an interrupted run may have left on a store: one that was
// being filled, a helper of an adapter, or an entry point without linked clones.
type Leftover struct {
	Lvol Lvol
	// Owner is the name that a live run holds a lease on (ports.Claimer): the replica,
	// or the in-flight image or the entry point itself.
	Owner string
	// Stays is the reason why it must not be removed; "": it may be removed after the
	// leftovers that are its clones.
	Stays string
}

// IsEntryPoint reports whether the leftover is an entry point without linked clones: a crashed
// run has left it, or its last clone was deleted.
func (l Leftover) IsEntryPoint() bool {
	_, _, is := entryPointOf(l.Lvol.Name)
	return is && l.Lvol.ReadOnly
}

// Garbage finds the leftovers of all replicas on a store, in an order in which they
// can be deleted: clones before their parents. Lvols that other engines fill are
// listed, too, but stay.
func Garbage(store Listing) ([]Leftover, error) {
	x, err := newIndex(store)
	if err != nil {
		return nil, refuse("%v", err)
	}
	found := make(map[int]*Leftover)
	named := make(map[string]bool)
	clones := make([][]int, len(store.Lvols)) // of each lvol
	for i := range store.Lvols {
		if parent := x.parents[i]; parent != noParent {
			clones[parent] = append(clones[parent], i)
		}
	}
	for i := range store.Lvols {
		named[store.Lvols[i].Name] = true
		l, ok := leftoverOf(store.Lvols[i], store.UUID)
		if !ok {
			l, ok = entryPointLeft(store.Lvols[i], len(clones[i]))
		}
		if ok {
			if l.Lvol.UsedBy.Any() && l.Stays == "" {
				l.Stays = "it is in use: " + l.Lvol.UsedBy.String()
				if l.Lvol.UsedBy.Host != "" {
					l.Stays += ", for a volume: rebuild the replica under that volume, or delete the volume"
				}
			}
			found[i] = &l
		}
	}
	for i, l := range found {
		if l.Stays == "" && !named[l.Owner] && (isStandIn(l.Lvol) || !store.Records && x.mayBeStandIn(i, l.Owner)) {
			l.Stays = "a revert of replica " + l.Owner + " was interrupted, and only this lvol keeps the size and image of its head: revert again, or rebuild or delete the replica"
		}
	}
	depth := make(map[int]int) // of each leftover
	order := make([]int, 0, len(found))
	for i := range found {
		order = append(order, i)
		for at := i; at != noParent; at = x.parents[at] {
			depth[i]++
		}
	}
	slices.SortFunc(order, func(a, b int) int {
		if depth[a] != depth[b] {
			return depth[b] - depth[a]
		}
		return strings.Compare(store.Lvols[a].Name, store.Lvols[b].Name)
	})
	all := make([]Leftover, 0, len(order))
	for _, i := range order {
		l := found[i]
		for _, child := range clones[i] {
			if on := found[child]; l.Stays == "" && (on == nil || on.Stays != "") {
				l.Stays = "lvol " + store.Lvols[child].Name + " is its clone: rebuild or repair that lvol's replica, which grafts the lvol onto its right parent"
			}
		}
		all = append(all, *l)
	}
	return all, nil
}

// mayBeStandIn: on a host without records, the stand-in of a head looks like any
// other empty in-flight clone of a snapshot of the replica.
func (x *index) mayBeStandIn(at int, replica string) bool {
	l, parent := x.store.Lvols[at], x.parents[at]
	if l.ReadOnly || l.Own.Count > 0 || parent == noParent {
		return false
	}
	parentReading, ok := readingFor(x.store.Lvols[parent], replica)
	return ok && parentReading.role == roleSnapshot
}

// leftoverOf distinguishes our in-flight lvols, which end in 8 hex digits, from those
// of other engines.
func leftoverOf(l Lvol, storeUUID string) (Leftover, bool) {
	if IsImageInFlight(l.Name) {
		return Leftover{Lvol: l, Owner: l.Name}, true
	}
	if image, isTemp := strings.CutSuffix(l.Name, imageTempSuffix); isTemp {
		if _, isImage := ImageOfLvolName(image, storeUUID); isImage {
			return Leftover{Lvol: l, Owner: l.Name, Stays: "Longhorn downloads an image into it, or has left it"}, true
		}
	}
	replica, inFlight := ReplicaInFlight(l.Name)
	if !inFlight || reservedReplicaForm(replica) != "" {
		return Leftover{}, false
	}
	found := Leftover{Lvol: l, Owner: replica}
	if l.Degraded && l.ReadOnly {
		found.Stays = "it is degraded and may have unknown clones"
	}
	if strings.HasSuffix(l.Name, inFlightSuffix) {
		found.Stays = "Longhorn rebuilds a replica into it, or has left it"
	}
	return found, true
}

// entryPointLeft recognizes an entry point without clones, and Longhorn's helper of the
// same form, which it makes an entry point of. Longhorn deletes both by itself.
func entryPointLeft(l Lvol, clones int) (Leftover, bool) {
	_, _, isEntryPoint := entryPointOf(l.Name)
	left := isEntryPoint && l.ReadOnly && clones == 0
	isHelper := strings.Contains(l.Name, linkedCloneInfix) && strings.HasSuffix(l.Name, tmpHeadSuffix)
	if !left && !isHelper {
		return Leftover{}, false
	}
	found := Leftover{Lvol: l, Owner: l.Name}
	switch {
	case l.Degraded:
		found.Stays = "it is degraded and may have unknown clones"
	case l.Own.Count > 0:
		found.Stays = "it has " + clustersText(l.Own.Count)
	}
	return found, true
}
