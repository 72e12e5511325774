package app_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/rootgraft/rebuild/internal/app"
)

var (
	seed  = flag.Uint64("seed", 0, "play the one pair of faults that is drawn from this seed, as a failure has printed it")
	pairs = flag.Int("pairs", 100_000, "how many pairs of faults are played with -soak")
)

// TestTwoFaultsAtRandom has two faults befall a rebuild, in one run or in two, and
// rebuilds again. Each pair is drawn from a seed of its own, which a failure prints.
// Where copies go on beside each other, as in three of four, a seed draws the same
// pair, but which call is the n-th may differ.
func TestTwoFaultsAtRandom(t *testing.T) {
	failTwice(t, 1200, *pairs, faultKinds, pointsInBubble, failAsDrawn)
}

// TestTwoCallsFailAtRandom is TestTwoFaultsAtRandom for the JSON-RPC calls of simulated
// targets. One such pair takes as long as twenty of the others.
func TestTwoCallsFailAtRandom(t *testing.T) {
	points := func(t *testing.T, p trial) []faultPoint {
		p.verify = verifyCounts
		return callsInBubble(t, p)
	}
	failTwice(t, 40, *pairs/20, callFaultKinds, points, failCallsAsDrawn)
}

func failTwice(t *testing.T, some, all int, kinds []faultKind, points pointsOf, fail func(t *testing.T, p trial, again string) int) {
	t.Helper()
	known := &drawing{kinds: kinds, points: points}
	one := func(t *testing.T, seed uint64) int {
		return fail(t, known.pair(t, seed), fmt.Sprintf("play it again: go test ./internal/app -run '%s$' -seed %d", strings.SplitN(t.Name(), "/", 2)[0], seed))
	}
	if *seed != 0 {
		one(t, *seed)
		return
	}
	const shards = 4
	first, n := uint64(1), some
	switch {
	case *soak:
		first, n = rand.Uint64()>>1, all
	case raceDetector:
		n = some / 40
	}
	var struck [3]atomic.Int64 // by how many faults struck
	t.Cleanup(func() {
		t.Logf("%d pairs of faults from seed %d on: both struck in %d, one in %d", n, first, struck[2].Load(), struck[1].Load())
	})
	for shard := range shards {
		t.Run(fmt.Sprint("part ", shard+1), func(t *testing.T) {
			t.Parallel()
			for i := shard; i < n; i += shards {
				struck[one(t, first+uint64(i))].Add(1)
			}
		})
	}
}

// drawing draws pairs of faults.
type drawing struct {
	kinds  []faultKind
	points pointsOf
	known  sync.Map // points, by world, flavours and verification
}

// pointsOf are the calls of a rebuild that nothing befalls.
type pointsOf func(*testing.T, trial) []faultPoint

func (d *drawing) pair(t *testing.T, seed uint64) trial {
	r := rand.New(rand.NewPCG(seed, 0))
	world := draw(r, faultScenarios)
	p := trial{
		world: world, flavours: draw(r, world.flavours()), parallel: draw(r, []int{1, app.DefaultParallel, app.DefaultParallel, app.DefaultParallel}),
		verify: draw(r, []verification{verifyCounts, verifyCounts, verifyProof, verifyViews}),
	}
	points := d.pointsOnce(t, p)
	first, second := d.strike(r, draw(r, points)), d.strike(r, draw(r, points))
	if r.IntN(3) == 0 {
		p.runs = [][]injection{{first}, {second}}
		return p
	}
	// The calls after a fault are others than those of a rebuild that nothing
	// befalls. Most that is of interest comes soon.
	second.after = 1 + r.IntN(draw(r, []int{3, 12, len(points)}))
	p.runs = [][]injection{{first, second}}
	return p
}

func draw[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

func (d *drawing) strike(r *rand.Rand, p faultPoint) injection {
	for {
		s := injection{faultPoint: p, kind: draw(r, d.kinds)}
		if s.kind.canBefall(p) {
			s.lasts = s.kind.lasts() && r.IntN(3) == 0
			return s
		}
	}
}

func (d *drawing) pointsOnce(t *testing.T, p trial) []faultPoint {
	key := p.place()
	if known, ok := d.known.Load(key); ok {
		return known.([]faultPoint)
	}
	points := d.points(t, p)
	d.known.Store(key, points)
	return points
}

// failAsDrawn says how many of the faults struck.
func failAsDrawn(t *testing.T, p trial, again string) (struck int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		defer func() {
			if t.Failed() {
				t.Logf("%s\nit is: %s", again, p)
			}
		}()
		b, request := p.build(t)
		after := newAftermath(t, p, memoryEnvironment{b, request})
		for _, injections := range p.runs {
			seen, _, err := runWithFaults(b, request, injections...)
			after.look(seen, p.verify, err)
			after.check()
			struck += len(seen.struck)
		}
		after.converge()
	})
	return struck
}

func failCallsAsDrawn(t *testing.T, p trial, again string) (struck int) {
	t.Helper()
	p.verify = verifyCounts // others open lvols, which takes sockets of the machine
	synctest.Test(t, func(t *testing.T) {
		defer func() {
			if t.Failed() {
				t.Logf("%s\nit is: %s", again, p)
			}
		}()
		on := newTargets(t, p)
		defer on.end()
		after := newAftermath(t, p, on)
		for _, injections := range p.runs {
			seen, err := runWithCallFaults(on, injections...)
			after.look(seen, p.verify, err)
			after.check()
			struck += len(seen.struck)
		}
		after.converge()
	})
	return struck
}
