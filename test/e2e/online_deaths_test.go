package e2e

import (
	"context"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"

	"github.com/rootgraft/rebuild"
)

// moment is one in the course of a rebuild.
type moment struct {
	name string
	is   func(e rebuild.Event) bool
}

// The moments at which a party ends.
var (
	preparing = moment{"before the freeze", func(e rebuild.Event) bool {
		return e.Kind == rebuild.EventBegan && e.Stage == rebuild.StagePrepare
	}}
	cutting = moment{"in the freeze", func(e rebuild.Event) bool {
		return e.Kind == rebuild.EventBegan && e.Stage == rebuild.StageCut && e.Verb == rebuild.VerbJoin
	}}
	wasCut   = moment{"after the freeze", func(e rebuild.Event) bool { return e.Kind == rebuild.EventCut }}
	copying  = moment{"in a copy", func(e rebuild.Event) bool { return e.Kind == rebuild.EventCopying }}
	verified = moment{"before it lands", func(e rebuild.Event) bool { return e.Kind == rebuild.EventVerified }}
)

// onceAt calls do at the first event of a moment. The rebuild waits for it.
func onceAt(m moment, do func()) rebuild.Observer {
	once := sync.OnceFunc(do)
	return rebuild.ObserverFunc(func(e rebuild.Event) {
		if m.is(e) {
			once()
		}
	})
}

// tryRebuild rebuilds, with do at a moment that must come.
func (v *liveVolume) tryRebuild(ctx context.Context, t *testing.T, m moment, do func()) error {
	t.Helper()
	var came atomic.Bool
	request := v.request()
	request.Observer = onceAt(m, func() { came.Store(true); do() })
	report, err := rebuild.New(rebuild.WithLogger(zaptest.NewLogger(t))).RebuildOnline(ctx, request)
	t.Logf("%s %s: %v", m.name, report.Outcome, err)
	require.True(t, came.Load(), "the moment did not come: %s", m.name)
	return err
}

// The target of a member ends. The live head reads on through the other one, and clients
// notice a pause.
func sourceDies(m moment) func(t *testing.T, at *liveTargets) {
	return func(t *testing.T, at *liveTargets) {
		v := newLiveVolume(t, at, 2)
		err := v.tryRebuild(t.Context(), t, m, func() { at.members[0].Kill(t) })
		require.NoError(t, err)
		v.awaitWrites(t, 20)
		v.stop(t)
		v.requireWhole(t)
		require.Len(t, v.whole(t), 2)
	}
}

// The only member ends, and the volume with it. When the volume is there again, its replica is
// rebuilt.
func onlySourceDies(t *testing.T, at *liveTargets) {
	v := newLiveVolume(t, at, 1)
	require.Error(t, v.tryRebuild(t.Context(), t, copying, func() { at.members[0].Kill(t) }))
	v.hangUp()
	v.clients.Stop()
	d := v.destination.replica(t, liveTo)
	require.Nil(t, d.Head, "it is not whole")
	if _, err := v.mirror.Volume(t.Context()); err != nil { // else the live head is its last member, and stays
		require.Empty(t, d.InFlight, "it is alive, and tidied")
	}
	_ = at.home.Try("bdev_raid_delete", map[string]any{"name": v.exported.RAID}, nil)
	at.revive(t)
	v.mirrorMembers(t)
	v.startClients(t)
	v.rebuild(t)
	v.stop(t)
	v.requireWhole(t)
}

// The destination ends, and comes back. The volume goes on without it.
func destinationDies(m moment) func(t *testing.T, at *liveTargets) {
	return func(t *testing.T, at *liveTargets) {
		v := newLiveVolume(t, at, 2)
		err := v.tryRebuild(t.Context(), t, m, func() { at.to.Kill(t) })
		require.Error(t, err)
		v.awaitWrites(t, 20)
		at.to.Restart(t)
		v.rebuild(t)
		v.stop(t)
		v.requireWhole(t)
		require.Len(t, v.whole(t), 3)
	}
}

// A whole member ends, and comes back without the writes that it has missed.
func wholeMemberDies(t *testing.T, at *liveTargets) {
	v := newLiveVolume(t, at, 2)
	v.rebuild(t)
	at.to.Kill(t)
	v.awaitWrites(t, 20)
	at.to.Restart(t)
	v.rebuild(t)
	v.stop(t)
	v.requireWhole(t)
	require.Len(t, v.whole(t), 3)
}

// The caller ends the rebuild. The volume is as it was before.
func cancelled(t *testing.T, at *liveTargets) {
	v := newLiveVolume(t, at, 2)
	for _, m := range []moment{preparing, cutting, wasCut, copying, verified} {
		ctx, cancel := context.WithCancel(t.Context())
		err := v.tryRebuild(ctx, t, m, cancel)
		require.ErrorIs(t, err, context.Canceled, m.name)
		v.requireNoHead(t)
		require.Len(t, v.whole(t), 2, m.name)
		requireNothingOpen(t, at.to)
	}
	v.rebuild(t)
	v.stop(t)
	v.requireWhole(t)
}

// The program is killed, and run again. The first run that finds the leftovers ends them.
func programKilled(t *testing.T, at *liveTargets) {
	v := newLiveVolume(t, at, 2)
	at.to.LimitWrites(t, v.destination.lvstore, 4)
	for name, reached := range map[string]func() bool{
		"before the freeze": func() bool { return len(v.destination.replica(t, liveTo).InFlight) > 0 },
		"in a copy":         func() bool { return len(v.destination.replica(t, liveTo).InFlight) > 1 }, // beside the live head
	} {
		p := v.startProgram(t)
		await(t, p, name, reached)
		p.signal(t, syscall.SIGKILL)
		require.Equal(t, -1, p.status())
	}
	at.to.LimitWrites(t, v.destination.lvstore, 0)
	r, status := v.startProgram(t).result(t)
	require.Zero(t, status, "%+v", r)
	v.stop(t)
	v.requireWhole(t)
	require.Len(t, v.whole(t), 3)
}

// startProgram starts engine rebuild --online.
func (v *liveVolume) startProgram(t *testing.T) *process {
	t.Helper()
	args := []string{"--online", "--volume", "unix://" + v.home.Socket + "?raid=" + v.exported.RAID, "--freeze", "ana"}
	for i, p := range v.members[1:] {
		args = append(args, "--source", p.address(liveMembers[i+1]))
	}
	return program.startRebuild(t, v.members[0].address(liveMembers[0]), v.destination.address(liveTo), args...)
}
