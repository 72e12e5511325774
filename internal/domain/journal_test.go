package domain

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// BUG 2 (rule 7). The journal was believed although map and checksum differed.
func TestBug2_ChecksumOverridesJournal(t *testing.T) {
	for _, own := range []string{"own=other/2", "own=a,other/2", "own=other,a/2"} {
		s := parseFixture(t, "requested none\noptions sealed=s1/2\nsource\n  s1 own=a/2\n    head\ndestination\n  s1 "+own+"\n    head\n")
		require.Equal(t, ActionCopy, stepOf(t, s.mustPlan(t), "s1").Action, own)
	}
}
