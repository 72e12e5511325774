package domain

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestVolumeIsNoLinkedCloneOfItself: the entry point would be on the snapshot that is grafted
// onto it, a cycle.
func TestVolumeIsNoLinkedCloneOfItself(t *testing.T) {
	const tree = "  s1 own=a/2\n    s2 own=b/1\n      head\n"
	for _, snapshot := range []string{"s1", "s2"} {
		own := CloneBase("vol-1", snapshot)
		said := own.String() + " is no base of replica vol-1-r-"
		t.Run("rebuild, "+snapshot, func(t *testing.T) {
			f := parseFixture(t, "options accept-hurt-source\nrequested "+own.Record()+"\nsource\n"+tree+"destination\n"+tree)
			_, err := f.plan()
			requireRefusal(t, err, said)
		})
		t.Run("repair, "+snapshot, func(t *testing.T) {
			r, err := NewReplica(storeOf(t, tree), destinationReplica)
			require.NoError(t, err)
			_, err = PlanRepair(r, own)
			requireRefusal(t, err, said)
		})
		t.Run("audit, "+snapshot, func(t *testing.T) {
			a := auditOf(t, tree, own)
			require.Len(t, a.Violations, 1)
			require.Contains(t, a.Violations[0].Detail, said)
			require.False(t, a.Violations[0].Repairable)
			require.False(t, a.Base.Known())
		})
		t.Run("creation, "+snapshot, func(t *testing.T) {
			_, err := PlanCreation(storeOf(t, tree), "vol-1-r-99999999", 8*proofCluster, own)
			requireRefusal(t, err, said)
		})
	}
}
