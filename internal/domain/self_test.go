package domain

import "testing"

// BUG 3 (rule 3). A replica as its own destination: with Full the plan deleted the
// source. (app refuses it; PlanRebuild is exported for embedders.)
func TestBug3_RebuildFromItselfRefused(t *testing.T) {
	s := parseFixture(t, "requested none\nsource\n  s1 own=a/2\n    head\ndestination\n")
	r, err := NewReplica(s.source, sourceReplica)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := PlanRebuild(r, r, s.requested, Options{Full: true})
	if err == nil {
		t.Fatalf("the source would be deleted:\n%s", planText(plan))
	}
	requireRefusal(t, err, sourceReplica)
}
