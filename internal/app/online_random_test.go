package app_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
)

// TestLiveVolumesAtRandom rebuilds replicas of volumes at random: trees, members, what is left
// of the destination, clients, snapshots of users, and up to two faults at any call. Clients
// read what they wrote all the time, and in the end, perhaps after another run, all members
// show the same. Each volume is drawn from a seed of its own, which a failure prints.
func TestLiveVolumesAtRandom(t *testing.T) {
	if *seed != 0 {
		synctest.Test(t, func(t *testing.T) { playLiveVolume(t, *seed) })
		return
	}
	first, n := uint64(1), 60
	switch {
	case *soak:
		first, n = rand.Uint64()>>1, *pairs
	case raceDetector:
		n = 10
	}
	for i := range uint64(n) {
		ok := t.Run(fmt.Sprint("seed ", first+i), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { playLiveVolume(t, first+i) })
		})
		if !ok {
			t.Fatalf("play it again: go test ./internal/app -run 'TestLiveVolumesAtRandom$' -seed %d", first+i)
		}
	}
}

// drawnVolume draws a volume and what happens to it.
type drawnVolume struct {
	*rand.Rand

	*liveFixture
	faults map[int]liveFault // by the number of the call
	alive  int               // members whose host was not killed
	dead   bool              // the engine
	cancel context.CancelCauseFunc
}

func playLiveVolume(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 1))
	c := memory.Config{Flavour: memory.Flavour(random.IntN(2))}
	tree := drawLiveTree(random, 0)
	d := &drawnVolume{Rand: random, faults: make(map[int]liveFault)}
	d.liveFixture = newLiveFixture(t, 1+random.IntN(3), tree+"\n", c)
	d.alive = len(d.members)
	if random.IntN(2) == 0 { // of the lost replica
		newBuilder(t, d.to, copyName, "").build(drawLiveTree(random, random.IntN(3)))
		d.oldHead = list(t, d.to, copyName).Head.UUID
	}
	for range random.IntN(3) {
		d.faults[1+random.IntN(150)] = liveFaults[random.IntN(len(liveFaults))]
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	d.cancel = cancel
	delay := time.Duration(random.IntN(20)) * time.Millisecond
	d.inject(func(n int, call liveCall) memory.Fault { return d.fault(n, call, delay) })
	for _, f := range d.faults {
		d.noTrims = d.noTrims || f.mayCutUnevenly()
	}
	d.start(time.Duration(1+random.IntN(50)) * time.Millisecond)
	defer d.clients.Stop()
	pauses := make([]time.Duration, random.IntN(3))
	for n := range pauses {
		pauses[n] = time.Duration(random.IntN(300)) * time.Millisecond
	}
	users := make(chan struct{})
	go func() {
		defer close(users)
		for n, pause := range pauses {
			time.Sleep(pause)
			d.tryUserSnapshot(fmt.Sprint("user", n))
		}
	}()
	r := d.request()
	r.Parallel = 1 + random.IntN(4)
	_, err := app.New(nil).RebuildOnline(ctx, r)
	<-users
	d.noFaults()
	where := fmt.Sprintf("%v", err)
	if d.dead {
		require.NoError(t, d.mirror.Resume(t.Context()))
	}
	d.requireNoHalfHead(where)
	d.settle()
	for _, host := range append(d.members, d.to) {
		host.Start()
	}
	d.dropLost(where)
	_, err = app.New(nil).RebuildOnline(t.Context(), d.request())
	require.NoError(t, err, "the next run, after %s", where)
	d.stop()
	d.requireWhole()
}

// drawLiveTree draws up to four snapshots with a head. other makes clusters differ.
func drawLiveTree(r *rand.Rand, other int) string {
	var text strings.Builder
	text.WriteString("clusters 6\n")
	depth, n := 0, r.IntN(5)
	for i := range n {
		fmt.Fprintf(&text, "%ssnap%d", strings.Repeat("  ", depth), i+1)
		for range r.IntN(3) {
			fmt.Fprintf(&text, " %d=%d", r.IntN(6), 1+r.IntN(9)+other)
		}
		text.WriteString("\n")
		depth++
	}
	fmt.Fprintf(&text, "%shead", strings.Repeat("  ", depth))
	if r.IntN(2) == 0 {
		fmt.Fprintf(&text, " %d=%d", r.IntN(6), 50+other)
	}
	return text.String()
}

func (d *drawnVolume) fault(n int, call liveCall, delay time.Duration) memory.Fault {
	f, drawn := d.faults[n]
	kills := f.fault.Kill || f.fault.Restart
	switch {
	case d.dead:
		return memory.Fault{Before: errEngineDied}
	case !drawn || f.skip != nil && f.skip(call) || kills && call.party >= partyMember && d.alive == 1:
		return memory.Fault{Delay: delay}
	case f.ends == endCaller:
		d.cancel(errors.New("given up"))
	case f.ends == endEngine:
		d.dead = true
		return memory.Fault{Before: errEngineDied}
	case kills && call.party >= partyMember:
		d.alive--
	}
	return f.fault
}

// tryUserSnapshot takes a snapshot of the volume if nothing fails. A freeze in which a
// host does not answer takes nothing.
func (d *drawnVolume) tryUserSnapshot(name string) {
	if len(d.faults) > 0 {
		return // a failed one would have to be taken away again: that is its taker's business
	}
	d.userSnapshot(name)
}
