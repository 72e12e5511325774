package domain

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestLinkedCloneBesideAnotherEntryPoint: two replicas of the source volume are on one store,
// each with an entry point on its snapshot daily.
func TestLinkedCloneBesideAnotherEntryPoint(t *testing.T) {
	const other = "  snap:vol-9-r-0000000c-snap-daily own=d/2\n    lvol:vol-9-r-0000000c\n    snap:vol-9-r-0000000c-clone-ep-daily\n      lvol:vol-3-r-0000000b\n"
	for what, drawn := range map[string]string{"first": dailyTree + entryAt + onEntry + other, "last": other + dailyTree + entryAt + onEntry} {
		t.Run(what, func(t *testing.T) {
			a := auditOf(t, drawn, Base{})
			require.Empty(t, violationTexts(a.Violations))
			third, err := NewReplica(a.Replica.Store, "vol-3-r-0000000b")
			require.NoError(t, err)
			require.Empty(t, violationTexts(Audit(third, Base{}).Violations))
		})
	}
	t.Run("which one it lost is not known", func(t *testing.T) {
		a := auditOf(t, dailyTree+entryAt+other+looseClone, Base{})
		require.Contains(t, strings.Join(violationTexts(a.Violations), "\n"), "has two entry points")
		_, err := PlanRepair(a.Replica, Base{})
		requireRefusal(t, err, "has two entry points")
	})
}

// TestSourceBesideAnotherEntryPoint: the chain of the one that the source has as its parent is
// compared.
func TestSourceBesideAnotherEntryPoint(t *testing.T) {
	const other = "  snap:vol-9-r-0000000c-snap-daily own=x/2\n    lvol:vol-9-r-0000000c\n    snap:vol-9-r-0000000c-clone-ep-daily\n      lvol:vol-3-r-0000000b\n"
	plan := parseFixture(t, sourceClone+other+dailyHere).mustPlan(t)
	require.Empty(t, plan.Notices)
	_, err := parseFixture(t, sourceClone+other+strings.Replace(dailyHere, "own=d/2", "own=x/2", 1)).plan()
	requireRefusal(t, err, "snapshot daily of volume vol-9 has other data")
}

// TestRepairOfAVolumeWithLinkedClones: they read what its snapshot reads, so its repair is
// theirs, unless one of them is in use.
func TestRepairOfAVolumeWithLinkedClones(t *testing.T) {
	tree := "  image:base\n  s1\n    head record=base\n    snap:vol-1-r-4e5f6a7b-clone-ep-s1\n      snap:vol-5-r-0000000b-snap-q own=q/1\n        lvol:vol-5-r-0000000b\n"
	plan, err := repairOf(t, storeOf(t, tree), Base{})
	require.NoError(t, err)
	require.Len(t, plan.Operations, 1)
	require.Contains(t, strings.Join(plan.Warnings, "\n"), "vol-1-r-4e5f6a7b-snap-s1 also changes what its other linked clones read, and what they wrote meanwhile is unproven, too: vol-5-r-0000000b")
	for what, c := range map[string]struct{ from, to, says string }{
		"a clone is in use":               {"lvol:vol-5-r-0000000b", "lvol:vol-5-r-0000000b export=nqn", "vol-5-r-0000000b on lvstore disk-b is in use"},
		"a clone of another name":         {"snap:vol-1-r-4e5f6a7b-clone-ep-s1", "snap:vol-7-r-0000000b-snap-a", "foreign lvol vol-7-r-0000000b-snap-a"},
		"an entry point of another one":   {"clone-ep-s1", "clone-ep-s2", "foreign lvol vol-1-r-4e5f6a7b-clone-ep-s2"},
		"an entry point that has content": {"clone-ep-s1", "clone-ep-s1 own=c/1", "foreign lvol vol-1-r-4e5f6a7b-clone-ep-s1"},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := repairOf(t, storeOf(t, strings.Replace(tree, c.from, c.to, 1)), Base{})
			requireRefusal(t, err, c.says)
		})
	}
}
