package domain

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func removalOf(t *testing.T, store Listing) (Plan, error) {
	t.Helper()
	r, err := NewReplica(store, destinationReplica)
	require.NoError(t, err)
	return PlanRemoval(r)
}

func TestRemovalDeletesHeadThenLeaves(t *testing.T) {
	plan, err := removalOf(t, storeOf(t, "  image:base\n    s1\n      s2\n        head\n      s3\n        flight:0badcafe own=?/1\n  lvol:vol-7\n"))
	require.NoError(t, err)
	var got []string
	for _, o := range plan.Operations {
		got = append(got, operationText(o))
	}
	require.Equal(t, []string{
		"remove-head: delete b-head, named vol-1-r-4e5f6a7b",
		"prune: delete b-flight:0badcafe, named vol-1-r-4e5f6a7b-rebuilding-0badcafe",
		"prune: delete b-s2, named vol-1-r-4e5f6a7b-snap-s2",
		"prune: delete b-s3, named vol-1-r-4e5f6a7b-snap-s3, after [1]",
		"prune: delete b-s1, named vol-1-r-4e5f6a7b-snap-s1, after [2 3]",
	}, got)
}

// TestRemovalCanStopAnywhere: foreign lvols are unchanged at each moment, and the rest
// of the replica can be removed from there.
func TestRemovalCanStopAnywhere(t *testing.T) {
	for what, drawn := range map[string]string{
		"a tree":                "  image:base\n    lvol:vol-7\n    s1\n      s2\n        head\n      s3\n  flight:0badcafe\n",
		"a hurt one":            "  image:base\n  s1\n    s2\n      head\n",
		"no head":               "  s1\n    s2\n  s3\n",
		"names with -snap-":     "  image:base\n    x-snap-y\n      s1\n        z-snap-y\n          head\n",
		"a neighbour of a name": "  snap:vol-1-r-4e5f6a7b-snap-x-snap-a\n    lvol:vol-1-r-4e5f6a7b-snap-x\n  s1\n    head\n",
	} {
		t.Run(what, func(t *testing.T) {
			start := storeOf(t, drawn)
			plan, err := removalOf(t, start)
			require.NoError(t, err)
			whole := uint64(1)<<len(plan.Operations) - 1
			seen := map[uint64]bool{}
			var from func(now Listing, done uint64)
			from = func(now Listing, done uint64) {
				if seen[done] {
					return
				}
				seen[done] = true
				again, err := removalOf(t, now)
				if done == whole {
					requireRefusal(t, err, "not found")
				} else {
					require.NoError(t, err)
					require.Len(t, again.Operations, len(plan.Operations)-len(start.Lvols)+len(now.Lvols), "all that is left goes, and nothing else")
				}
				for i, o := range plan.Operations {
					if !ready(plan, done, i) {
						continue
					}
					after, err := Apply(now, Listing{}, destinationReplica, o)
					require.NoError(t, err)
					from(after, done|1<<i)
				}
			}
			from(start, 0)
			require.True(t, seen[whole])
		})
	}
}

func TestRemovalRefusals(t *testing.T) {
	for what, c := range map[string]struct {
		store string
		says  []string
	}{
		"nothing is there": {"  image:base\n    lvol:vol-7\n", []string{"replica vol-1-r-4e5f6a7b not found on lvstore disk-b"}},
		"a linked clone":   {"  s1\n    head\n    lvol:vol-1-r-4e5f6a7b-clone-ep-1\n", []string{"vol-1-r-4e5f6a7b-clone-ep-1", "vol-1-r-4e5f6a7b-snap-s1", "detach or delete the clone first"}},
		"linked clones": {
			"  s1\n    head\n    snap:vol-1-r-4e5f6a7b-clone-ep-s1\n      lvol:vol-2-r-4e5f6a7b\n      snap:vol-3-r-4e5f6a7b-snap-a\n",
			[]string{"entry point vol-1-r-4e5f6a7b-clone-ep-s1 on lvstore disk-b is a clone of its vol-1-r-4e5f6a7b-snap-s1", "linked clones of it: vol-2-r-4e5f6a7b, vol-3-r-4e5f6a7b"},
		},
		"a linked clone that lost its entry point": {
			"  s1\n    head\n  lvol:vol-2-r-4e5f6a7b record=clone:vol-1@s1\n",
			[]string{"replica vol-2-r-4e5f6a7b on lvstore disk-b records that it is a linked clone of snapshot s1 of volume vol-1, and lost it"},
		},
		"an entry point alone":   {"  s1\n    head\n    snap:vol-1-r-4e5f6a7b-clone-ep-s1\n", []string{"would merge into it", "no linked clones", "gc"}},
		"another replica":        {"  s1\n    head\n    snap:vol-7-snap-a\n", []string{"vol-7-snap-a"}},
		"a clone under the head": {"  s1\n    s2\n      lvol:x\n", []string{"lvol x"}},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := removalOf(t, storeOf(t, c.store))
			requireRefusal(t, err, c.says...)
		})
	}
}

// Lvols that belong to the replica because of its head must be recognized without it,
// too.
func TestUnfinishableRemovalRefused(t *testing.T) {
	_, err := removalOf(t, storeOf(t, "  snap:vol-1-r-4e5f6a7b-snap-x-snap-a\n    head\n  snap:vol-1-r-4e5f6a7b-snap-x-snap-b\n    lvol:vol-1-r-4e5f6a7b-snap-x-rebuilding\n"))
	requireRefusal(t, err, "vol-1-r-4e5f6a7b-snap-x-snap-a")
}

func TestCreationClonesImage(t *testing.T) {
	store := storeOf(t, "  image:base\n")
	for what, c := range map[string]struct {
		image                 Base
		parent, record, words string
	}{
		"an image": {ImageBase("base"), "b-image:base", "base", "backing-image:base"},
		"none":     {NoBase(), "", "none", ""},
	} {
		t.Run(what, func(t *testing.T) {
			plan, err := PlanCreation(store, destinationReplica, proofSize, c.image)
			require.NoError(t, err)
			after, err := Apply(store, Listing{}, destinationReplica, plan.Operations[0])
			require.NoError(t, err)
			r, err := NewReplica(after, destinationReplica)
			require.NoError(t, err)
			require.Equal(t, c.parent, r.Head.Parent)
			require.Equal(t, c.record, r.Head.Record)
			require.EqualValues(t, proofSize, r.Head.Size)
			require.Equal(t, c.words, r.ParentOf(*r.Head).String())
			require.Empty(t, Audit(r, Base{}).Violations)
		})
	}
}

func TestCreationRefusals(t *testing.T) {
	for what, c := range map[string]struct {
		store string
		name  string
		size  uint64
		image Base
		says  []string
	}{
		"the replica is there":      {"  head\n", destinationReplica, proofSize, NoBase(), []string{"vol-1-r-4e5f6a7b is already on lvstore disk-b"}},
		"something of it is left":   {"  s1\n", destinationReplica, proofSize, NoBase(), []string{"leftovers of replica", "delete the replica first"}},
		"a name that is too long":   {"", strings.Repeat("v", 300), proofSize, NoBase(), []string{"300 bytes", "at most 255"}},
		"no bytes":                  {"", destinationReplica, 0, NoBase(), []string{"0 bytes", "a multiple of its cluster size of 1048576"}},
		"half a cluster":            {"", destinationReplica, proofSize + 1, NoBase(), []string{"8388609 bytes", "multiple"}},
		"an unknown image":          {"  image:base\n", destinationReplica, proofSize, Base{}, []string{"is not known"}},
		"an image that is missing":  {"", destinationReplica, proofSize, ImageBase("base"), []string{"base is not on lvstore disk-b", "import it"}},
		"an image that is writable": {"  image:base writable\n", destinationReplica, proofSize, ImageBase("base"), []string{"writable"}},
		"a larger image":            {"  image:base size=9\n", destinationReplica, proofSize, ImageBase("base"), []string{"9437184 bytes, more than the 8388608"}},
		"a name taken by a snapshot": {
			"  snap:vol-1-r-4e5f6a7b\n", destinationReplica, proofSize, NoBase(), []string{"lvol vol-1-r-4e5f6a7b already exists on lvstore disk-b"},
		},
		"a name that confuses": {
			"  s1\n    head\n  snap:vol-1-r-4e5f6a7b-snap-x-snap-a\n", "vol-1-r-4e5f6a7b-snap-x", proofSize, NoBase(), []string{"may belong to", "vol-1-r-4e5f6a7b-snap-x-snap-a"},
		},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := PlanCreation(storeOf(t, c.store), c.name, c.size, c.image)
			requireRefusal(t, err, c.says...)
		})
	}
}
