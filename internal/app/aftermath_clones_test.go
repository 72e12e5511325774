package app_test

import (
	"bytes"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/domain"
)

// This file is what must hold for linked clones of the snapshots of a replica that is rebuilt.

// cloneViews are the bytes that an lvol of a linked clone may show.
type cloneViews struct{ old, right []byte }

// findClones looks at the linked clones on both hosts: the source's show what is right.
func (a *aftermath) findClones() {
	a.clones = make(map[string]cloneViews)
	if !a.world.clones {
		return
	}
	for _, replica := range linkedClones {
		for _, lvol := range []string{"", "-snap-c1"} {
			ours, theirs := a.before[replica+"b"+lvol].lvol.UUID, a.sourceBefore[replica+"a"+lvol].lvol.UUID
			a.clones[ours] = cloneViews{a.stage.view("destination", ours), a.stage.view("source", theirs)}
		}
	}
	require.Len(a.t, a.clones, 2*len(linkedClones))
}

// Rule 5: linked clones read the old bytes or the right ones.
func (a *aftermath) clonesReadOldOrRight() {
	for uuid, of := range a.clones {
		is := a.stage.view("destination", uuid)
		require.True(a.t, bytes.Equal(of.old, is) || bytes.Equal(of.right, is), "a linked clone reads neither the old bytes nor the right ones")
	}
}

// clonesReadRight: at the end they read the right ones, and nothing is left.
func (a *aftermath) clonesReadRight() {
	if !a.world.clones {
		return
	}
	for uuid, of := range a.clones {
		require.True(a.t, bytes.Equal(of.right, a.stage.view("destination", uuid)), "a linked clone reads other bytes")
	}
	_, destination := a.now()
	for name, f := range destination {
		_, inFlight := domain.ReplicaInFlight(name)
		require.False(a.t, inFlight, name)
		if snapshot, is := strings.CutPrefix(name, copyName+"-clone-ep-"); is {
			require.Equal(a.t, domain.SnapshotLvolName(copyName, snapshot), destination.parent(f))
		}
	}
}

// staysUnderClones reports whether a proven snapshot is kept: not if linked clones read
// through it, and it or an ancestor does not have its right parent.
func (a *aftermath) staysUnderClones(source, destination storeState, name string) bool {
	theirs, ours := source.snapshots(sourceName), destination.snapshots(copyName)
	if !a.world.clones || !destination.isReadByClones(ours[name].lvol.UUID) {
		return true
	}
	for {
		s, d := theirs[name], ours[name]
		right := a.rightParent(source, s)
		if !a.identical(s, d) || destination.parent(d) != right {
			return false
		}
		parent, isSnapshot := strings.CutPrefix(right, copyName+"-snap-")
		if !isSnapshot {
			return true
		}
		name = parent
	}
}

// isReadByClones reports whether an entry point of the rebuilt replica reads through an lvol.
func (a storeState) isReadByClones(uuid string) bool {
	parents := make(map[string]string)
	for _, f := range a {
		parents[f.lvol.UUID] = f.lvol.Parent
	}
	for name, f := range a {
		if !strings.HasPrefix(name, copyName+"-clone-ep-") {
			continue
		}
		for at := f.lvol.Parent; at != ""; at = parents[at] {
			if at == uuid {
				return true
			}
		}
	}
	return false
}
