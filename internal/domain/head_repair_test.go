package domain

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// BUG 7 (rules 1, 10). The head of a replica without snapshots that lost its image can
// be repaired by a graft, like an ancestor, but was reported as not repairable.
func TestBug7_LooseHeadWithoutSnapshotsRepairable(t *testing.T) {
	s := parseFixture(t, "source\n  image:base\n    head\ndestination\n  image:base\n  head\n")
	violations := s.violations(t, ImageBase("base"))
	require.Len(t, violations, 1)
	require.Equal(t, RuleAncestorParent, violations[0].Rule)
	require.True(t, violations[0].Repairable)
}
