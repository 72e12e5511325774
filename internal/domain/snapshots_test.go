package domain

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func replicaOn(t *testing.T, drawn string) Replica {
	t.Helper()
	r, err := NewReplica(storeOf(t, drawn), destinationReplica)
	require.NoError(t, err)
	return r
}

const aTree = "  image:base\n    s1\n      s2\n        head size=9 record=base\n      s3\n"

func TestCheckNewSnapshot(t *testing.T) {
	require.NoError(t, replicaOn(t, aTree).CheckNewSnapshot("s4"))
	require.NoError(t, replicaOn(t, aTree).CheckNewSnapshot("x-snap-y"))
	for what, c := range map[string]struct {
		store, name string
		says        []string
	}{
		"the name is taken":         {aTree, "s1", []string{"has a snapshot s1 already"}},
		"no name":                   {aTree, "", []string{"needs a name"}},
		"a slash":                   {aTree, "a/b", []string{`"a/b"`}},
		"a name in flight":          {aTree, "a-rebuilding", []string{"-rebuilding"}},
		"a name that is too long":   {aTree, strings.Repeat("s", 250), []string{"at most 255"}},
		"not found":                 {"  image:base\n", "s4", []string{"replica vol-1-r-4e5f6a7b not found"}},
		"no head":                   {"  s1\n", "s4", []string{"no head", "rebuild it"}},
		"another replica's by name": {"  s1\n    head\n  lvol:vol-1-r-4e5f6a7b-snap-x-rebuilding\n", "x-snap-y", []string{"could also belong to replica vol-1-r-4e5f6a7b-snap-x"}},
	} {
		t.Run(what, func(t *testing.T) {
			requireRefusal(t, replicaOn(t, c.store).CheckNewSnapshot(c.name), c.says...)
		})
	}
}

func TestSnapshotRemovalMergesIntoClone(t *testing.T) {
	r := replicaOn(t, aTree)
	removal, err := PlanSnapshotRemoval(r, "s2")
	require.NoError(t, err)
	require.Equal(t, destinationReplica, removal.Into.Name)
	removal, err = PlanSnapshotRemoval(r, "s3")
	require.NoError(t, err)
	require.Nil(t, removal.Into)
	require.Equal(t, "s3", removal.Snapshot.Name)
	for what, others := range map[string]string{
		"linked clones of another snapshot":        "  lvol:vol-2-r-4e5f6a7b record=clone:vol-1@s9\n",
		"linked clones of another replica's":       "  snap:vol-1-r-0a1b2c3d-clone-ep-s3\n    lvol:vol-2-r-4e5f6a7b record=clone:vol-1@s3\n",
		"a loose entry point that is not used yet": "  snap:vol-1-r-4e5f6a7b-clone-ep-s3\n",
	} {
		_, err = PlanSnapshotRemoval(replicaOn(t, aTree+others), "s3")
		require.NoError(t, err, what)
	}

	for what, c := range map[string]struct {
		store, name string
		says        []string
	}{
		"two clones":      {aTree, "s1", []string{"2 lvols are clones of snapshot s1", "vol-1-r-4e5f6a7b-snap-s2, vol-1-r-4e5f6a7b-snap-s3"}},
		"it is missing":   {aTree, "s9", []string{"has no snapshot s9; available: s1, s2, s3"}},
		"available: none": {"  head\n", "s9", []string{"available: none"}},
		"no head":         {"  s1\n", "s1", []string{"no head"}},
		"not found":       {"", "s1", []string{"not found"}},
		"a linked clone":  {"  s1\n    head\n    lvol:vol-1-r-4e5f6a7b-clone-ep-1\n", "s1", []string{"vol-1-r-4e5f6a7b-clone-ep-1", "detach"}},
		"linked clones": {
			"  s1\n    head\n    snap:vol-1-r-4e5f6a7b-clone-ep-s1\n      snap:vol-3-r-4e5f6a7b-snap-a\n      lvol:vol-2-r-4e5f6a7b\n", "s1",
			[]string{"entry point vol-1-r-4e5f6a7b-clone-ep-s1 on lvstore disk-b is a clone of snapshot s1", "linked clones of it: vol-2-r-4e5f6a7b, vol-3-r-4e5f6a7b"},
		},
		"linked clones whose entry point lost it": {
			"  s1\n    head\n  snap:vol-1-r-4e5f6a7b-clone-ep-s1\n    lvol:vol-2-r-4e5f6a7b\n", "s1",
			[]string{"their entry point vol-1-r-4e5f6a7b-clone-ep-s1 lost it: vol-2-r-4e5f6a7b; repair or delete them first"},
		},
		"a linked clone that lost its entry point": {
			"  s1\n    head\n  lvol:vol-2-r-4e5f6a7b record=clone:vol-1@s1\n", "s1",
			[]string{"replica vol-2-r-4e5f6a7b on lvstore disk-b records that it is a linked clone of snapshot s1 of volume vol-1, and lost it"},
		},
		"an entry point as the only clone": {"  s0\n    s1\n      snap:vol-1-r-4e5f6a7b-clone-ep-s1\n    head\n", "s1", []string{"would merge into it", "no linked clones", "gc"}},
		"something in flight":              {"  s1\n    head\n    spacer:0badcafe\n", "s1", []string{"vol-1-r-4e5f6a7b-rebuilding-0badcafe", "in flight"}},
		"what is shorter":                  {"  s1\n    head size=7\n", "s1", []string{"7340032 bytes, fewer"}},
		"another's, by chance":             {"  s1\n    lvol:other\n  s2\n    head\n", "s1", []string{"lvol other"}},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := PlanSnapshotRemoval(replicaOn(t, c.store), c.name)
			requireRefusal(t, err, c.says...)
		})
	}
}

func TestRevertPlans(t *testing.T) {
	revert, err := PlanRevert(replicaOn(t, aTree), "s1", 0)
	require.NoError(t, err)
	require.Equal(t, "s1", revert.Snapshot.Name)
	require.Equal(t, destinationReplica, revert.Old.Name)
	require.EqualValues(t, 9*proofCluster, revert.Size, "the volume's size, which has grown since")
	require.Equal(t, "base", revert.Record)
	require.Empty(t, revert.StandIns)

	t.Run("after a crash the stand-in keeps the head's size and record", func(t *testing.T) {
		revert, err := PlanRevert(replicaOn(t, "  image:base\n    s1\n      s2\n      flight:0badcafe size=9 record=base\n"), "s1", 0)
		require.NoError(t, err)
		require.Nil(t, revert.Old)
		require.EqualValues(t, 9*proofCluster, revert.Size)
		require.Equal(t, "base", revert.Record)
		require.Len(t, revert.StandIns, 1)
	})
	t.Run("with a head, a leftover stand-in is listed", func(t *testing.T) {
		revert, err := PlanRevert(replicaOn(t, aTree+"  flight:0badcafe record=other size=5\n"), "s1", 0)
		require.NoError(t, err)
		require.EqualValues(t, 9*proofCluster, revert.Size)
		require.Equal(t, "base", revert.Record)
		require.Len(t, revert.StandIns, 1)
	})
	t.Run("without either, the size must be given", func(t *testing.T) {
		_, err := PlanRevert(replicaOn(t, "  s1\n    flight:0badcafe\n"), "s1", 0)
		requireRefusal(t, err, "no head", "give the size")
		revert, err := PlanRevert(replicaOn(t, "  s1\n    flight:0badcafe\n"), "s1", 9*proofCluster)
		require.NoError(t, err)
		require.EqualValues(t, 9*proofCluster, revert.Size)
		require.Empty(t, revert.StandIns, "what has no record is not a stand-in")
	})
	for what, c := range map[string]struct {
		store, name string
		size        uint64
		says        []string
	}{
		"not found":                {"", "s1", 0, []string{"not found"}},
		"no such snapshot":         {aTree, "s9", 0, []string{"no snapshot s9"}},
		"another size than it has": {aTree, "s1", 8 * proofCluster, []string{"9437184 bytes, not 8388608"}},
		"a size that is too small": {"  s1\n", "s1", 7 * proofCluster, []string{"more than the 7340032"}},
		"half a cluster":           {"  s1\n", "s1", 9*proofCluster + 1, []string{"multiple"}},
		"a head that is too small": {"  s1\n    s2 size=9\n  head size=8\n", "s2", 0, []string{"more than the 8388608"}},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := PlanRevert(replicaOn(t, c.store), c.name, c.size)
			requireRefusal(t, err, c.says...)
		})
	}
}
