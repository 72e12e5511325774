package domain

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const usedTree = "  image:base\n    s1 own=a/5\n      s2 own=b/3\n"

// rebuildInUse plans with heads in use, as given.
func rebuildInUse(t *testing.T, source, destination string, allow bool) (Plan, error) {
	t.Helper()
	s := parseFixture(t, "requested base\nsource\n"+usedTree+source+"destination\n"+destination)
	from, to := s.replicas(t)
	from.AllowInUse, to.AllowInUse = allow, allow
	return PlanRebuild(from, to, s.requested, s.options)
}

func TestRebuildRefusesReplicasInUse(t *testing.T) {
	for what, c := range map[string]struct {
		source, destination string
		says                []string
		never               bool // also where it is allowed
	}{
		"a source's head that is exported would be frozen": {
			"        head own=c/1 record=base export=nqn.x:vol-1-r-0a1b2c3d\n", "  image:base\n",
			[]string{"vol-1-r-0a1b2c3d on lvstore disk-a", "exported as nqn.x:vol-1-r-0a1b2c3d", "snapshot"},
			false,
		},
		"a RAID's": {
			"        head own=c/1 record=base raid=vol-1!\n", "  image:base\n",
			[]string{"a base bdev of RAID vol-1"},
			false,
		},
		"a claimed one's": {
			"        head own=c/1 record=base claim=exclusive_write!\n", "  image:base\n",
			[]string{"claimed as exclusive_write"},
			false,
		},
		"a destination's head that is exported would be deleted": {
			"        head record=base\n", "  image:base\n    head export=nqn.x:vol-1-r-4e5f6a7b\n",
			[]string{"vol-1-r-4e5f6a7b on lvstore disk-b", "exported as nqn.x:vol-1-r-4e5f6a7b", "deleted"},
			false,
		},
		"one that its own target is attached to": {
			"        head record=base\n", "  image:base\n    head export=nqn.x:vol-1-r-4e5f6a7b!\n",
			[]string{"attached by its own target", "can hang its host", "no option permits this"},
			true,
		},
		"what another engine fills": {
			"        head record=base\n", "  image:base\n  flight: own=?/1 export=nqn.x:vol-1-r-4e5f6a7b-rebuilding\n",
			[]string{"vol-1-r-4e5f6a7b-rebuilding", "deleted"},
			false,
		},
		"an outdated snapshot that a backup reads": {
			"        head record=base\n", "  image:base\n    s1 own=x/5 export=nqn.x:backup\n",
			[]string{"vol-1-r-4e5f6a7b-snap-s1", "nqn.x:backup", "deleted"},
			false,
		},
		"a snapshot that is grafted": {
			"        head record=base\n", "  image:base\n  s1 own=a/5 export=nqn.x:backup!\n",
			[]string{"vol-1-r-4e5f6a7b-snap-s1", "another parent"},
			false,
		},
		"one that hangs on what is grafted": {
			"        head record=base\n", "  image:base\n  s1 own=a/5\n    s2 own=b/3 export=nqn.x:backup!\n",
			[]string{"vol-1-r-4e5f6a7b-snap-s2", "another parent"},
			false,
		},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := rebuildInUse(t, c.source, c.destination, false)
			requireRefusal(t, err, c.says...)
			plan, err := rebuildInUse(t, c.source, c.destination, true)
			if c.never {
				requireRefusal(t, err, c.says...)
				return
			}
			require.NoError(t, err)
			require.Contains(t, fmt.Sprint(plan.Warnings), "is in use")
		})
	}
}

func TestRebuildReadsASourceInUse(t *testing.T) {
	for what, c := range map[string]struct{ source, destination string }{
		"its head has nothing of its own": {"        head record=base export=nqn.x:vol-1-r-0a1b2c3d!\n", "  image:base\n"},
		"the destination is right already": {
			"        head record=base export=nqn.x:vol-1-r-0a1b2c3d!\n",
			usedTree + "        head record=base export=nqn.x:vol-1-r-4e5f6a7b!\n",
		},
		"the destination lacks a record": {
			"        head record=base raid=vol-1!\n",
			usedTree + "        head export=nqn.x:vol-1-r-4e5f6a7b!\n",
		},
		"a snapshot that stays is exported": {
			"        head record=base\n", "  image:base\n    s1 own=a/5 export=nqn.x:backup!\n",
		},
		"another replica is": {
			"        head record=base\n", "  image:base\n    lvol:vol-2-r-0a1b2c3d export=nqn.x:vol-2-r-0a1b2c3d!\n",
		},
	} {
		t.Run(what, func(t *testing.T) {
			plan, err := rebuildInUse(t, c.source, c.destination, false)
			require.NoError(t, err)
			require.Empty(t, plan.Warnings)
		})
	}
}

// TestReplicasInUseAreNotChangedInPlace: changes of a replica in use are refused, with
// its user. If allowed they are planned, except for those that would hang the host.
func TestReplicasInUseAreNotChangedInPlace(t *testing.T) {
	for what, c := range map[string]struct {
		store string // with USE behind what is used
		plan  func(r Replica) error
		held  bool // deletes what is used
	}{
		"delete":                {"  image:base\n    s1\n      head USE\n", func(r Replica) error { _, err := PlanRemoval(r); return err }, true},
		"delete, a snapshot":    {"  image:base\n    s1 USE\n      head\n", func(r Replica) error { _, err := PlanRemoval(r); return err }, true},
		"take a snapshot":       {"  image:base\n    s1\n      head USE\n", func(r Replica) error { return r.CheckNewSnapshot("s2") }, false},
		"delete a snapshot":     {"  image:base\n    s1\n      head USE\n", func(r Replica) error { _, err := PlanSnapshotRemoval(r, "s1"); return err }, false},
		"one that is exported":  {"  image:base\n    s1 USE\n      head\n", func(r Replica) error { _, err := PlanSnapshotRemoval(r, "s1"); return err }, true},
		"revert":                {"  image:base\n    s1\n      head USE\n", func(r Replica) error { _, err := PlanRevert(r, "s1", 0); return err }, true},
		"repair":                {"  image:base\n  s1\n    head record=base USE\n", func(r Replica) error { _, err := PlanRepair(r, Base{}); return err }, false},
		"repair, a head itself": {"  image:base\n  head record=base USE\n", func(r Replica) error { _, err := PlanRepair(r, Base{}); return err }, false},
	} {
		for _, use := range []string{"export=nqn.x:who", "raid=who", "claim=who", "export=nqn.x:who!"} {
			t.Run(what+" "+use, func(t *testing.T) {
				r := replicaOn(t, strings.Replace(c.store, "USE", use, 1))
				requireRefusal(t, c.plan(r), "is in use", "who")
				r.AllowInUse = true
				if c.held && use[len(use)-1] == '!' {
					requireRefusal(t, c.plan(r), "is in use", "who", "can hang")
					return
				}
				require.NoError(t, c.plan(r))
				require.NoError(t, c.plan(replicaOn(t, strings.Replace(c.store, "USE", "", 1))))
			})
		}
	}
}

// A repair that changes no bytes is done while the volume is in use.
func TestRepairOfAReplicaInUse(t *testing.T) {
	for what, store := range map[string]string{
		"nothing to do":       "  image:base\n    s1\n      head record=base export=nqn.x:y\n",
		"the record":          "  image:base\n    s1\n      head export=nqn.x:y\n",
		"a spacer is between": "  image:base\n    spacer:0badcafe\n      s1\n        head record=base export=nqn.x:y\n",
	} {
		t.Run(what, func(t *testing.T) {
			_, err := PlanRepair(replicaOn(t, store), ImageBase("base"))
			require.NoError(t, err)
		})
	}
	t.Run("a helper in use stays", func(t *testing.T) {
		plan, err := PlanRepair(replicaOn(t, "  image:base\n    s1\n      head record=base\n  flight:0badcafe export=nqn.x:y\n"), Base{})
		require.NoError(t, err)
		require.Empty(t, plan.Operations)
	})
}

func TestGarbageInUseStays(t *testing.T) {
	for user, stays := range map[User]string{
		{Kind: UserExport, Name: "nqn.x:y"}:                   "it is in use: exported as nqn.x:y",
		{Kind: UserExport, Name: "nqn.x:y", Host: "nqn.raid"}: "it is in use: exported as nqn.x:y, for a volume: rebuild the replica under that volume, or delete the volume",
	} {
		require.Equal(t, map[string]string{"vol-1-r-4e5f6a7b-rebuilding-0badcafe of vol-1-r-4e5f6a7b": stays},
			garbageOn(t, Lvol{UUID: "1", Name: "vol-1-r-4e5f6a7b-rebuilding-0badcafe", UsedBy: user}))
	}
}

// An engine exports an image while it copies it to another host.
func TestImageInUseIsNotRemoved(t *testing.T) {
	store := storeOf(t, "  image:base export=nqn.x:base\n  image:other\n")
	_, err := CheckImageRemoval(store, "base")
	requireRefusal(t, err, "backing image base on lvstore disk-b", "exported as nqn.x:base")
	_, err = CheckImageRemoval(store, "other")
	require.NoError(t, err)
}

// A system snapshot that Longhorn's engine does not know is a warning if the replica
// may be Longhorn's.
func TestWarnsOfFrozenLonghornHead(t *testing.T) {
	for _, c := range []struct {
		replica string
		records bool
		own     uint64
		warns   bool
	}{
		{"vol-1-r-1b2c3d4e", true, 1, true},
		{"vol-1-r-1b2c3d4e", true, 0, false},  // it is not frozen
		{"vol-1-r-1b2c3d4e", false, 1, false}, // upstream SPDK: Longhorn's engine does not run on it
		{"vol-1-r-1", true, 1, false},         // Longhorn loads no replica of that name
	} {
		source, destination := fixtureStore("a"), fixtureStore("b")
		source.Records = c.records
		source.Lvols = []Lvol{{UUID: "h", Name: c.replica, Size: fixtureSize * proofCluster, Own: Clusters{Count: c.own}}}
		from, err := NewReplica(source, c.replica)
		require.NoError(t, err)
		to, err := NewDestination(destination, "vol-1-r-2c3d4e5f", from)
		require.NoError(t, err)
		plan, err := PlanRebuild(from, to, NoBase(), Options{})
		require.NoError(t, err)
		if !c.warns {
			require.Empty(t, plan.Warnings, "%+v", c)
			continue
		}
		require.Len(t, plan.Warnings, 1)
		require.Contains(t, plan.Warnings[0], "Longhorn's engine")
		require.Contains(t, plan.Warnings[0], plan.SystemSnapshot.Name)
		require.Equal(t, plan.Warnings, plan.SystemSnapshot.Warnings)
	}
}
