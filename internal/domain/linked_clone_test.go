package domain

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Linked clones of snapshot daily of volume vol-9.
const (
	sourceClone = `source
  image:os
    snap:vol-9-r-0000000a-snap-daily own=d/2
      lvol:vol-9-r-0000000a
      snap:vol-9-r-0000000a-clone-ep-daily
        s1 own=a/2
          s2 own=b/1
            head
`
	dailyHere = `destination
  image:os
    snap:vol-9-r-0000000b-snap-daily own=d/2
      lvol:vol-9-r-0000000b
`
	entryPointHere = dailyHere + "      snap:vol-9-r-0000000b-clone-ep-daily\n"
)

// TestRightParentOfALinkedClone: no list of snapshots tells of the entry point.
func TestRightParentOfALinkedClone(t *testing.T) {
	for what, destination := range map[string]string{
		"the entry point is there":            entryPointHere,
		"the entry point is missing":          dailyHere,
		"the ancestor lost the entry point":   entryPointHere + "  s1 own=a/2\n    s2 own=b/1\n",
		"the ancestor is on the snapshot":     entryPointHere + "      s1 own=a/2\n        s2 own=b/1\n",
		"the ancestor is on another snapshot": entryPointHere + "    snap:vol-9-r-0000000b-snap-weekly\n      s1 own=a/2\n        s2 own=b/1\n",
		"all but the head is right":           entryPointHere + "        s1 own=a/2\n          s2 own=b/1\n",
	} {
		t.Run(what, func(t *testing.T) {
			s := parseFixture(t, sourceClone+destination)
			plan := s.mustPlan(t)
			require.Equal(t, CloneBase("vol-9", "daily"), plan.Base)
			after := s.play(t, plan)
			require.Empty(t, after.violations(t, plan.Base))
			_, r := after.replicas(t)
			ancestor, _ := r.Snapshot("s1")
			require.Equal(t, "clone:vol-9@daily", r.ParentOf(ancestor.Lvol).String())
			require.Equal(t, "vol-9-r-0000000b-clone-ep-daily", r.Store.Lvols[r.index.byUUID[ancestor.Lvol.Parent]].Name)
			require.False(t, after.mustPlan(t).Changes(), "a second rebuild has nothing to do")
		})
	}
}

// TestBaseWithAmbiguousName: vol-9-r-0000000b-snap-a-snap-daily may be snapshot daily of a replica
// vol-9-r-0000000b-snap-a. Its relatives belong to vol-9-r-0000000b.
func TestBaseWithAmbiguousName(t *testing.T) {
	const both = `  snap:vol-9-r-0000000b-snap-daily own=d/2
    snap:vol-9-r-0000000b-snap-a-snap-daily own=e/1
      lvol:vol-9-r-0000000b
`
	for snapshot, on := range map[string]string{"daily": "vol-9-r-0000000b-snap-daily", "a-snap-daily": "vol-9-r-0000000b-snap-a-snap-daily"} {
		plan, err := PlanCreation(storeOf(t, both), "vol-1-r-4e5f6a7b", 8<<20, CloneBase("vol-9", snapshot))
		require.NoError(t, err)
		require.Equal(t, "lvol:"+on, plan.Steps[0].Parent.String())
	}
	direct := auditOf(t, both+"      s1\n        head\n", CloneBase("vol-9", "a-snap-daily"))
	require.True(t, direct.Violations[len(direct.Violations)-1].Repairable, "%v", direct.Violations)

	_, err := PlanCreation(storeOf(t, "  snap:vol-9-r-0000000b-snap-a-snap-daily\n  lvol:vol-9-r-0000000b\n  lvol:vol-9-r-0000000b-snap-a\n"), "vol-1-r-4e5f6a7b", 8<<20, CloneBase("vol-9", "daily"))
	requireRefusal(t, err, "vol-9-r-0000000b-snap-a-snap-daily", "rename or delete it by hand")
}

func TestMissingEntryPointIsMade(t *testing.T) {
	s := parseFixture(t, sourceClone+dailyHere)
	plan := s.mustPlan(t)
	step := plan.Steps[0]
	require.Equal(t, ActionCreateEntryPoint, step.Action)
	require.Equal(t, "lvol:vol-9-r-0000000b-snap-daily", step.Parent.String())
	after := s.play(t, plan).destination
	entryPoint, ok, err := after.EntryPoint(plan.Base)
	require.NoError(t, err)
	require.True(t, ok)
	require.True(t, entryPoint.Lvol.ReadOnly)
	require.Zero(t, entryPoint.Lvol.Own.Count)
	require.Equal(t, Attributes{}, entryPoint.Lvol.Attributes, "Longhorn gives entry points none")
}

func TestHeadOfALinkedCloneWithoutSnapshots(t *testing.T) {
	s := parseFixture(t, "source\n  snap:vol-9-r-0000000a-snap-daily own=d/2\n    lvol:vol-9-r-0000000a\n    snap:vol-9-r-0000000a-clone-ep-daily\n      head\n"+
		"destination\n  snap:vol-9-r-0000000b-snap-daily own=d/2\n    lvol:vol-9-r-0000000b\n")
	plan := s.mustPlan(t)
	after := s.play(t, plan)
	_, r := after.replicas(t)
	require.Equal(t, "clone:vol-9@daily", r.ParentOf(*r.Head).String())
	require.Equal(t, "clone:vol-9@daily", r.Head.Record)
}

func TestChainsOfClones(t *testing.T) {
	chain := func(side, id string) string {
		return strings.ReplaceAll(side+`
  image:os
    snap:vol-3-r-ID-snap-gold own=g/3
      lvol:vol-3-r-ID
      snap:vol-3-r-ID-clone-ep-gold
        snap:vol-9-r-ID-snap-hourly own=h/1
          snap:vol-9-r-ID-snap-daily own=d/2
            lvol:vol-9-r-ID
            snap:vol-9-r-ID-clone-ep-daily
`, "ID", id)
	}
	source := chain("source", "0000000a") + "              s1 own=a/2\n                head\n"
	s := parseFixture(t, source+chain("destination", "0000000b"))
	require.Empty(t, s.play(t, s.mustPlan(t)).violations(t, CloneBase("vol-9", "daily")))

	for what, c := range map[string]struct{ old, new, says string }{
		"a snapshot in between differs":   {"own=h/1", "own=x/1", "snapshot hourly of volume vol-9 has other data"},
		"a count differs":                 {"own=d/2", "own=d/1", "snapshot daily of volume vol-9 has 1 clusters of its own instead of 2"},
		"a size differs":                  {"own=g/3", "own=g/3 size=7", "snapshot gold of volume vol-3"},
		"the image differs":               {"image:os", "image:os sha=other", "backing image os differs: checksum"},
		"another image":                   {"image:os", "image:win", "backing image win instead of backing image os"},
		"a snapshot of another name":      {"snap-hourly", "snap-weekly", "snapshot weekly of volume vol-9 instead of snapshot hourly"},
		"nothing proves that one is same": {"own=h/1", "own=?/1", "snapshot hourly of volume vol-9 on lvstore disk-b could not be proven"},
	} {
		t.Run(what, func(t *testing.T) {
			there := strings.ReplaceAll(chain("destination", "0000000b"), c.old, c.new)
			_, err := parseFixture(t, source+there).plan()
			requireRefusal(t, err, c.says, "disk-b")
		})
	}
}

func TestLinkedCloneMayBeLargerThanItsBase(t *testing.T) {
	expanded := strings.NewReplacer("s2 own=b/1", "s2 own=b/1 size=12", "            head", "            head size=12", "s1 own=a/2", "s1 own=a/2 size=10").Replace(sourceClone)
	for _, destination := range []string{dailyHere, entryPointHere} {
		s := parseFixture(t, expanded+destination)
		after := s.play(t, s.mustPlan(t))
		require.Empty(t, after.violations(t, CloneBase("vol-9", "daily")))
		_, r := after.replicas(t)
		require.Empty(t, Audit(r, Base{}).Violations)
	}
}

func TestBasesOfHostsWithoutProofs(t *testing.T) {
	s := parseFixture(t, strings.Replace(sourceClone, "source", "source upstream", 1)+strings.Replace(entryPointHere, "destination", "destination upstream", 1))
	plan := s.mustPlan(t)
	require.Len(t, plan.Notices, 1)
	require.Contains(t, plan.Notices[0], "its bytes are unverified")
	s = parseFixture(t, strings.Replace(sourceClone, "source", "source upstream", 1)+strings.Replace(strings.Replace(entryPointHere, "destination", "destination upstream", 1), "own=d/2", "own=d/3", 1))
	_, err := s.plan()
	requireRefusal(t, err, "3 clusters of its own instead of 2")
}

func TestRefusedBasesOfLinkedClones(t *testing.T) {
	for what, c := range map[string]struct {
		source, destination string
		says                []string
	}{
		"no replica of the source volume": {sourceClone, "destination\n", []string{"no replica of volume vol-9 is on lvstore disk-b", "rebuild a replica of volume vol-9 there first"}},
		"no snapshot": {
			sourceClone, "destination\n  image:os\n    snap:vol-9-r-0000000b-snap-weekly\n      lvol:vol-9-r-0000000b\n",
			[]string{"replica vol-9-r-0000000b on lvstore disk-b has no snapshot daily", "rebuild that replica first"},
		},
		"the source volume is being rebuilt": {
			sourceClone, "destination\n  image:os\n    snap:vol-9-r-0000000b-snap-daily own=d/2\n",
			[]string{"vol-9-r-0000000b on lvstore disk-b has no head", "wait for its rebuild"},
		},
		"a loose entry point": {
			sourceClone, dailyHere + "  snap:vol-9-r-0000000b-clone-ep-daily\n",
			[]string{"entry point vol-9-r-0000000b-clone-ep-daily on lvstore disk-b has no parent instead of vol-9-r-0000000b-snap-daily"},
		},
		"an entry point on another snapshot": {
			sourceClone, dailyHere + "      snap:vol-9-r-0000000b-snap-hourly\n        snap:vol-9-r-0000000b-clone-ep-daily\n",
			[]string{"has vol-9-r-0000000b-snap-hourly instead of vol-9-r-0000000b-snap-daily as its parent"},
		},
		"an entry point that its snapshot was merged into": {
			sourceClone, "destination\n  image:os\n    snap:vol-9-r-0000000b-clone-ep-daily own=d/2\n",
			[]string{"2 clusters of its own", "merged"},
		},
		"a writable entry point": {sourceClone, dailyHere + "      lvol:vol-9-r-0000000b-clone-ep-daily\n", []string{"is writable"}},
		"two entry points":       {sourceClone, entryPointHere + "  snap:vol-9-r-0000000c-clone-ep-daily\n", []string{"two entry points", "vol-9-r-0000000c-clone-ep-daily"}},
		"other data":             {sourceClone, strings.Replace(entryPointHere, "own=d/2", "own=x/2", 1), []string{"snapshot daily of volume vol-9 has other data", "audit replicas vol-9-r-0000000b and vol-9-r-0000000a, and repair or rebuild the wrong one first"}},
		"a larger snapshot": {
			sourceClone, strings.NewReplacer("own=d/2", "own=d/2 size=9", "ep-daily", "ep-daily size=9").Replace(entryPointHere),
			[]string{"9437184 bytes", "8388608"},
		},
		"the source's ancestor lost it": {
			strings.NewReplacer("        s1", "  s1", "          s2", "    s2", "            head", "      head record=clone:vol-9@daily").Replace(sourceClone),
			entryPointHere,
			[]string{"source replica vol-1-r-0a1b2c3d on lvstore disk-a lost snapshot daily of volume vol-9"},
		},
		"the source's entry point is loose": {
			"source\n  snap:vol-9-r-0000000a-snap-daily own=d/2\n  snap:vol-9-r-0000000a-clone-ep-daily\n    s1 own=a/2\n      head\n",
			entryPointHere,
			[]string{"source replica", "lost snapshot daily of volume vol-9"},
		},
		"the record names an image": {
			strings.Replace(sourceClone, "head", "head record=os", 1), entryPointHere,
			[]string{"the record on head vol-1-r-0a1b2c3d says backing image os", "the lineage of replica vol-1-r-0a1b2c3d says snapshot daily of volume vol-9"},
		},
		"another clone was requested": {
			"requested clone:vol-9@weekly\n" + sourceClone, entryPointHere,
			[]string{"the request says snapshot weekly of volume vol-9", "snapshot daily of volume vol-9"},
		},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := parseFixture(t, c.source+c.destination).plan()
			requireRefusal(t, err, c.says...)
		})
	}
}

// TestSnapshotsWithLinkedClonesStay: a source volume's replica keeps what carries entry
// points, or its rebuild is refused, with the linked clones named.
func TestSnapshotsWithLinkedClonesStay(t *testing.T) {
	const source = "source\n  daily own=d/2\n    head record=none\n"
	here := func(daily string) string {
		return "destination\n  " + daily + "\n    snap:vol-1-r-4e5f6a7b-clone-ep-daily\n      snap:vol-5-r-0000000b-snap-a\n        lvol:vol-5-r-0000000b\n      lvol:vol-6-r-0000000b\n"
	}
	s := parseFixture(t, source+here("daily own=d/2"))
	plan := s.mustPlan(t)
	require.Equal(t, map[string]Action{"daily": ActionKeep, "head": ActionCreateHead}, actions(plan))

	for what, c := range map[string]struct{ source, daily, says string }{
		"outdated":          {source, "daily own=x/2", "would be deleted"},
		"extra":             {source, "weekly own=d/2", "would be deleted"},
		"nothing is proven": {source, "daily own=?/2", "would be deleted"},
	} {
		t.Run(what, func(t *testing.T) {
			s := parseFixture(t, c.source+here(c.daily))
			s.destination.RenamesSnapshots = false
			_, err := s.plan()
			requireRefusal(t, err, "entry point vol-1-r-4e5f6a7b-clone-ep-daily", c.says, "vol-5-r-0000000b, vol-6-r-0000000b")
		})
	}
}

func TestOwnEntryPointIsNoBase(t *testing.T) {
	s := parseFixture(t, "requested none\nsource\n  s1 own=a/1\n    snap:vol-1-r-0a1b2c3d-clone-ep-s1\n      s2 own=b/1\n        head\ndestination\n")
	_, err := s.plan()
	requireRefusal(t, err, "vol-1-r-0a1b2c3d-clone-ep-s1", "no snapshot of replica")
}

func TestRecordsOfBases(t *testing.T) {
	for _, base := range []Base{ImageBase("os"), CloneBase("vol-9", "daily"), NoBase(), {}} {
		require.Equal(t, base, BaseOfRecord(base.Record()))
	}
	require.False(t, CloneBase("", "daily").Known())
	require.False(t, CloneBase("vol-9", "").Known())
	require.Error(t, BaseOfRecord("clone:vol-9").check())
}

func TestLinkedCloneIsCreated(t *testing.T) {
	for what, destination := range map[string]string{"with the entry point": entryPointHere, "without": dailyHere} {
		t.Run(what, func(t *testing.T) {
			s := parseFixture(t, destination)
			plan, err := PlanCreation(s.destination, destinationReplica, fixtureSize*proofCluster, CloneBase("vol-9", "daily"))
			require.NoError(t, err)
			r, err := NewReplica(s.play(t, plan).destination, destinationReplica)
			require.NoError(t, err)
			require.Equal(t, "clone:vol-9@daily", r.ParentOf(*r.Head).String())
			require.Empty(t, Audit(r, Base{}).Violations)
		})
	}
	_, err := PlanCreation(parseFixture(t, dailyHere).destination, destinationReplica, proofCluster, CloneBase("vol-9", "daily"))
	requireRefusal(t, err, "more than the")
}
