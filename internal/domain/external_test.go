package domain

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// An lvol that reads through to a bdev outside of its lvstore is listed without a
// parent. A copy of its own clusters would read zeros in place of the external
// snapshot's bytes.

func TestExternalParentRefused(t *testing.T) {
	for what, c := range map[string]struct{ fixture, refusal string }{
		"the source's ancestor": {
			"requested none\nsource\n  s1 own=a/2 external=nvme0n1\n    head record=none\ndestination\n",
			"lvol vol-1-r-0a1b2c3d-snap-s1 on lvstore disk-a reads through to external snapshot nvme0n1",
		},
		"another snapshot of the source": {
			"requested none\nsource\n  s1 own=a/2\n    head record=none\n  s2 external=nvme0n1\ndestination\n",
			"lvol vol-1-r-0a1b2c3d-snap-s2 on lvstore disk-a reads through to external snapshot nvme0n1",
		},
		"the source's head, without snapshots": {
			"requested none\nsource\n  head own=a/2 external=nvme0n1 record=none\ndestination\n",
			"lvol vol-1-r-0a1b2c3d on lvstore disk-a reads through to external snapshot nvme0n1",
		},
		"the source's image": {
			"requested base\nsource\n  image:base external=nvme0n1\n    s1\n      head\ndestination\n",
			"backing image base on lvstore disk-a reads through to external snapshot nvme0n1",
		},
		"the destination's image": {
			"requested base\nsource\n  image:base\n    s1\n      head\ndestination\n  image:base external=nvme0n1\n",
			"backing image base on lvstore disk-b reads through to external snapshot nvme0n1",
		},
		"a degraded head of the source": {
			"requested none\nsource\n  head degraded\ndestination\n  s1\n    head own=b/1 record=none\n",
			"lvol vol-1-r-0a1b2c3d on lvstore disk-a is degraded",
		},
		"a degraded snapshot of the source": {
			"requested none\nsource\n  s1\n    head\n  s2 degraded\ndestination\n",
			"lvol vol-1-r-0a1b2c3d-snap-s2 on lvstore disk-a is degraded",
		},
		"a degraded snapshot of the source that sleeps": {
			"requested none\nsource\n  s1\n    head\n  s2 degraded asleep\ndestination\n",
			"lvol vol-1-r-0a1b2c3d-snap-s2 on lvstore disk-a is degraded",
		},
		"a degraded image": {
			"requested base\nsource\n  image:base degraded\n  s1 degraded\n  head degraded\ndestination\n",
			"is degraded",
		},
		"a degraded leftover that may have clones": {
			"requested none\nsource\n  s1\n    head\ndestination\n  s2 degraded\n  head degraded\n",
			"lvol vol-1-r-4e5f6a7b-snap-s2 on lvstore disk-b would be deleted, but it is degraded",
		},
		"a degraded leftover of the name of a source's snapshot": {
			"requested none\nsource\n  s1\n    head\ndestination\n  s1 degraded\n",
			"lvol vol-1-r-4e5f6a7b-snap-s1 on lvstore disk-b would be deleted, but it is degraded",
		},
		"a listing with two parents": {
			"requested none\nsource\n  s1\n    head external=nvme0n1\ndestination\n",
			"with two parents, lvol a-s1 and external snapshot nvme0n1",
		},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := parseFixture(t, c.fixture).plan()
			require.ErrorContains(t, err, c.refusal)
			var refusal *Refusal
			require.ErrorAs(t, err, &refusal)
		})
	}
}

func TestRebuildRemovesExternalLvols(t *testing.T) {
	for what, c := range map[string]struct {
		destination string
		want        []Action // per step
	}{
		"a head that another engine left on an export": {"  s1 own=a/2\n  head external=nvme0n1\n", []Action{ActionKeep, ActionCreateHead}},
		"a degraded head": {"  s1 own=a/2\n  head degraded\n", []Action{ActionKeep, ActionCreateHead}},
		"a head that looks right, of a volume without image": {"  s1 own=a/2\n    head record=none\n", []Action{}},
		"a proven snapshot":                      {"  s1 own=a/2 external=nvme0n1\n    head record=none\n", []Action{ActionGraft, ActionCreateHead}},
		"an outdated one":                        {"  s1 own=b/2 external=nvme0n1\n", []Action{ActionCopy, ActionCreateHead}},
		"a degraded one, with nothing on it":     {"  s1 degraded asleep\n", []Action{ActionCopy, ActionCreateHead}},
		"a degraded one that the source has not": {"  s1 own=a/2\n  s2 degraded asleep\n", []Action{ActionRemove, ActionKeep, ActionCreateHead}},
		"one in flight":                          {"  s1 own=a/2\n  flight:0badcafe external=nvme0n1\n", []Action{ActionRemove, ActionKeep, ActionCreateHead}},
		"one in flight, degraded":                {"  s1 own=a/2\n  flight:0badcafe degraded\n", []Action{ActionRemove, ActionKeep, ActionCreateHead}},
	} {
		t.Run(what, func(t *testing.T) {
			s := parseFixture(t, "requested none\nsource\n  s1 own=a/2\n    head record=none\ndestination\n"+c.destination)
			plan := s.mustPlan(t)
			actions := []Action{}
			for _, step := range plan.Steps {
				actions = append(actions, step.Action)
			}
			if len(c.want) > 0 {
				require.Equal(t, c.want, actions)
			}
			after := s.play(t, plan)
			require.Empty(t, after.violations(t, NoBase()))
			for _, l := range after.destination.Lvols {
				require.False(t, l.Degraded || l.External != "", l.Name)
			}
		})
	}
}

// In a volume without an image and without snapshots, only the head shows the external
// parent.
func TestExternalHeadReplaced(t *testing.T) {
	s := parseFixture(t, "requested none\nsource\n  head record=none\ndestination\n  head external=nvme0n1 record=none\n")
	violations := s.violations(t, NoBase())
	require.Len(t, violations, 1)
	require.Equal(t, "head: ancestor-parent: it has external snapshot nvme0n1 instead of no parent", violations[0].String())
	plan := s.mustPlan(t)
	require.Equal(t, []Verb{VerbDelete, VerbClone}, []Verb{plan.Operations[0].Verb, plan.Operations[1].Verb})
}

func TestModelRefusesDegradedLvols(t *testing.T) {
	s := parseFixture(t, "requested none\nsource\n  s1 own=a/2\n  s2 own=a/2 external=nvme0n1\n    head\ndestination\n  s1 degraded\n  s2\n  flight:0badcafe external=nvme0n1\n  flight:0badcaff\n")
	lvols := byUUID(s.destination)
	source := byUUID(s.source)
	for what, o := range map[string]Operation{
		"the parent vol-1-r-4e5f6a7b-snap-s1 is degraded": {Verb: VerbGraft, Target: listed(lvols["b-s2"]), Parent: listed(lvols["b-s1"])},
		"the lvol is degraded":                            {Verb: VerbGraft, Target: listed(lvols["b-s1"]), Parent: listed(lvols["b-s2"])},
		"may have clones":                                 {Verb: VerbDelete, Target: listed(lvols["b-s1"])},
		"the lvol has a parent already":                   {Verb: VerbCopy, Target: listed(lvols["b-flight:0badcafe"]), Source: originOf(source["a-s1"])},
		"has external snapshot nvme0n1, so":               {Verb: VerbCopy, Target: listed(lvols["b-flight:0badcaff"]), Source: originOf(source["a-s2"])},
		"parent is not":                                   {Verb: VerbSeal, Target: listed(lvols["b-flight:0badcafe"]), Name: "vol-1-r-4e5f6a7b-snap-s3", Source: Origin{}},
	} {
		_, err := Apply(s.destination, s.source, destinationReplica, o)
		require.ErrorContains(t, err, what)
	}
}

func TestInPlaceOperationsRefuseExternalParents(t *testing.T) {
	refused := func(err error, what string) {
		t.Helper()
		var refusal *Refusal
		require.ErrorAs(t, err, &refusal)
		require.ErrorContains(t, err, what)
	}
	replica := func(drawn string) Replica {
		t.Helper()
		r, err := NewReplica(storeOf(t, drawn), destinationReplica)
		require.NoError(t, err)
		return r
	}
	degradedHead := replica("  s1\n  head degraded\n")
	refused(degradedHead.CheckNewSnapshot("s2"), "lvol vol-1-r-4e5f6a7b on lvstore disk-b is degraded")
	_, err := PlanRevert(degradedHead, "s1", 0)
	refused(err, "the head of replica vol-1-r-4e5f6a7b on lvstore disk-b is degraded, so its size and its image are unknown")
	_, err = PlanSnapshotRemoval(degradedHead, "s1")
	refused(err, "is degraded")
	removal, err := PlanRemoval(degradedHead)
	require.NoError(t, err, "a head that cannot be opened can be deleted")
	require.Len(t, removal.Operations, 2)

	external := replica("  s1 external=nvme0n1\n    head\n")
	_, err = PlanRevert(external, "s1", 0)
	refused(err, "reads through to external snapshot nvme0n1")
	_, err = PlanSnapshotRemoval(external, "s1")
	refused(err, "reads through to external snapshot nvme0n1")

	_, err = PlanRemoval(replica("  s1 degraded\n  head degraded\n"))
	refused(err, "lvol vol-1-r-4e5f6a7b-snap-s1 on lvstore disk-b would be deleted, but it is degraded")

	leftovers, err := Garbage(storeOf(t, "  spacer:0badcafe degraded\n  flight:0badcaff degraded\n"))
	require.NoError(t, err)
	require.Len(t, leftovers, 2)
	require.Equal(t, "it is degraded and may have unknown clones", leftovers[0].Stays)
	require.Empty(t, leftovers[1].Stays)
}

func TestForeignAndUnknownParents(t *testing.T) {
	r, err := NewReplica(storeOf(t, "  s1 external=nvme0n1\n  s2 degraded asleep\n  s3\n"), destinationReplica)
	require.NoError(t, err)
	parents := map[string]Parent{}
	for _, s := range r.Snapshots {
		parents[s.Name] = r.ParentOf(s.Lvol)
	}
	require.Equal(t, "external:nvme0n1", parents["s1"].String())
	bdev, ok := parents["s1"].External()
	require.True(t, ok)
	require.Equal(t, "nvme0n1", bdev)
	require.Equal(t, "unknown", parents["s2"].String())
	require.True(t, parents["s2"].IsUnknown())
	require.True(t, parents["s3"].IsNone())
	for _, name := range []string{"s1", "s2"} {
		require.False(t, parents[name].IsNone())
		require.NotEqual(t, NoParent(), parents[name])
	}
}
