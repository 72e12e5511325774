package domain

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// BUG 1: two snapshots whose names have the same prefix before "-snap-" were taken for
// a replica of their own if there was no head to decide, which is the state of every
// destination during a rebuild. NewDestination corrects it.
func TestBug1_RebuildWithAmbiguousNamesEnds(t *testing.T) {
	s := parseFixture(t, "source\n  image:base\n    daily-snap-1 own=a/1\n      daily-snap-2 own=b/1\n        head\ndestination\n  image:base\n")
	plan := s.mustPlan(t)
	model := NewStoreModel(s.destination, destinationReplica)
	for _, o := range plan.Operations {
		require.NoError(t, model.Apply(s.source, o))
		s.destination = model.Listing()
		_, err := s.plan() // what the engine would do after a crash
		require.NoError(t, err, "after %s %s", o.Verb, o.Name)
	}
}

// Two daily snapshots were deleted on the source; the destination still has them, and a
// head. That was planned. Once the head was deleted they were ambiguous, and a run
// after a crash was refused forever (rules 5, 8). Their parent s0 is unambiguous, so
// lineage decides.
func TestBug1_NoRefusalOfAmbiguousNamesAfterCrash(t *testing.T) {
	s := parseFixture(t, `
source
  image:base
    s0 own=a/1
      head
destination
  image:base
    s0 own=a/1
      daily-snap-1 own=b/1
        daily-snap-2 own=c/1
          head own=?/1
`)
	plan := s.mustPlan(t)
	for i, o := range plan.Operations {
		after, err := Apply(s.destination, s.source, destinationReplica, o)
		require.NoError(t, err)
		s.destination = after
		_, err = s.plan()
		require.NoError(t, err, "after operation %d, %s %s", i, o.Verb, o.Name)
	}
}

// Without leftovers: the new ancestor has the image as its parent and no head, so its
// replica would be ambiguous. This must be refused before any change.
func TestBug1_FutureAmbiguousAncestorRefusedFirst(t *testing.T) {
	s := parseFixture(t, "source\n  image:base\n    x-snap-y own=a/1\n      head\ndestination\n  image:base\n  lvol:vol-1-r-4e5f6a7b-snap-x\n")
	plan, err := s.plan()
	if err != nil {
		return
	}
	model := NewStoreModel(s.destination, destinationReplica)
	for _, o := range plan.Operations {
		require.NoError(t, model.Apply(s.source, o))
		s.destination = model.Listing()
		_, err := s.plan()
		require.NoError(t, err, "after %s %s", o.Verb, o.Name)
	}
}

// The leftovers of a replica without a head could not be listed (audit, tree, gc,
// replica delete: NewReplica), though there is no other replica on the store.
func TestBug1_LoneLeftoversCanBeListed(t *testing.T) {
	r, err := NewReplica(storeOf(t, "  image:base\n    s0\n      daily-snap-1\n        daily-snap-2\n"), destinationReplica)
	require.NoError(t, err)
	require.Len(t, r.Snapshots, 3)
}
