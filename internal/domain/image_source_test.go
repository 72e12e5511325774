package domain

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// BUG 4 (rules 3 order, 9). The copy of a writable image was planned; SPDK copies from
// read-only lvols only, so it failed after the head was deleted.
func TestBug4_WritableSourceImageRefused(t *testing.T) {
	s := parseFixture(t, "source\n  image:base writable\n    s1 own=a/1\n      head\ndestination\n  s1 own=x/1\n    head\n")
	_, err := s.plan()
	requireRefusal(t, err, "writable", "disk-a")
}

// BUG 5. Verify did not report a writable image on the destination, which PlanRebuild
// refuses.
func TestBug5_WritableImageIsViolation(t *testing.T) {
	s := parseFixture(t, "source\n  image:base\n    s1 own=a/1\n      head\ndestination\n  image:base writable\n    s1 own=a/1\n      head\n")
	violations := s.violations(t, ImageBase("base"))
	require.Len(t, violations, 1)
	require.Equal(t, RuleImage, violations[0].Rule)
}

// BUG 6. The order of warnings was that of the listing.
func TestBug6_WarningsIndependentOfListingOrder(t *testing.T) {
	s := parseFixture(t, "source\n  image:base\n    s1 own=a/1\n      head\ndestination\n  filling:base\n  lvol:bi-rebuilding-0badcafe\n")
	warnings := s.mustPlan(t).Warnings
	slices.Reverse(s.destination.Lvols)
	require.Equal(t, warnings, s.mustPlan(t).Warnings, strings.Join(warnings, "\n"))
}

// BUG 11. Images with equal records (UUID and SHA-512) were refused because their
// allocation differed (a download writes zeros, a copy leaves holes).
func TestBug11_EqualImagesMayDifferInAllocation(t *testing.T) {
	s := parseFixture(t, "source\n  image:base own=sparse/3\n    s1 own=a/1\n      head\ndestination\n  image:base own=full/4\n")
	_, err := s.plan()
	require.NoError(t, err)
}
