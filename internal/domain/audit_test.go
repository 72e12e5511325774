package domain

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func auditOf(t *testing.T, drawn string, requested Base) ReplicaAudit {
	t.Helper()
	r, err := NewReplica(storeOf(t, drawn), destinationReplica)
	require.NoError(t, err)
	return Audit(r, requested)
}

func TestAuditFindings(t *testing.T) {
	type found struct {
		subject, rule string
		repairable    bool
		detail        string
	}
	base, none, unknown := ImageBase("base"), NoBase(), Base{}
	for what, c := range map[string]struct {
		store     string
		requested Base
		want      []found
	}{
		"nothing, with an image": {"  image:base\n    s1 own=a/2\n      s2\n        head record=base\n", unknown, nil},
		"nothing, without one":   {"  s1\n    s2\n      head record=none\n", unknown, nil},
		"the image is unknown":   {"  s1\n    head\n", unknown, nil},
		"nothing but a head":     {"  image:base\n    head record=base\n", unknown, nil},
		"the lost image, by the record": {
			"  image:base\n  s1\n    s2\n      head record=base\n", unknown,
			[]found{{"s1", RuleAncestorParent, true, "lvol vol-1-r-4e5f6a7b-snap-s1 has no parent instead of backing-image:base"}},
		},
		"the lost image, by request": {
			"  image:base\n  s1\n    head\n", base,
			[]found{{"s1", RuleAncestorParent, true, "no parent instead of backing-image:base"}},
		},
		"the lost image of a head without snapshots": {
			"  image:base\n  head record=base\n", unknown,
			[]found{{"head", RuleAncestorParent, true, "lvol vol-1-r-4e5f6a7b has no parent instead of backing-image:base"}},
		},
		"the lost image, gone from the store, too": {
			"  s1\n    head record=base\n", unknown,
			[]found{{"backing-image:base", RuleImage, false, "not on lvstore disk-b"}, {"s1", RuleAncestorParent, false, "no parent"}},
		},
		"the image is writable": {
			"  image:base writable\n  s1\n    head record=base\n", unknown,
			[]found{{"backing-image:base", RuleImage, false, "writable"}, {"s1", RuleAncestorParent, false, "no parent"}},
		},
		"the image is too large": {
			"  image:base size=9\n  s1\n    head record=base\n", unknown,
			[]found{{"backing-image:base", RuleSize, false, "9437184 bytes, more than the 8388608"}, {"s1", RuleAncestorParent, false, "no parent"}},
		},
		"a parent image that is too large": {
			"  image:base size=9\n    s1\n      head record=base\n", unknown,
			[]found{{"backing-image:base", RuleSize, false, "more than"}},
		},
		"record and lineage disagree": {
			"  image:base\n    s1\n      head record=other\n", unknown,
			[]found{{"backing-image", RuleImage, false, "the record on head vol-1-r-4e5f6a7b says backing image other, but the lineage of replica vol-1-r-4e5f6a7b says backing image base"}},
		},
		"it has an image, and should have none": {
			"  image:base\n    s1\n      head\n", none,
			[]found{{"backing-image", RuleImage, false, "the request says no backing image, but the lineage"}},
		},
		"two images": {
			"  image:base\n    s1\n      head\n  image:other\n    s2\n", unknown,
			[]found{{"backing-image", RuleImage, false, "base"}, {"s1", RuleOneRoot, false, "2 ancestors: s1 (backing-image:base), s2 (backing-image:other)"}},
		},
		"no head": {"  image:base\n    s1\n", unknown, []found{{"head", RuleHead, false, "has none"}}},
		"a loose snapshot beside the ancestor": {
			"  image:base\n    s1\n      head\n  s2\n", unknown,
			[]found{{"s2", RuleOneRoot, false, "lvol vol-1-r-4e5f6a7b-snap-s2 has no parent, but the ancestor is snapshot s1"}},
		},
		"two loose ones": {
			"  image:base\n  s1\n    head record=base\n  s2\n", unknown,
			[]found{{"s1", RuleOneRoot, false, "one of 2 ancestors: s1 (no parent), s2 (no parent)"}},
		},
		"a loose head": {
			"  image:base\n    s1\n  head\n", unknown,
			[]found{{"head", RuleOneRoot, false, "it has no parent instead of a snapshot"}},
		},
		"a head on the image, beside the snapshots": {
			"  image:base\n    s1\n    head\n", unknown,
			[]found{{"head", RuleOneRoot, false, "it has backing-image:base"}},
		},
		"a foreign parent": {
			"  image:base\n    s1\n      head\n  snap:vol-10-snap-a\n    s2\n", unknown,
			[]found{{"s2", RuleParent, false, "the parent of lvol vol-1-r-4e5f6a7b-snap-s2 is vol-10-snap-a, which is no snapshot of replica vol-1-r-4e5f6a7b"}},
		},
		"a child smaller than its parent": {
			"  image:base\n    s1\n      s2 size=7\n        head size=7\n", unknown,
			[]found{{"s2", RuleSize, false, "7340032 bytes, fewer than its parent vol-1-r-4e5f6a7b-snap-s1 with 8388608"}},
		},
		"something in flight": {
			"  image:base\n    s1\n      head\n  flight:0badcafe own=?/1\n", unknown,
			[]found{{"vol-1-r-4e5f6a7b-rebuilding-0badcafe", RuleInFlight, false, "left by an interrupted run"}},
		},
		"a spacer under the ancestor": {
			"  image:base\n    spacer:0badcafe\n      s1\n        head record=base\n", unknown,
			[]found{{"s1", RuleAncestorParent, true, "has lvol:vol-1-r-4e5f6a7b-rebuilding-0badcafe instead of backing-image:base"}, {"vol-1-r-4e5f6a7b-rebuilding-0badcafe", RuleInFlight, false, ""}},
		},
		"two spacers under another": {
			"  image:base\n    s1\n      spacer:00000001\n        spacer:00000002\n          s2\n            head record=base\n", unknown,
			[]found{{"s2", RuleParent, true, "lvol:vol-1-r-4e5f6a7b-rebuilding-00000002 instead of s1"}, {"vol-1-r-4e5f6a7b-rebuilding-00000001", RuleInFlight, false, ""}, {"vol-1-r-4e5f6a7b-rebuilding-00000002", RuleInFlight, false, ""}},
		},
		"a spacer on nothing, of an unknown image": {
			"  spacer:0badcafe\n    s1\n      head\n", unknown,
			[]found{{"s1", RuleAncestorParent, false, "which an interrupted graft has left"}, {"vol-1-r-4e5f6a7b-rebuilding-0badcafe", RuleInFlight, false, ""}},
		},
		"a spacer with data is none": {
			"  image:base\n    spacer:0badcafe own=?/1\n      s1\n        head record=base\n", unknown,
			[]found{{"s1", RuleParent, false, "is vol-1-r-4e5f6a7b-rebuilding-0badcafe, which is no snapshot"}, {"vol-1-r-4e5f6a7b-rebuilding-0badcafe", RuleInFlight, false, ""}},
		},
		"a degraded lvol": {
			"  image:base\n    s1\n      head\n  s2 degraded\n", unknown,
			[]found{{"s2", RuleDegraded, false, "lvol vol-1-r-4e5f6a7b-snap-s2 is degraded: the external snapshot that it reads through to is missing"}},
		},
		"a degraded snapshot that sleeps": {
			"  image:base\n    s1\n      head\n  s2 degraded asleep\n", unknown,
			[]found{{"s2", RuleDegraded, false, "lvol vol-1-r-4e5f6a7b-snap-s2 is degraded"}},
		},
		"an ancestor on an external snapshot, of a volume without an image": {
			"  s1 external=nvme0n1\n    head record=none\n", unknown,
			[]found{{"s1", RuleParent, false, "lvol vol-1-r-4e5f6a7b-snap-s1 reads through to external snapshot nvme0n1: a part of its bytes is outside of lvstore disk-b"}},
		},
		"a head on an external snapshot": {
			"  head external=nvme0n1 record=none\n", unknown,
			[]found{{"head", RuleParent, false, "lvol vol-1-r-4e5f6a7b reads through to external snapshot nvme0n1"}},
		},
		"a spacer on an external snapshot": {
			"  spacer:0badcafe external=nvme0n1\n    s1\n      head record=none\n", unknown,
			[]found{{"s1", RuleParent, false, "is vol-1-r-4e5f6a7b-rebuilding-0badcafe, which is no snapshot"}, {"vol-1-r-4e5f6a7b-rebuilding-0badcafe", RuleInFlight, false, ""}},
		},
	} {
		t.Run(what, func(t *testing.T) {
			got := auditOf(t, c.store, c.requested).Violations
			require.Len(t, got, len(c.want), fmt.Sprint(got))
			for i, want := range c.want {
				require.Equal(t, [3]any{want.subject, want.rule, want.repairable}, [3]any{got[i].Subject, got[i].Rule, got[i].Repairable}, fmt.Sprint(got))
				require.Contains(t, got[i].Detail, want.detail)
			}
		})
	}
}

func TestAuditNotices(t *testing.T) {
	for what, c := range map[string]struct {
		store string
		says  string
	}{
		"nobody knows the image":     {"  s1\n    head\n", "is not known"},
		"the head lacks the record":  {"  image:base\n    s1\n      head\n", "does not record backing image base"},
		"it has a linked clone":      {"  image:base\n    s1\n      head record=base\n      lvol:vol-1-r-4e5f6a7b-clone-ep-1\n", "foreign lvol vol-1-r-4e5f6a7b-clone-ep-1 is a clone of vol-1-r-4e5f6a7b-snap-s1"},
		"it has a foreign clone":     {"  image:base\n    s1\n      head record=base\n      lvol:vol-7\n", "vol-7"},
		"all is as it should be":     {"  image:base\n    s1\n      head record=base\n", ""},
		"the image has other clones": {"  image:base\n    lvol:vol-7\n    s1\n      head record=base\n", ""},
	} {
		t.Run(what, func(t *testing.T) {
			a := auditOf(t, c.store, Base{})
			require.Empty(t, a.Violations)
			if c.says == "" {
				require.Empty(t, a.Notices)
				return
			}
			require.Len(t, a.Notices, 1)
			require.Contains(t, a.Notices[0], c.says)
		})
	}
}

// TestAuditOfRebuiltReplicaIsClean: an audit finds no violation after a rebuild.
func TestAuditOfRebuiltReplicaIsClean(t *testing.T) {
	s := parseFixture(t, "source\n  image:base\n    s1 own=a/1\n      s2 own=b/1\n      s3 own=c/1\n        head record=base\ndestination\n  image:base\n  s1 own=a/1\n    flight:0badcafe\n")
	after := s.play(t, s.mustPlan(t))
	r, err := NewReplica(after.destination, destinationReplica)
	require.NoError(t, err)
	require.Empty(t, Audit(r, Base{}).Violations)
}
