package executor

import (
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rootgraft/rebuild/internal/domain"
)

// drawOperations draws a build stage: every snapshot is created, copied, grafted and
// sealed, and grafted only once its parent is sealed.
func drawOperations(t *rapid.T) (operations []domain.Operation) {
	snapshots := rapid.IntRange(1, 8).Draw(t, "snapshots")
	seals := make([]int, snapshots)
	for i := range snapshots {
		create := len(operations)
		graftAfter := []int{create + 1}
		if i > 0 {
			if parent := rapid.IntRange(-1, i-1).Draw(t, "parent"); parent >= 0 {
				graftAfter = append(graftAfter, seals[parent])
			}
		}
		operations = append(operations,
			domain.Operation{Verb: domain.VerbCreate, Stage: domain.StageBuild},
			domain.Operation{Verb: domain.VerbCopy, Stage: domain.StageBuild, After: []int{create}},
			domain.Operation{Verb: domain.VerbGraft, Stage: domain.StageBuild, After: graftAfter},
			domain.Operation{Verb: domain.VerbSeal, Stage: domain.StageBuild, After: []int{create + 2}},
		)
		seals[i] = create + 3
	}
	// An operation of another stage is not this scheduler's.
	return append(operations, domain.Operation{Verb: domain.VerbClone, Stage: domain.StageCreateHead})
}

// Whatever order the workers are in, every operation is done once, after those that it
// comes after, and no more copies go on at once than there may be.
func TestSchedulerKeepsOrderAndLimits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		operations := drawOperations(t)
		most := rapid.IntRange(1, 4).Draw(t, "copies at once")
		s := newScheduler(operations, domain.StageBuild, most, func() int { return most })
		require.Equal(t, len(operations)-1, s.remaining)

		var running, done []int
		copies := func() (n int) {
			for _, i := range running {
				if operations[i].Verb == domain.VerbCopy {
					n++
				}
			}
			return n
		}
		for len(done) < len(operations)-1 {
			s.mu.Lock()
			i, ok := 0, false
			if len(running) < s.workers() {
				i, ok = s.pop()
			}
			s.mu.Unlock()
			if ok {
				for _, before := range operations[i].After {
					require.Contains(t, done, before, "%d begins before %d is done", i, before)
				}
				require.NotContains(t, done, i)
				running = append(running, i)
				require.LessOrEqual(t, copies(), most)
				require.LessOrEqual(t, s.filling, 2*most)
			}
			if !ok || rapid.Bool().Draw(t, "one ends") {
				require.NotEmpty(t, running, "nothing can go on, and %d operations are left", s.remaining)
				at := rapid.IntRange(0, len(running)-1).Draw(t, "which")
				done = append(done, running[at])
				s.done(running[at])
				running = slices.Delete(running, at, at+1)
			}
		}
		_, ok := s.next()
		require.False(t, ok)
	})
}

// With one copy at a time the order is the plan's: the n-th call is always the same.
func TestSchedulerFollowsThePlanOneByOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		operations := drawOperations(t)
		s := newScheduler(operations, domain.StageBuild, 1, func() int { return 1 })
		require.Equal(t, 1, s.workers())
		var order []int
		for i, ok := s.next(); ok; i, ok = s.next() {
			order = append(order, i)
			s.done(i)
		}
		require.True(t, slices.IsSorted(order), "%v", order)
		require.Len(t, order, len(operations)-1)
	})
}

// A seal that has made its snapshot lets go on what comes after it before its own end.
func TestSchedulerUnlocksBeforeTheEnd(t *testing.T) {
	operations := []domain.Operation{
		{Verb: domain.VerbSeal, Stage: domain.StageBuild},
		{Verb: domain.VerbGraft, Stage: domain.StageBuild, After: []int{0}},
	}
	s := newScheduler(operations, domain.StageBuild, 2, func() int { return 2 })
	first, ok := s.next()
	require.True(t, ok)
	s.unlock(first)
	second, ok := s.next()
	require.True(t, ok)
	require.Equal(t, 1, second)
	s.done(first)
	s.done(second)
	require.Zero(t, s.remaining)
}

func TestSchedulerGivesNothingOutOnceAbandoned(t *testing.T) {
	operations := []domain.Operation{
		{Verb: domain.VerbSeal, Stage: domain.StageBuild},
		{Verb: domain.VerbGraft, Stage: domain.StageBuild, After: []int{0}},
	}
	s := newScheduler(operations, domain.StageBuild, 2, func() int { return 2 })
	_, ok := s.next()
	require.True(t, ok)
	var waiting sync.WaitGroup
	waiting.Go(func() {
		_, ok := s.next()
		require.False(t, ok)
	})
	s.abandon()
	waiting.Wait()
}
