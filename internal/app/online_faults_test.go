package app_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

var onlineEvery = flag.Int("online-every", 0, "let every n-th call of a rebuild under a live volume fail (0: some)")

// liveParty is who makes or answers a call.
type liveParty int

const (
	partyMirror liveParty = iota
	partyDestination
	partyMember // the first one; the others follow
)

func (p liveParty) String() string {
	if p < partyMember {
		return [...]string{"mirror", "destination"}[p]
	}
	return fmt.Sprintf("member %d", p-partyMember+1)
}

// liveCall is a call of a port of the run's hosts, or of the mirror.
type liveCall struct {
	party liveParty
	memory.Call
}

// inject asks for the fault of each call that the engine makes, one after the other. Clients'
// accesses are no calls of the engine.
func (b *liveFixture) inject(ask func(n int, c liveCall) memory.Fault) {
	var mu sync.Mutex
	n := 0
	from := func(party liveParty) func(memory.Call) memory.Fault {
		return func(c memory.Call) memory.Fault {
			if len(c.Method) > 7 && c.Method[:7] == "member-" {
				return memory.Fault{}
			}
			mu.Lock()
			defer mu.Unlock()
			n++
			return ask(n, liveCall{party, c})
		}
	}
	b.mirror.Inject(from(partyMirror))
	b.to.Inject(from(partyDestination))
	for i, host := range b.members {
		host.Inject(from(partyMember + liveParty(i)))
	}
}

// dieAt rebuilds by an engine that dies at the first call of a method.
func (b *liveFixture) dieAt(method string) {
	b.t.Helper()
	dead := false
	b.inject(func(_ int, c liveCall) memory.Fault {
		dead = dead || c.Method == method
		if dead {
			return memory.Fault{Before: errEngineDied}
		}
		return memory.Fault{}
	})
	_, err := app.New(nil).RebuildOnline(b.t.Context(), b.request())
	require.Error(b.t, err)
	b.noFaults()
}

func (b *liveFixture) noFaults() {
	b.mirror.Inject(nil)
	b.to.Inject(nil)
	for _, host := range b.members {
		host.Inject(nil)
	}
}

// liveFault is one way in which a call can go wrong.
type liveFault struct {
	name  string
	fault memory.Fault
	ends  ending
	skip  func(liveCall) bool // calls that it cannot befall
}

var errNoLiveAnswer = fmt.Errorf("%w: no answer", ports.ErrUnavailable)

var liveFaults = []liveFault{
	{name: "unavailable", fault: memory.Fault{Before: ports.ErrUnavailable}},
	{name: "refused", fault: memory.Fault{Before: ports.ErrInvalid}},
	{name: "not-found", fault: memory.Fault{Before: ports.ErrNotFound}},
	{name: "answer-lost", fault: memory.Fault{After: ports.ErrUnavailable}},
	{name: "late-though-done", fault: memory.Fault{After: errNoLiveAnswer, Delay: 20 * time.Second}},
	{name: "late", fault: memory.Fault{Delay: 20 * time.Second}},
	{name: "cancelled", ends: endCaller},
	{name: "engine-died", ends: endEngine},
	{name: "restarted", fault: memory.Fault{Restart: true}, skip: func(c liveCall) bool { return c.party == partyMirror }},
	{name: "killed", fault: memory.Fault{Kill: true}, skip: func(c liveCall) bool { return c.party == partyMirror }},
}

// mayCutUnevenly: clients go on while some members have the cut and others not, since the engine has
// died, or the freeze was over. Members may show different bytes then where clients trim.
func (f liveFault) mayCutUnevenly() bool { return f.ends == endEngine || f.fault.Delay > 0 }

// TestEveryCallOfAnOnlineRebuildFails: whatever goes wrong, clients notice nothing, no head
// lacks a write, and the next run makes the destination a whole member.
func TestEveryCallOfAnOnlineRebuildFails(t *testing.T) {
	every := *onlineEvery
	switch {
	case every > 0:
	case raceDetector:
		every = 37
	default:
		every = 7
	}
	calls := 0
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		b.inject(func(n int, _ liveCall) memory.Fault { calls = n; return memory.Fault{} })
		r := b.request()
		r.Parallel = 1
		_, err := app.New(nil).RebuildOnline(t.Context(), r)
		require.NoError(t, err)
	})
	t.Logf("%d calls", calls)
	trial := 0
	for n := 1; n <= calls; n++ {
		for _, f := range liveFaults {
			if trial++; trial%every != 0 {
				continue
			}
			name := fmt.Sprintf("%d-%s", n, f.name)
			t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { playLiveFault(t, n, f) }) })
		}
	}
}

func playLiveFault(t *testing.T, at int, f liveFault) {
	b := newLiveFixture(t, 2, liveTree, memory.Config{})
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	var struck liveCall
	dead := false
	b.inject(func(n int, c liveCall) memory.Fault {
		switch {
		case dead:
			return memory.Fault{Before: errEngineDied}
		case n != at || f.skip != nil && f.skip(c):
			return memory.Fault{}
		}
		struck = c
		switch f.ends {
		case endCaller:
			cancel(errors.New("given up"))
		case endEngine:
			dead = true
			return memory.Fault{Before: errEngineDied}
		}
		return f.fault
	})
	b.noTrims = f.mayCutUnevenly()
	b.start(100 * time.Millisecond)
	defer b.clients.Stop()
	r := b.request()
	r.Parallel = 1
	_, err := app.New(nil).RebuildOnline(ctx, r)
	b.noFaults()
	where := fmt.Sprintf("%s %s of %s, call %d: %v", f.name, struck.Method, struck.party, struck.N, err)
	if dead { // the freeze of a dead engine lasts until another one begins
		require.NoError(t, b.mirror.Resume(t.Context()))
	}
	b.requireNoHalfHead(where)
	b.settle()
	for _, host := range append(b.members, b.to) {
		host.Start()
	}
	if err == nil && !f.fault.Kill && !f.fault.Restart {
		b.requireWhole()
	}
	b.dropLost(where)
	again, err := app.New(nil).RebuildOnline(t.Context(), b.request())
	require.NoError(t, err, "the next run, after %s", where)
	most := 2
	if dead {
		most++ // for a half cut
	}
	require.LessOrEqual(t, again.Online.Freezes, most)
	b.stop()
	b.requireWhole()
}

// settle waits until the mirror has noticed what is gone.
func (b *liveFixture) settle() { time.Sleep(2 * memory.DefaultDropAfter) }

// dropLost leaves members out that the mirror lost: they have to be rebuilt themselves.
func (b *liveFixture) dropLost(where string) {
	b.t.Helper()
	volume, err := b.mirror.Volume(context.Background())
	require.NoError(b.t, err, where)
	var members []*memory.Host
	var names []string
	for i, host := range b.members {
		m, _ := volume.Member(list(b.t, host, b.names[i]).Head.UUID)
		if m.Mode == domain.ModeRW {
			members, names = append(members, host), append(names, b.names[i])
		}
	}
	require.NotEmpty(b.t, members, where)
	b.members, b.names = members, names
}

// requireNoHalfHead: a replica with a head is a whole member, or was one until it was lost.
func (b *liveFixture) requireNoHalfHead(where string) {
	b.t.Helper()
	store, err := b.to.List(context.Background())
	if err != nil {
		return // it is down
	}
	d, err := domain.NewReplica(store, copyName)
	require.NoError(b.t, err)
	if d.Head == nil || d.Head.UUID == b.oldHead {
		return
	}
	volume, err := b.mirror.Volume(context.Background())
	require.NoError(b.t, err)
	m, is := volume.Member(d.Head.UUID)
	require.True(b.t, is, where)
	require.Empty(b.t, d.Head.External, where)
	require.NotEqual(b.t, domain.ModeWO, m.Mode, where)
}

// TestMirrorThatFailsOnceIsAskedAgain: a passing failure of any call to the mirror is none of
// the rebuild.
func TestMirrorThatFailsOnceIsAskedAgain(t *testing.T) {
	for n := 1; n <= 5; n++ {
		synctest.Test(t, func(t *testing.T) {
			b := newLiveFixture(t, 2, liveTree, memory.Config{})
			b.inject(func(_ int, c liveCall) memory.Fault {
				if c.party == partyMirror && c.Method == "volume" && c.N == n {
					return memory.Fault{Before: ports.ErrUnavailable}
				}
				return memory.Fault{}
			})
			_, err := app.New(nil).RebuildOnline(t.Context(), b.request())
			require.NoError(t, err)
			b.requireWhole()
			b.noFaults()
			_, err = app.New(nil).PlanOnline(t.Context(), b.request())
			require.NoError(t, err)
		})
	}
}
