package domain

import (
	"cmp"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write the golden files anew")

const planMark = "\n== plan\n\n"

func TestGoldenPlans(t *testing.T) {
	for name, file := range planFiles(t) {
		t.Run(name, func(t *testing.T) {
			drawn, _ := readPlanFile(t, file)
			s := parseFixture(t, drawn)
			got := planOrRefusal(t, s)
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(drawn+planMark+got), 0o644))
			}
			_, want := readPlanFile(t, file)
			require.Equal(t, want, got, "go test -run TestGoldenPlans -update writes it anew")
		})
	}
}

func planFiles(t rapid.TB) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("testdata/plan/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	files := make(map[string]string)
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".txt")
		files[strings.ReplaceAll(name, "-", " ")] = path
	}
	return files
}

func readPlanFile(t rapid.TB, path string) (drawn, plan string) {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	drawn, plan, _ = strings.Cut(string(text), planMark)
	return drawn, plan
}

// planOrRefusal is the plan as text and, if it can be carried out, the store
// afterwards. It also checks the rules that hold for every plan.
func planOrRefusal(t rapid.TB, s fixture) string {
	t.Helper()
	plan, err := s.plan()
	if err != nil {
		requireRefusal(t, err)
		return "refused: " + err.Error() + "\n"
	}
	requireStepsShareOperations(t, plan)
	requireOrderIsRight(t, plan)
	requireDeletionsListed(t, plan)
	text := planText(plan)
	if plan.SystemSnapshot != nil {
		return text
	}
	after := s.play(t, plan)
	require.Empty(t, after.violations(t, plan.Base), "the plan leads elsewhere")
	if after.source.Proves && after.destination.Proves && !s.options.Full {
		again := after.mustPlan(t)
		require.Empty(t, again.Operations, "the goal is no place to stay:\n%s", planText(again))
		require.False(t, again.Changes())
	}
	return text + "\nthen\n" + storeText(after.destination)
}

// requireStepsShareOperations: each operation belongs to exactly one step.
func requireStepsShareOperations(t rapid.TB, plan Plan) {
	t.Helper()
	var reported []int
	for _, step := range plan.Steps {
		require.True(t, slices.IsSorted(step.Operations))
		require.NotEmpty(t, step.Reason)
		reported = append(reported, step.Operations...)
		for _, o := range step.Operations {
			require.Equal(t, step.Snapshot, plan.SubjectOf()[o])
		}
	}
	slices.Sort(reported)
	all := make([]int, len(plan.Operations))
	for i := range all {
		all[i] = i
	}
	require.ElementsMatch(t, all, reported)
}

// requireDeletionsListed: the plan lists the deleted lvols, and its steps contain
// their clusters.
func requireDeletionsListed(t rapid.TB, plan Plan) {
	t.Helper()
	var reported, deleted []string
	var clusters, ofSteps uint64
	for _, d := range plan.Deletions {
		reported, clusters = append(reported, d.Name), clusters+d.Clusters
	}
	setAside := make(map[Ref]string) // their names until then
	for _, o := range plan.Operations {
		switch o.Verb {
		case VerbRename:
			setAside[o.Target] = o.OldName
		case VerbDelete:
			deleted = append(deleted, cmp.Or(o.Name, setAside[o.Target]))
		}
	}
	for _, s := range plan.Steps {
		ofSteps += s.Deleted
	}
	require.Equal(t, deleted, reported)
	require.Equal(t, clusters, ofSteps)
}

// requireOrderIsRight: stages are in order, and an operation depends only on earlier
// ones of its stage.
func requireOrderIsRight(t rapid.TB, plan Plan) {
	t.Helper()
	for i, o := range plan.Operations {
		if i > 0 {
			require.LessOrEqual(t, plan.Operations[i-1].Stage, o.Stage)
		}
		for _, before := range o.After {
			require.Less(t, before, i)
			require.Equal(t, o.Stage, plan.Operations[before].Stage)
		}
	}
}

func TestPlanIndependentOfListingOrder(t *testing.T) {
	var fixtures []fixture
	for _, file := range planFiles(t) {
		drawn, _ := readPlanFile(t, file)
		fixtures = append(fixtures, parseFixture(t, drawn))
	}
	rapid.Check(t, func(rt *rapid.T) {
		s := rapid.SampledFrom(fixtures).Draw(rt, "fixture")
		plan, err := s.plan()
		shuffled := s
		shuffled.source.Lvols = rapid.Permutation(s.source.Lvols).Draw(rt, "source")
		shuffled.destination.Lvols = rapid.Permutation(s.destination.Lvols).Draw(rt, "destination")
		again, errAgain := shuffled.plan()
		require.Equal(rt, err, errAgain)
		require.Equal(rt, plan, again)
	})
}

func TestPlanKeepsInput(t *testing.T) {
	for name, file := range planFiles(t) {
		t.Run(name, func(t *testing.T) {
			drawn, _ := readPlanFile(t, file)
			s, same := parseFixture(t, drawn), parseFixture(t, drawn)
			_, _ = s.plan()
			require.Equal(t, same, s)
		})
	}
}

// The parent of the copy s3 is s2, which is kept and has the right parent s1, which has
// no parent until it is grafted. If the copy did not wait for that, it would be sealed
// without the image's bytes.
func TestCopyWaitsForGraftOfLooseGrandparent(t *testing.T) {
	s := parseFixture(t, `
source
  image:base
    s1 own=a/2
      s2 own=b/1
        s3 own=c/1
          head
destination
  image:base
  s1 own=a/2
    s2 own=b/1
`)
	plan := s.mustPlan(t)
	require.Equal(t, map[string]Action{"s1": ActionGraft, "s2": ActionKeep, "s3": ActionCopy, "head": ActionCreateHead}, actions(plan))
	graftOfS1 := operationAt(t, plan, VerbGraft, "b-s1")
	graftOfS3 := operationAt(t, plan, VerbGraft, "new snapshot s3")
	require.Contains(t, plan.Operations[graftOfS3].After, graftOfS1)
}

func TestKeptChainPassesWaitOn(t *testing.T) {
	s := parseFixture(t, `
source
  image:base
    s1 own=a/2
      s2 own=b/1
        s3 own=c/1
          s4 own=d/1
            s5 own=e/1
              head
destination
  image:base
  s1 own=a/2
    s2 own=b/1
      s3 own=c/1
        s4 own=d/1
`)
	plan := s.mustPlan(t)
	require.Contains(t, plan.Operations[operationAt(t, plan, VerbGraft, "new snapshot s5")].After, operationAt(t, plan, VerbGraft, "b-s1"))
}

func TestCopyOrder(t *testing.T) {
	s := parseFixture(t, `
source
  image:base
    s1 own=a/2
      s2 own=b/1
      s3 own=c/1
        head
destination
`)
	plan := s.mustPlan(t)
	image := operationAt(t, plan, VerbSeal, "new image base")
	for snapshot, parent := range map[string]int{
		"new snapshot s1": image,
		"new snapshot s2": operationAt(t, plan, VerbSeal, "new snapshot s1"),
		"new snapshot s3": operationAt(t, plan, VerbSeal, "new snapshot s1"),
	} {
		create, copied := operationAt(t, plan, VerbCreate, snapshot), operationAt(t, plan, VerbCopy, snapshot)
		graft, seal := operationAt(t, plan, VerbGraft, snapshot), operationAt(t, plan, VerbSeal, snapshot)
		require.Empty(t, plan.Operations[create].After, "an lvol in flight waits for nobody")
		require.Equal(t, []int{create}, plan.Operations[copied].After)
		require.ElementsMatch(t, []int{copied, parent}, plan.Operations[graft].After)
		require.Equal(t, []int{graft}, plan.Operations[seal].After)
		require.True(t, plan.Operations[create].Parent.IsNone(), "it is filled without a parent")
	}
}

func TestPlanSummary(t *testing.T) {
	s := parseFixture(t, `
source
  image:base
    s1 own=a/2
      s2 own=b/1
        head
destination
`)
	plan := s.mustPlan(t)
	require.EqualValues(t, 4+2+1, plan.CopiedClusters(), "the image's, too")
	require.True(t, plan.FetchesImage())
	require.True(t, plan.Changes())

	again := s.play(t, plan).mustPlan(t)
	require.Zero(t, again.CopiedClusters())
	require.False(t, again.FetchesImage())
	require.False(t, again.Changes())
}

func TestWrittenHeadNeedsSystemSnapshot(t *testing.T) {
	text := `
source
  image:base
    s1 own=a/2
      head own=?/3
destination
  image:base
`
	plan := parseFixture(t, text).mustPlan(t)
	require.NotNil(t, plan.SystemSnapshot)
	system := *plan.SystemSnapshot
	require.Regexp(t, `^rebuild-[0-9a-f]{8}$`, system.Name)
	require.Equal(t, SnapshotLvolName(sourceReplica, system.Name), system.LvolName)
	require.Equal(t, "a-head", system.Head.UUID)
	require.Equal(t, ActionCopy, stepOf(t, plan, system.Name).Action, "it is counted as one more snapshot")
	require.EqualValues(t, 3, stepOf(t, plan, system.Name).Clusters)
	require.Equal(t, system.Name, stepOf(t, plan, "").Parent.String(), "the head hangs on it")
	require.True(t, plan.Changes())

	again := parseFixture(t, text).mustPlan(t)
	require.Equal(t, system, *again.SystemSnapshot, "a run that is repeated asks for the same one")

	otherHead := parseFixture(t, text)
	otherHead.source.Lvols[len(otherHead.source.Lvols)-1].UUID = "another"
	require.NotEqual(t, system.Name, otherHead.mustPlan(t).SystemSnapshot.Name)

	taken := parseFixture(t, text)
	taken.source.Lvols = append(taken.source.Lvols, Lvol{UUID: "sibling", Name: system.LvolName, Parent: "a-s1", Size: fixtureSize * proofCluster, ReadOnly: true})
	sibling := taken.mustPlan(t).SystemSnapshot.Name
	require.NotEqual(t, system.Name, sibling, "the name is the sibling's")
	require.Regexp(t, `^rebuild-[0-9a-f]{8}$`, sibling)
}

// After the system snapshot is taken the head is empty, and the snapshot is one like
// any other.
func TestSystemSnapshotReused(t *testing.T) {
	s := parseFixture(t, `
source
  image:base
    s1 own=a/2
      rebuild-0badcafe own=b/3 system
        head
destination
  image:base
`)
	plan := s.mustPlan(t)
	require.Nil(t, plan.SystemSnapshot)
	seal := plan.Operations[operationAt(t, plan, VerbSeal, "new snapshot rebuild-0badcafe")]
	require.False(t, seal.Attributes.UserCreated)
}

func TestRebuildWithoutSnapshots(t *testing.T) {
	s := parseFixture(t, `
source
  image:base
    head
destination
  image:base
`)
	plan := s.mustPlan(t)
	require.Len(t, plan.Operations, 1)
	require.Equal(t, "backing-image:base", stepOf(t, plan, "").Parent.String())
	require.Equal(t, "b-image:base", plan.Operations[0].Parent.id)
	after := s.play(t, plan)
	require.Empty(t, after.violations(t, plan.Base))

	written := parseFixture(t, `
source
  image:base
    head own=?/3
destination
  image:base
`)
	plan = written.mustPlan(t)
	require.Equal(t, "backing-image:base", stepOf(t, plan, plan.SystemSnapshot.Name).Parent.String(), "it becomes the ancestor")
}

func TestHeadKeptOnlyIfNothingChanges(t *testing.T) {
	source := `
source
  image:base
    s1 own=a/2
      head size=9 record=base
destination
`
	for name, c := range map[string]struct {
		destination string
		stays       bool
	}{
		"all is right":                       {"  image:base\n    s1 own=a/2\n      head size=9 record=base\n", true},
		"the record is missing":              {"  image:base\n    s1 own=a/2\n      head size=9\n", true},
		"another size":                       {"  image:base\n    s1 own=a/2\n      head size=8 record=base\n", false},
		"clusters of its own":                {"  image:base\n    s1 own=a/2\n      head size=9 own=?/1 record=base\n", false},
		"on the image instead of s1":         {"  image:base\n    s1 own=a/2\n    head size=9 record=base\n", false},
		"loose":                              {"  image:base\n    s1 own=a/2\n  head size=9 record=base\n", false},
		"an lvol in flight is left":          {"  image:base\n    s1 own=a/2\n      head size=9 record=base\n  flight:0badcafe\n", false},
		"an extra snapshot is left":          {"  image:base\n    s1 own=a/2\n      head size=9 record=base\n    extra\n", false},
		"a snapshot is loose":                {"  image:base\n  s1 own=a/2\n    head size=9 record=base\n", false},
		"a snapshot has other data":          {"  image:base\n    s1 own=b/2\n      head size=9 record=base\n", false},
		"the image is gone, the tree is not": {"  s1 own=a/2\n    head size=9 record=base\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := parseFixture(t, source+c.destination)
			plan := s.mustPlan(t)
			deleted := false
			for _, o := range plan.Operations {
				deleted = deleted || o.Verb == VerbDelete && o.Stage == StageRemoveHead
			}
			require.Equal(t, c.stays, !deleted)
			require.Empty(t, s.play(t, plan).violations(t, plan.Base))
			if c.stays {
				for _, o := range plan.Operations {
					require.Equal(t, VerbRecord, o.Verb)
				}
			}
		})
	}
}

// Without an image the ancestor is detached only; that is a change, too, and nothing
// may change while the old head exists.
func TestHeadDeletedBeforeDetach(t *testing.T) {
	s := parseFixture(t, "requested none\nsource\n  s1 own=a/1\n    head\ndestination\n  snap:vol-10-r-4e5f6a7b-snap-a\n    s1 own=a/1\n      head record=none\n")
	plan := s.mustPlan(t)
	require.Len(t, plan.Operations, 3)
	require.Equal(t, VerbDelete, plan.Operations[0].Verb)
	require.Equal(t, StageDetach, plan.Operations[1].Stage)
	require.Equal(t, VerbClone, plan.Operations[2].Verb)
	require.Equal(t, ActionGraft, stepOf(t, plan, "s1").Action)
}

// The destination already has the system snapshot and a head on it. Until the source's
// is taken, the plan is a preview and shows a rebuild.
func TestHeadReplacedIfSourceHeadIsFrozen(t *testing.T) {
	s := parseFixture(t, "requested none\nsource\n  s1 own=a/1\n    head own=h/3\ndestination\n  s1 own=a/1\n    system own=h/3\n      head\n")
	name := s.mustPlan(t).SystemSnapshot.Name
	copied := &s.destination.Lvols[1]
	copied.Name, copied.Attributes = SnapshotLvolName(destinationReplica, name), Attributes{}
	plan := s.mustPlan(t)
	require.Equal(t, ActionKeep, stepOf(t, plan, name).Action)
	require.Equal(t, ActionCreateHead, stepOf(t, plan, "").Action)
}

func TestNoRecordOnHostWithoutRecords(t *testing.T) {
	s := parseFixture(t, `
requested none
source upstream
  head
destination upstream
  head
`)
	require.Empty(t, s.mustPlan(t).Operations)
}

func TestHurtSources(t *testing.T) {
	text := `
requested base
source
  image:base
  s1 own=a/2
    head record=base
destination
  image:base
`
	_, err := parseFixture(t, text).plan()
	requireRefusal(t, err, "lost backing image base", sourceReplica, "disk-a")

	accepted := parseFixture(t, "options accept-hurt-source\n"+text)
	plan := accepted.mustPlan(t)
	require.Len(t, plan.Warnings, 1)
	require.Contains(t, plan.Warnings[0], "unproven")
	require.Equal(t, "backing-image:base", stepOf(t, plan, "s1").Parent.String(), "the destination is right by rule 1")
	require.Empty(t, accepted.play(t, plan).violations(t, plan.Base))

	healthy := parseFixture(t, strings.Replace(text, "requested base", "requested none", 1))
	healthy.source.Lvols[2].Record = ""
	require.Empty(t, healthy.mustPlan(t).Warnings, "a volume without an image cannot lose it")

	headOnly := parseFixture(t, `
requested base
source
  image:base
  head
destination
  image:base
`)
	_, err = headOnly.plan()
	requireRefusal(t, err, "lost backing image base")
}

// For any tree, the plan ends at the same store in every order that it allows, and
// every parent is right. (The proof checks the states in between; this test has larger
// trees.)
func TestAnyOrderEndsAtSameStore(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := drawLargeFixture(rt)
		plan := s.mustPlan(rt)
		requireOrderIsRight(rt, plan)
		requireStepsShareOperations(rt, plan)
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "order"), 0))
		model := NewStoreModel(s.destination, destinationReplica)
		done := make([]bool, len(plan.Operations))
		for left := len(done); left > 0; left-- {
			stage := StageCreateHead
			for i, o := range plan.Operations {
				if !done[i] {
					stage = min(stage, o.Stage)
				}
			}
			var next []int
			for i, o := range plan.Operations {
				waits := slices.ContainsFunc(o.After, func(before int) bool { return !done[before] })
				if !done[i] && o.Stage == stage && !waits {
					next = append(next, i)
				}
			}
			require.NotEmpty(rt, next)
			i := next[r.IntN(len(next))]
			require.NoError(rt, model.Apply(s.source, plan.Operations[i]))
			done[i] = true
		}
		after := s
		after.destination = model.Listing()
		require.Empty(rt, after.violations(rt, plan.Base))
	})
}

// drawLargeFixture draws a random tree on the source, and a part of it on the
// destination, each snapshot on any earlier one, right or wrong.
func drawLargeFixture(t *rapid.T) fixture {
	n := rapid.IntRange(1, 30).Draw(t, "snapshots")
	s := fixture{requested: ImageBase("base"), source: fixtureStore("a"), destination: fixtureStore("b")}
	image := func(store Listing) Lvol {
		return Lvol{UUID: store.UUID + "-image", Name: ImageLvolName("base", store.UUID), Size: proofCluster, ReadOnly: true, Own: ownClusters("image", 1)}
	}
	s.source.Lvols = append(s.source.Lvols, image(s.source))
	s.destination.Lvols = append(s.destination.Lvols, image(s.destination))
	last := s.source.Lvols[0].UUID
	for i := range n {
		name := string(rune('A' + i))
		l := Lvol{UUID: "a-" + name, Parent: last, Name: SnapshotLvolName(sourceReplica, name), Size: fixtureSize * proofCluster, ReadOnly: true, Own: ownClusters(name, 1)}
		if i > 0 {
			l.Parent = s.source.Lvols[rapid.IntRange(1, i).Draw(t, "parent")].UUID
		}
		s.source.Lvols = append(s.source.Lvols, l)
		last = l.UUID
		if rapid.IntRange(0, 3).Draw(t, "left") == 0 {
			continue
		}
		l.UUID, l.Name, l.Parent = "b-"+name, SnapshotLvolName(destinationReplica, name), ""
		if at := rapid.IntRange(-1, len(s.destination.Lvols)-1).Draw(t, "under"); at >= 0 {
			l.Parent = s.destination.Lvols[at].UUID
		}
		if rapid.IntRange(0, 5).Draw(t, "outdated") == 0 {
			l.Own = ownClusters("old"+name, 1)
		}
		s.destination.Lvols = append(s.destination.Lvols, l)
	}
	s.source.Lvols = append(s.source.Lvols, Lvol{UUID: "a-head", Name: sourceReplica, Parent: last, Size: fixtureSize * proofCluster})
	return s
}
