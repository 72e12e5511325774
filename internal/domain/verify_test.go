package domain

import (
	"testing"

	"github.com/stretchr/testify/require"
)

const verifiedSource = `
source
  image:base
    s1 own=a/2 at=1
      s2 own=b/1 at=2
        head record=base
destination
`

func TestVerifyViolations(t *testing.T) {
	type found struct {
		subject, rule string
		repairable    bool
		detail        string
	}
	for what, c := range map[string]struct {
		destination string
		want        []found
	}{
		"nothing": {"  image:base\n    s1 own=a/2 at=1\n      s2 own=b/1 at=2\n        head record=base\n", nil},
		"the ancestor lost the image": {
			"  image:base\n  s1 own=a/2 at=1\n    s2 own=b/1 at=2\n      head record=base\n",
			[]found{{"s1", RuleAncestorParent, true, "lvol vol-1-r-4e5f6a7b-snap-s1 has no parent instead of backing-image:base"}},
		},
		"the ancestor hangs on another image": {
			"  image:base\n  image:other\n    s1 own=a/2 at=1\n      s2 own=b/1 at=2\n        head record=base\n",
			[]found{{"s1", RuleAncestorParent, true, "backing-image:other instead of backing-image:base"}},
		},
		"the image is gone": {
			"  s1 own=a/2 at=1\n    s2 own=b/1 at=2\n      head record=base\n",
			[]found{{"backing-image:base", RuleImage, false, "not on lvstore disk-b"}, {"s1", RuleAncestorParent, false, "no parent"}},
		},
		"the image is another": {
			"  image:base uuid=x\n    s1 own=a/2 at=1\n      s2 own=b/1 at=2\n        head record=base\n",
			[]found{{"backing-image:base", RuleImage, false, "UUID x instead of uuid-base"}},
		},
		"the image has other bytes": {
			"  image:base own=x/4 uuid=- sha=-\n    s1 own=a/2 at=1\n      s2 own=b/1 at=2\n        head record=base\n",
			[]found{{"backing-image:base", RuleImage, false, "other bytes"}},
		},
		"another is loose": {
			"  image:base\n    s1 own=a/2 at=1\n  s2 own=b/1 at=2\n    head record=base\n",
			[]found{{"s2", RuleParent, true, "lvol vol-1-r-4e5f6a7b-snap-s2 has no parent instead of s1"}},
		},
		"another hangs on the image, too": {
			"  image:base\n    s1 own=a/2 at=1\n    s2 own=b/1 at=2\n      head record=base\n",
			[]found{{"s2", RuleParent, true, "backing-image:base instead of s1"}},
		},
		"another hangs on somebody else's": {
			"  image:base\n    s1 own=a/2 at=1\n  snap:vol-10-snap-a\n    s2 own=b/1 at=2\n      head record=base\n",
			[]found{{"s2", RuleParent, true, "lvol:vol-10-snap-a instead of s1"}},
		},
		"the parent is missing": {
			"  image:base\n    s2 own=b/1 at=2\n      head record=base\n",
			[]found{{"s1", RuleMissing, false, "the source has it"}, {"s2", RuleParent, false, "backing-image:base instead of s1"}},
		},
		"one is missing": {
			"  image:base\n    s1 own=a/2 at=1\n      head record=base\n",
			[]found{{"s2", RuleMissing, false, "the source has it"}, {"head", RuleParent, false, "s1 instead of s2"}},
		},
		"one is extra": {
			"  image:base\n    s1 own=a/2 at=1\n      extra\n      s2 own=b/1 at=2\n        head record=base\n",
			[]found{{"extra", RuleExtra, false, "no such snapshot"}},
		},
		"something is in flight": {
			"  image:base\n    s1 own=a/2 at=1\n      s2 own=b/1 at=2\n        head record=base\n  flight:0badcafe\n  spacer:\n",
			[]found{{"vol-1-r-4e5f6a7b-rebuilding", RuleInFlight, false, "left"}, {"vol-1-r-4e5f6a7b-rebuilding-0badcafe", RuleInFlight, false, "left"}},
		},
		"another size": {
			"  image:base\n    s1 own=a/2 at=1 size=7\n      s2 own=b/1 at=2\n        head record=base\n",
			[]found{{"s1", RuleSize, false, "7340032 bytes instead of 8388608"}},
		},
		"more clusters": {
			"  image:base\n    s1 own=a/3 at=1\n      s2 own=b/1 at=2\n        head record=base\n",
			[]found{{"s1", RuleClusters, false, "3 clusters of its own instead of 2"}},
		},
		"another checksum": {
			"  image:base\n    s1 own=a,x/2 at=1\n      s2 own=b/1 at=2\n        head record=base\n",
			[]found{{"s1", RuleData, false, "map or checksum differs"}},
		},
		"another map": {
			"  image:base\n    s1 own=x,a/2 at=1\n      s2 own=b/1 at=2\n        head record=base\n",
			[]found{{"s1", RuleData, false, "map or checksum differs"}},
		},
		"nothing is proven of one": {
			"  image:base\n    s1 own=?/2 at=1\n      s2 own=b/1 at=2\n        head record=base\n", nil,
		},
		"another time of creation": {
			"  image:base\n    s1 own=a/2 at=9\n      s2 own=b/1 at=2\n        head record=base\n",
			[]found{{"s1", RuleAttributes, false, "2026-01-01T00:09:00Z instead of 2026-01-01T00:01:00Z"}},
		},
		"another creator": {
			"  image:base\n    s1 own=a/2 at=1 system\n      s2 own=b/1 at=2\n        head record=base\n",
			[]found{{"s1", RuleAttributes, false, "by another"}},
		},
		"no head": {
			"  image:base\n    s1 own=a/2 at=1\n      s2 own=b/1 at=2\n",
			[]found{{"head", RuleHead, false, "vol-1-r-4e5f6a7b has none"}},
		},
		"the head hangs loose": {
			"  image:base\n    s1 own=a/2 at=1\n      s2 own=b/1 at=2\n  head record=base\n",
			[]found{{"head", RuleParent, false, "no parent instead of s2"}},
		},
		"the head is larger": {
			"  image:base\n    s1 own=a/2 at=1\n      s2 own=b/1 at=2\n        head size=9 record=base\n",
			[]found{{"head", RuleSize, false, "9437184 bytes instead of 8388608"}},
		},
		"the head has clusters of its own": {
			"  image:base\n    s1 own=a/2 at=1\n      s2 own=b/1 at=2\n        head own=?/1 record=base\n",
			[]found{{"head", RuleClusters, false, "1 clusters of its own instead of 0"}},
		},
		"the head records another image": {
			"  image:base\n    s1 own=a/2 at=1\n      s2 own=b/1 at=2\n        head record=other\n",
			[]found{{"head", RuleRecord, false, "backing image other instead of backing image base"}},
		},
		"the head records none": {
			"  image:base\n    s1 own=a/2 at=1\n      s2 own=b/1 at=2\n        head record=none\n",
			[]found{{"head", RuleRecord, false, "no backing image instead of backing image base"}},
		},
		"the head records nothing: that says nothing": {
			"  image:base\n    s1 own=a/2 at=1\n      s2 own=b/1 at=2\n        head\n", nil,
		},
	} {
		t.Run(what, func(t *testing.T) {
			s := parseFixture(t, verifiedSource+c.destination)
			var got []found
			for _, v := range s.violations(t, ImageBase("base")) {
				got = append(got, found{v.Subject, v.Rule, v.Repairable, v.Detail})
				require.Equal(t, v.Subject+": "+v.Rule+": "+v.Detail, v.String())
			}
			require.Len(t, got, len(c.want), "%v", got)
			for i, want := range c.want {
				require.Contains(t, got[i].detail, want.detail)
				got[i].detail = want.detail
				require.Equal(t, want, got[i])
			}
		})
	}
}

func TestVerifyRefusesUnwantedImage(t *testing.T) {
	s := parseFixture(t, "source\n  s1 own=a/2\n    head\ndestination\n  image:base\n    s1 own=a/2\n      head\n")
	violations := s.violations(t, NoBase())
	require.Len(t, violations, 1)
	require.Equal(t, RuleAncestorParent, violations[0].Rule)
	require.True(t, violations[0].Repairable)
	require.Contains(t, violations[0].Detail, "backing-image:base instead of no parent")
}

func TestVerifyHeadAsAncestor(t *testing.T) {
	s := parseFixture(t, "source\n  image:base\n    head\ndestination\n  image:base\n  head\n")
	violations := s.violations(t, ImageBase("base"))
	require.Len(t, violations, 1)
	require.Equal(t, "head", violations[0].Subject)
	require.Equal(t, RuleAncestorParent, violations[0].Rule)
}

func TestVerifyAttributesIfBothRecord(t *testing.T) {
	for _, flavours := range []string{"source upstream\n%sdestination\n%s", "source\n%sdestination upstream\n%s"} {
		source, destination := "  s1 own=a/2 at=1\n    head\n", "  s1 own=a/2 at=2\n    head\n"
		text := flavours[:len(flavours)-2] + destination
		for i := range text {
			if text[i] == '%' {
				text = text[:i] + source + text[i+2:]
				break
			}
		}
		require.Empty(t, parseFixture(t, text).violations(t, NoBase()))
	}
}

func TestVerifyNeedsWholeSource(t *testing.T) {
	s := parseFixture(t, "source\n  s1 own=a/2\ndestination\n  s1 own=a/2\n    head\n")
	source, destination := s.replicas(t)
	_, err := Verify(source, destination, NoBase())
	requireRefusal(t, err, "no head")
	_, err = VerifySnapshots(source, destination, NoBase())
	requireRefusal(t, err, "no head")
}

func TestVerifySnapshotsWithoutHead(t *testing.T) {
	s := parseFixture(t, verifiedSource+"  image:base\n    s1 own=a/2 at=1\n      s2 own=b/1 at=2\n")
	source, destination := s.replicas(t)
	violations, err := VerifySnapshots(source, destination, ImageBase("base"))
	require.NoError(t, err)
	require.Empty(t, violations)
}
