package domain

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Reports of users of similar engines, as far as plans are concerned. The names contain
// the number of the report; L is longhorn/longhorn.

// L#10909: after a rebuild the ancestor has no backing image, because the source's
// list does not say that it has one, and reads return zeros.
func TestField_10909_AncestorGetsImageAsParent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawLargeFixture(t)
		if rapid.Bool().Draw(t, "the source's list does not tell the image") {
			s.source.Lvols[1].Parent = ""
			s.options.AcceptHurtSource = true
		}
		s.options.Full = rapid.Bool().Draw(t, "full")
		plan := s.mustPlan(t)
		require.Equal(t, "backing-image:base", stepOf(t, plan, "A").Parent.String())
		after := byUUID(s.play(t, plan).destination)
		for _, l := range after {
			switch l.Name {
			case SnapshotLvolName(destinationReplica, "A"):
				require.Equal(t, "bi-base-disk-store-b", after[l.Parent].Name)
			default:
				if strings.HasPrefix(l.Name, destinationReplica) {
					require.NotEqual(t, "bi-base-disk-store-b", after[l.Parent].Name, "only the ancestor does")
				}
			}
		}
	})
}

func TestField_10909_AllVolumesOfAnImageKeepIt(t *testing.T) {
	s := parseFixture(t, "source\n  image:base\ndestination\n  image:base\n")
	for i := range 5 {
		parent := "a-image:base"
		for j := range 3 {
			l := Lvol{UUID: fmt.Sprintf("a-%d-%d", i, j), Name: fmt.Sprintf("vol-%d-r-0a1b2c3d-snap-s%d", i, j), Parent: parent, Size: fixtureSize * proofCluster, ReadOnly: true, Own: ownClusters(fmt.Sprint(i, j), 1)}
			s.source.Lvols = append(s.source.Lvols, l)
			parent = l.UUID
		}
		s.source.Lvols = append(s.source.Lvols, Lvol{UUID: fmt.Sprintf("a-%d", i), Name: fmt.Sprintf("vol-%d-r-0a1b2c3d", i), Parent: parent, Size: fixtureSize * proofCluster})
	}
	for i := range 5 {
		source, err := NewReplica(s.source, fmt.Sprintf("vol-%d-r-0a1b2c3d", i))
		require.NoError(t, err)
		name := fmt.Sprintf("vol-%d-r-4e5f6a7b", i)
		destination, err := NewReplica(s.destination, name)
		require.NoError(t, err)
		plan, err := PlanRebuild(source, destination, Base{}, Options{})
		require.NoError(t, err)
		for _, o := range plan.Operations {
			// Refs are unique in a plan only, so each lvol gets a UUID of its own.
			s.destination, err = Apply(s.destination, s.source, name, o)
			require.NoError(t, err)
		}
		for j := range s.destination.Lvols {
			l := &s.destination.Lvols[j]
			l.UUID, l.Parent = strings.Replace(l.UUID, "new ", name+" ", 1), strings.Replace(l.Parent, "new ", name+" ", 1)
		}
	}
	for i := range 5 {
		source, err := NewReplica(s.source, fmt.Sprintf("vol-%d-r-0a1b2c3d", i))
		require.NoError(t, err)
		destination, err := NewReplica(s.destination, fmt.Sprintf("vol-%d-r-4e5f6a7b", i))
		require.NoError(t, err)
		violations, err := Verify(source, destination, ImageBase("base"))
		require.NoError(t, err)
		require.Empty(t, violations)
		require.False(t, destination.Hurt(ImageBase("base")))
	}
}

func TestField_10909_GraftRepairsHurtReplica(t *testing.T) {
	s := parseFixture(t, `
source
  image:base
    s1 own=a/2
      s2 own=b/1
        head record=base
destination
  image:base
  s1 own=a/2
    s2 own=b/1
      head record=base
`)
	violations := s.violations(t, ImageBase("base"))
	require.Len(t, violations, 1)
	require.Equal(t, RuleAncestorParent, violations[0].Rule)
	require.True(t, violations[0].Repairable)
	plan := s.mustPlan(t)
	require.Zero(t, plan.CopiedClusters(), "no byte is copied")
	require.Empty(t, s.play(t, plan).violations(t, ImageBase("base")))
}

// Measured, not reported: an extra snapshot between two kept ones is deleted, and its
// clusters merge into the kept child.
func TestField_Merge_ExtraDeletedOnlyWithoutClones(t *testing.T) {
	s := parseFixture(t, `
source
  image:base
    s1 own=a/2
      s2 own=b/1
      s3 own=c/1
        head record=base
destination
  image:base
    s1 own=a/2
      extra own=x/1
        deeper own=y/1
          s2 own=b/1
        s3 own=c/1
          head record=base
`)
	plan := s.mustPlan(t)
	require.Equal(t, map[string]Action{"extra": ActionRemove, "deeper": ActionRemove, "s1": ActionKeep, "s2": ActionGraft, "s3": ActionGraft, "head": ActionCreateHead}, actions(plan))
	require.Zero(t, plan.CopiedClusters())
	parentOf := make(map[string]string)
	for _, l := range s.destination.Lvols {
		parentOf[l.UUID] = l.Parent
	}
	for _, o := range plan.Operations {
		switch o.Verb {
		case VerbGraft:
			parentOf[o.Target.id] = uuidOf(o.Parent)
		case VerbDelete:
			for child, parent := range parentOf {
				require.NotEqual(t, o.Target.id, parent, "%s still hangs on %s", child, o.Name)
			}
			delete(parentOf, o.Target.id)
		}
	}
	require.Empty(t, s.play(t, plan).violations(t, plan.Base))

	// A delete that comes too early is refused by the model before it is sent to the
	// store.
	_, err := Apply(s.destination, s.source, destinationReplica, plan.Operations[operationAt(t, plan, VerbDelete, "b-extra")])
	require.ErrorContains(t, err, "it has clones")
}

// The merge was done by another program: the child has the same name and attributes
// and, if its own clusters cover those of its parent, the same count.
func TestField_Merge_ForgedChildNotKept(t *testing.T) {
	for what, own := range map[string]string{
		"its count has grown":                         "own=merged/3",
		"its count is the same, its checksum dropped": "own=?/2",
		"its count is the same, its data is not":      "own=merged/2",
	} {
		t.Run(what, func(t *testing.T) {
			s := parseFixture(t, "requested base\nsource\n  image:base\n    s1 own=a/2\n      head\ndestination\n  image:base\n    s1 "+own+"\n")
			require.Equal(t, ActionCopy, stepOf(t, s.mustPlan(t), "s1").Action)
		})
	}
}

// Measured on the fork, not reported: its snapshot checksum ignores positions.
func TestField_Position_SameBytesElsewhereDiffer(t *testing.T) {
	s := parseFixture(t, `
source
  image:base
    s1 own=clusters-2-and-3,sum/2 at=1
      head record=base
destination
  image:base
    s1 own=clusters-5-and-6,sum/2 at=1
      head record=base
`)
	plan := s.mustPlan(t)
	step := stepOf(t, plan, "s1")
	require.Equal(t, ActionCopy, step.Action)
	require.EqualValues(t, 2, step.Clusters)
	violations := s.violations(t, plan.Base)
	require.Len(t, violations, 1)
	require.Equal(t, RuleData, violations[0].Rule)
}

// Longhorn's engine of May 2025, killed half-way through 8 snapshots: the next rebuild
// copied everything, and in-flight lvols remained.
func TestField_Killed_FinishedKeptRestCopied(t *testing.T) {
	drawn := func(n int) string {
		text := "  image:base\n"
		for i := range n {
			text += strings.Repeat("  ", i+2) + fmt.Sprintf("s%d own=data-%d/2 at=%d\n", i, i, i)
		}
		return text
	}
	s := parseFixture(t, "source\n"+drawn(8)+strings.Repeat("  ", 10)+"head record=base\ndestination\n"+drawn(4)+"  flight:0badcafe own=?/1\n  flight: own=?/2\n")
	plan := s.mustPlan(t)
	count := make(map[Action]int)
	for _, action := range actions(plan) {
		count[action]++
	}
	require.Equal(t, map[Action]int{ActionKeep: 4, ActionCopy: 4, ActionRemove: 2, ActionCreateHead: 1}, count)
	after := s.play(t, plan)
	require.Empty(t, after.violations(t, plan.Base))
	for _, l := range after.destination.Lvols {
		_, inFlight := ReplicaInFlight(l.Name)
		require.False(t, inFlight, l.Name)
	}
}

// L#9122, L#9190: in-flight lvols accumulate, and a phantom replica is named after one.
func TestField_9122_InFlightLeftoversDeleted(t *testing.T) {
	s := parseFixture(t, "requested none\nsource\n  s1 own=a/1\n    head\ndestination\n  s1 own=a/1\n    flight:\n  flight:0badcafe\n  spacer:00c0ffee\n    flight:00000001\n")
	plan := s.mustPlan(t)
	after := s.play(t, plan).destination
	require.Len(t, after.Lvols, 2, "the snapshot and the head")
	for _, phantom := range []string{"vol-1-r-4e5f6a7b-rebuilding", "vol-1-r-4e5f6a7b-rebuilding-0badcafe"} {
		r, err := NewReplica(s.destination, phantom)
		require.NoError(t, err)
		require.False(t, r.Exists())
	}
}

// L#9491, L#10037: everything is copied though most snapshots are intact; L#5023:
// "was it a full rebuild? why?"
func TestField_9491_IntactSnapshotsKeptWithReason(t *testing.T) {
	s := parseFixture(t, `
source
  image:base
    s1 own=a/2
      s2 own=b/1
        s3 own=c/1
          head record=base
destination
  image:base
    s1 own=a/2
      s2 own=x/1
        s3 own=c/1
          head record=base
`)
	plan := s.mustPlan(t)
	require.EqualValues(t, 1, plan.CopiedClusters(), "s2 alone")
	reasons := make(map[string]bool)
	for _, step := range plan.Steps {
		require.NotEmpty(t, step.Reason)
		reasons[step.Reason] = true
	}
	require.Len(t, reasons, len(plan.Steps))
}

// L#10163: a rebuild snapshot costs client I/O. Only one is taken, in the first run.
func TestField_10163_SystemSnapshotOnlyForWrittenHead(t *testing.T) {
	s := parseFixture(t, "source\n  image:base\n    s1 own=a/2\n      head own=?/3\ndestination\n  image:base\n")
	system := s.mustPlan(t).SystemSnapshot
	require.NotNil(t, system)

	// SPDK takes the snapshot: it has the head's clusters and its parent.
	head := &s.source.Lvols[len(s.source.Lvols)-1]
	taken := Lvol{UUID: "a-system", Name: system.LvolName, Parent: head.Parent, Size: head.Size, ReadOnly: true, Own: head.Own}
	head.Parent, head.Own = taken.UUID, Clusters{}
	s.source.Lvols = append(s.source.Lvols, taken)
	plan := s.mustPlan(t)
	require.Nil(t, plan.SystemSnapshot)
	require.Empty(t, s.play(t, plan).violations(t, plan.Base))
}

// SPDK#2830: lvols are missing after a crash of the target. The listing is refused
// before anything is deleted.
func TestField_2830_IncompleteListingRefused(t *testing.T) {
	for _, missing := range []string{"a-s1", "b-s1"} {
		s := parseFixture(t, "requested none\nsource\n  s1 own=a/1\n    s2 own=b/1\n      head\ndestination\n  s1 own=a/1\n    s2 own=b/1\n      head\n")
		for _, store := range []*Listing{&s.source, &s.destination} {
			for i, l := range store.Lvols {
				if l.UUID == missing {
					store.Lvols = append(store.Lvols[:i:i], store.Lvols[i+1:]...)
					break
				}
			}
		}
		_, err := s.plan()
		requireRefusal(t, err, missing, "not listed")
	}
}

// L#7723, L#13315: an interrupted rebuild can be run again, and the source keeps no
// traces of it. (The proof interrupts everywhere; this is an example.)
func TestField_13315_InterruptedReuseRunsAgain(t *testing.T) {
	start := parseFixture(t, `
source
  image:base
    s1 own=a/2
      s2 own=b/1
        s3 own=c/1
          head record=base
destination
  image:base
    extra own=x/1
      s2 own=b/1
        s1 own=a/2
          head record=base
`)
	plan := start.mustPlan(t)
	for stop := range plan.Operations {
		s := start
		model := NewStoreModel(s.destination, destinationReplica)
		for _, o := range plan.Operations[:stop] {
			require.NoError(t, model.Apply(s.source, o))
		}
		s.destination = model.Listing()
		for i := range s.destination.Lvols { // the next run's Refs are other lvols than this one's
			l := &s.destination.Lvols[i]
			l.UUID, l.Parent = strings.Replace(l.UUID, "new ", "old ", 1), strings.Replace(l.Parent, "new ", "old ", 1)
		}
		again := s.mustPlan(t)
		after := s.play(t, again)
		require.Empty(t, after.violations(t, again.Base), "stopped before operation %d", stop)
		require.Equal(t, start.source, s.source)
	}
}

// L#12237: the field's test, with a backing image and branches: snap11-snap12-snap13
// and snap21-snap22 on snap11, and one snapshot is damaged.
func TestField_12237_FastRebuildCopiesDamagedOnly(t *testing.T) {
	tree := func(damage string) string {
		return "  image:bi\n    snap11 own=a/2 at=1\n      snap12 own=b/1 at=2\n        snap13 own=c/3 at=3\n          head record=bi\n      snap21 own=" + damage + "/1 at=4\n        snap22 own=e/1 at=5\n"
	}
	s := parseFixture(t, "source\n"+tree("d")+"destination\n"+tree("x"))
	plan := s.mustPlan(t)
	require.Equal(t, map[string]Action{
		"snap11": ActionKeep, "snap12": ActionKeep, "snap13": ActionKeep, "snap21": ActionCopy, "snap22": ActionGraft, "head": ActionCreateHead,
	}, actions(plan))
	require.EqualValues(t, 1, plan.CopiedClusters())
	require.Empty(t, s.play(t, plan).violations(t, plan.Base))
}
