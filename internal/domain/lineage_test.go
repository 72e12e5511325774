package domain

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// growInfixed makes a source whose snapshots have "-snap-" in their names.
func growInfixed() Listing {
	s := emptyStore("a")
	s.Lvols = []Lvol{
		{UUID: "1", Name: "vol-1-r-0a1b2c3d-snap-a-snap-b", Size: proofSize, ReadOnly: true, Own: ownClusters("b", 1)},
		{UUID: "2", Name: "vol-1-r-0a1b2c3d-snap-a-snap-c", Parent: "1", Size: proofSize, ReadOnly: true, Own: ownClusters("c", 1)},
		{UUID: "3", Name: "vol-1-r-0a1b2c3d", Parent: "2", Size: proofSize},
	}
	return s
}

// TestSourceNamesIdentifyHalfRebuild: before its head is there, a
// rebuilt replica is told by names alone. Two snapshots with "-snap-" in their
// names look like another replica's then, and the rebuild could never end.
func TestSourceNamesIdentifyHalfRebuild(t *testing.T) {
	source, err := NewReplica(growInfixed(), "vol-1-r-0a1b2c3d")
	require.NoError(t, err)
	half := emptyStore("b")
	half.Lvols = []Lvol{
		{UUID: "4", Name: "vol-1-r-4e5f6a7b-snap-a-snap-b", Size: proofSize, ReadOnly: true, Own: ownClusters("b", 1)},
		{UUID: "5", Name: "vol-1-r-4e5f6a7b-snap-a-snap-c", Parent: "4", Size: proofSize, ReadOnly: true, Own: ownClusters("c", 1)},
	}
	destination, err := NewDestination(half, "vol-1-r-4e5f6a7b", source)
	require.NoError(t, err)
	require.Len(t, destination.Snapshots, 2)

	plan, err := PlanRebuild(source, destination, NoImage(), Options{})
	require.NoError(t, err)
	require.Len(t, plan.Operations, 1, "but for the head it is whole")
}

func TestUnexplainedLooseLvolsAreAmbiguous(t *testing.T) {
	source, err := NewReplica(growInfixed(), "vol-1-r-0a1b2c3d")
	require.NoError(t, err)
	doubtful := emptyStore("b")
	doubtful.Lvols = []Lvol{
		{UUID: "4", Name: "vol-1-r-4e5f6a7b-snap-x-snap-1", Size: proofSize, ReadOnly: true},
		{UUID: "5", Name: "vol-1-r-4e5f6a7b-snap-x-snap-2", Parent: "4", Size: proofSize, ReadOnly: true},
	}
	_, err = NewDestination(doubtful, "vol-1-r-4e5f6a7b", source)
	require.EqualError(t, err, "lvol vol-1-r-4e5f6a7b-snap-x-snap-1 on lvstore b may belong to replica vol-1-r-4e5f6a7b or to replica vol-1-r-4e5f6a7b-snap-x, and its lineage does not decide: rename or delete it by hand")
}

// TestAmbiguousNewSnapshotsRefused: it is refused before
// anything changes, not once the first of them is there. A neighbour with a head
// is no such one: nothing that is loose is its own.
func TestAmbiguousNewSnapshotsRefused(t *testing.T) {
	source, err := NewReplica(growInfixed(), "vol-1-r-0a1b2c3d")
	require.NoError(t, err)
	for _, neighbour := range []struct{ lvol, refusal string }{
		{"vol-1-r-4e5f6a7b-snap-a", ""}, // a head
		{"vol-1-r-4e5f6a7b-snap-a-rebuilding-0badcafe", "a snapshot named vol-1-r-4e5f6a7b-snap-a-snap-b on lvstore b could also belong to replica vol-1-r-4e5f6a7b-snap-a there"},
	} {
		beside := emptyStore("b")
		beside.Lvols = []Lvol{{UUID: "4", Name: neighbour.lvol, Size: proofSize}}
		destination, err := NewDestination(beside, "vol-1-r-4e5f6a7b", source)
		require.NoError(t, err)
		_, err = PlanRebuild(source, destination, NoImage(), Options{})
		if neighbour.refusal == "" {
			require.NoError(t, err)
			continue
		}
		require.EqualError(t, err, neighbour.refusal)
	}
}
