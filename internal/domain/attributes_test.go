package domain

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// BUG 8. From a source that records no attributes to a host that does, every
// snapshot is sealed as user_created=false: Longhorn purges those.
func TestBug8_ASnapshotOfASourceThatRecordsNothingIsSealedAsUserCreated(t *testing.T) {
	s := parseScene(t, "said none\nsource upstream\n  s1 own=a/1\n    head\ndestination\n")
	plan := s.mustPlan(t)
	require.True(t, plan.Operations[operationAt(t, plan, VerbSeal, "new snapshot s1")].Attributes.UserCreated)
}
