package domain

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// BUG 8. A copy from a source without attributes to a host with attributes was sealed
// as user_created=false: Longhorn purges such snapshots.
func TestBug8_SealsAsUserCreatedWithoutRecords(t *testing.T) {
	s := parseFixture(t, "requested none\nsource upstream\n  s1 own=a/1\n    head\ndestination\n")
	plan := s.mustPlan(t)
	require.True(t, plan.Operations[operationAt(t, plan, VerbSeal, "new snapshot s1")].Attributes.UserCreated)
}

// The name of a system snapshot shows that no user has created it.
func TestSealsSystemSnapshotAsSystemWithoutRecords(t *testing.T) {
	s := parseFixture(t, "requested none\nsource upstream\n  rebuild-0badcafe own=a/1\n    rebuild-mine own=b/1\n      head\ndestination\n")
	plan := s.mustPlan(t)
	attributes := func(name string) Attributes {
		return plan.Operations[operationAt(t, plan, VerbSeal, "new snapshot "+name)].Attributes
	}
	require.False(t, attributes("rebuild-0badcafe").UserCreated)
	require.True(t, attributes("rebuild-mine").UserCreated, "a user's, whatever it begins with")
}
