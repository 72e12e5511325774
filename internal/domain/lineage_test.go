package domain

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// growInfixed creates a source whose snapshots have "-snap-" in their names.
func growInfixed() Listing {
	s := emptyStore("a")
	s.Lvols = []Lvol{
		{UUID: "1", Name: "vol-1-r-0a1b2c3d-snap-a-snap-b", Size: proofSize, ReadOnly: true, Own: ownClusters("b", 1)},
		{UUID: "2", Name: "vol-1-r-0a1b2c3d-snap-a-snap-c", Parent: "1", Size: proofSize, ReadOnly: true, Own: ownClusters("c", 1)},
		{UUID: "3", Name: "vol-1-r-0a1b2c3d", Parent: "2", Size: proofSize},
	}
	return s
}

// TestSourceNamesIdentifyHalfRebuild: a rebuilt replica without a head is identified by
// names only. Two snapshots with "-snap-" in their names looked like another replica's,
// and the rebuild never ended.
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

	plan, err := PlanRebuild(source, destination, NoBase(), Options{})
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

// TestAmbiguousNewSnapshotsRefused: refused before anything changes, not after the
// first of them exists. A neighbour with a head does not make names ambiguous: it owns
// no lvols without relatives.
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
		_, err = PlanRebuild(source, destination, NoBase(), Options{})
		if neighbour.refusal == "" {
			require.NoError(t, err)
			continue
		}
		require.EqualError(t, err, neighbour.refusal)
	}
}
