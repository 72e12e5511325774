package domain

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// Rules at their limits: the last allowed case and the first refused one.

// The branch of the head is complete. The head is nevertheless deleted first: a replica
// with a head is complete.
func TestHeadReplacedWhenSideBranchMissing(t *testing.T) {
	s := parseFixture(t, `
source
  image:base
    s1 own=a/1
      s2 own=b/1
      s3 own=c/1
        head record=base
destination
  image:base
    s1 own=a/1
      s3 own=c/1
        head record=base
`)
	plan := s.mustPlan(t)
	require.NotEmpty(t, plan.Operations)
	first := plan.Operations[0]
	require.Equal(t, VerbDelete, first.Verb)
	require.Equal(t, destinationReplica, first.Name)
	require.Equal(t, StageRemoveHead, first.Stage)
	last := plan.Operations[len(plan.Operations)-1]
	require.Equal(t, VerbClone, last.Verb)
}

// Stores are identified by their UUIDs. Two stores can have one name, and replicas of
// one name can be on both.
func TestStoresDistinguishedByUUID(t *testing.T) {
	drawn := "  s1 own=a/1\n    head record=none\n"
	source := storeOf(t, drawn)
	source.UUID = "another"
	here, err := NewReplica(source, destinationReplica)
	require.NoError(t, err)
	there, err := NewReplica(storeOf(t, drawn), destinationReplica)
	require.NoError(t, err)
	require.Equal(t, here.Store.Name, there.Store.Name)

	plan, err := PlanRebuild(here, there, NoBase(), Options{})
	require.NoError(t, err, "of one name on two stores of one name")
	require.Empty(t, plan.Operations)
	_, err = PlanRebuild(there, there, NoBase(), Options{})
	require.ErrorContains(t, err, "both source and destination")
	require.Empty(t, NewSecondarySource(here, there, NoBase(), allUUIDs(here)).Unusable)

	renamed := there.Store
	renamed.Name = "disk-c" // the same store all the same
	same, err := NewReplica(renamed, destinationReplica)
	require.NoError(t, err)
	_, err = PlanRebuild(same, there, NoBase(), Options{})
	require.ErrorContains(t, err, "both source and destination")
	require.Contains(t, NewSecondarySource(same, there, NoBase(), allUUIDs(same)).Unusable, "the same replica")

	// Two replicas of one store are distinct.
	two := storeOf(t, drawn+"  snap:vol-1-r-0a1b2c3d-snap-s1 own=a/1\n    lvol:vol-1-r-0a1b2c3d record=none\n")
	one, err := NewReplica(two, "vol-1-r-0a1b2c3d")
	require.NoError(t, err)
	other, err := NewReplica(two, destinationReplica)
	require.NoError(t, err)
	_, err = PlanRebuild(one, other, NoBase(), Options{})
	require.NoError(t, err)
}

// On a host without records none is missing.
func TestNoMissingRecordWithoutRecords(t *testing.T) {
	store := storeOf(t, "  image:base\n  s1\n    head\n")
	store.Proves, store.Records = false, false
	plan, err := repairOf(t, store, ImageBase("base"))
	require.NoError(t, err)
	require.Len(t, plan.Operations, 1)
	require.Equal(t, VerbGraft, plan.Operations[0].Verb)

	r, err := NewReplica(storeOf(t, "  image:base\n    s1\n      head\n"), destinationReplica)
	require.NoError(t, err)
	require.Contains(t, Audit(r, Base{}).Notices, "the head does not record backing image base")
	r.Store.Records = false
	require.Empty(t, Audit(r, Base{}).Notices)
}

func TestImageOfVolumeSizeFits(t *testing.T) {
	require.Empty(t, auditOf(t, "  image:base size=8\n    s1\n      head record=base\n", Base{}).Violations)
	audit := auditOf(t, "  image:base size=8\n  s1\n    head record=base\n", Base{})
	require.Len(t, audit.Violations, 1)
	require.True(t, audit.Violations[0].Repairable)
}

// If all sources are hurt the first one is the primary; one that is only unproven is
// none.
func TestPickPrimaryAmongHurtSources(t *testing.T) {
	replica := func(drawn string) Replica {
		r, err := NewReplica(storeOf(t, drawn), destinationReplica)
		require.NoError(t, err)
		return r
	}
	hurt := replica("  image:base\n  s1\n    head record=base\n")
	unready := replica("  image:base\n    s1\n      head record=base\n")
	for i := range unready.Store.Lvols {
		if unready.Store.Lvols[i].Image.UUID != "" {
			unready.Store.Lvols[i].Image.Unready = "failed"
		}
	}
	primary, flaws := PickPrimary(ImageBase("base"), []Replica{hurt, hurt}, storeOf(t, ""))
	require.Equal(t, 0, primary)
	require.Error(t, flaws[0])
	primary, flaws = PickPrimary(ImageBase("base"), []Replica{unready, hurt}, storeOf(t, ""))
	require.Equal(t, 1, primary)
	require.Error(t, flaws[0])
}

// A host that proves but records no attributes does not contradict any.
func TestAttributesComparedIfBothRecord(t *testing.T) {
	for _, records := range []bool{true, false} {
		primary, err := NewReplica(storeOf(t, "  s1 own=a/1 at=5\n    head\n"), destinationReplica)
		require.NoError(t, err)
		store := storeOf(t, "  s1 own=a/1\n    head\n")
		store.UUID, store.Records = "another", records
		other, err := NewReplica(store, destinationReplica)
		require.NoError(t, err)
		onPrimary, onOther := SecondaryProofCandidates(primary, other, NoBase(), allUUIDs(primary))
		if records {
			require.Empty(t, onPrimary)
			continue
		}
		require.Len(t, onPrimary, 1)
		require.Len(t, onOther, 1)
		onPrimary, _ = SecondaryProofCandidates(other, primary, NoBase(), allUUIDs(other))
		require.Len(t, onPrimary, 1)
	}
}

func TestReserveIsPercentage(t *testing.T) {
	for reserve, ok := range map[float64]bool{0: true, 0.5: true, 100: false, 99: true, -1: false, -0.001: false, 100.001: false, 101: false, math.NaN(): false, math.Inf(1): false, math.Inf(-1): false} {
		s := parseFixture(t, "requested none\nsource\n  s1 own=a/1\n    head record=none\ndestination\n")
		s.options.ReservePercent = reserve
		_, err := s.plan()
		if ok {
			require.NoError(t, err, reserve)
		} else {
			require.Error(t, err, reserve)
		}
		if reserve == 100 {
			require.ErrorContains(t, err, "too little space", "a percentage, and too much of one here")
		} else if !ok {
			require.ErrorContains(t, err, "expected 0 to 100", reserve)
		}
	}
}

// An image that Longhorn downloads has an image's name with a suffix; a replica with
// that suffix is no image.
func TestDownloadRecognizedByPrefixAndSuffix(t *testing.T) {
	survey, err := NewSurvey(storeOf(t, "  lvol:vol-7-temp-head\n  filling:base\n  lvol:bi-vol\n"))
	require.NoError(t, err)
	require.Len(t, survey.Filling, 1)
	require.Equal(t, ImageLvolName("base", survey.Store.UUID)+imageTempSuffix, survey.Filling[0].Name)
}

// A size that is exactly the minimum is allowed.
func TestSizesMustBeWholeClusters(t *testing.T) {
	revert, err := PlanRevert(replicaOn(t, "  s1\n    head record=none\n"), "s1", fixtureSize*proofCluster)
	require.NoError(t, err, "the size that it has can be said")
	require.EqualValues(t, fixtureSize*proofCluster, revert.Size)
	// An in-flight lvol that holds data or is read-only is no stand-in.
	for _, left := range []string{"flight:0badcafe record=base own=?/1", "spacer:0badcafe record=base"} {
		revert, err = PlanRevert(replicaOn(t, "  s1\n    "+left+"\n"), "s1", fixtureSize*proofCluster)
		require.NoError(t, err)
		require.Empty(t, revert.StandIns, left)
		require.Empty(t, revert.Record, left)
	}

	store := storeOf(t, "  image:base size=8\n")
	_, err = PlanCreation(store, "vol-3-r-0a1b2c3d", 8*proofCluster, ImageBase("base"))
	require.NoError(t, err)
	_, err = PlanCreation(store, "vol-3-r-0a1b2c3d", 7*proofCluster, ImageBase("base"))
	require.ErrorContains(t, err, "more than the")
	for _, size := range []uint64{0, 8*proofCluster + 1} {
		_, err = PlanCreation(store, "vol-3-r-0a1b2c3d", size, ImageBase("base"))
		require.ErrorContains(t, err, "expected a multiple")
	}
	store.ClusterSize = 0 // it does not say
	_, err = PlanCreation(store, "vol-3-r-0a1b2c3d", 8*proofCluster, ImageBase("base"))
	require.ErrorContains(t, err, "expected a multiple")
}
