package e2e

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"

	"github.com/rootgraft/rebuild"
)

// moment is one in the course of a rebuild: the first event of a kind.
type moment struct {
	kind  rebuild.EventKind
	stage rebuild.Stage // of an operation's begin or end
	verb  rebuild.Verb  // of an operation; "": any
}

// The moments at which a party ends.
var (
	preparing = began(rebuild.StagePrepare)
	cutting   = inCut(rebuild.EventBegan, rebuild.VerbJoin)
	wasCut    = moment{kind: rebuild.EventCut}
	copying   = moment{kind: rebuild.EventCopying}
	verified  = moment{kind: rebuild.EventVerified}
)

func began(stage rebuild.Stage) moment { return moment{kind: rebuild.EventBegan, stage: stage} }

func ended(stage rebuild.Stage) moment { return moment{kind: rebuild.EventEnded, stage: stage} }

// inCut is a moment in the freeze.
func inCut(kind rebuild.EventKind, verb rebuild.Verb) moment {
	return moment{kind, rebuild.StageCut, verb}
}

func (m moment) is(e rebuild.Event) bool {
	ofOperation := m.kind == rebuild.EventBegan || m.kind == rebuild.EventEnded
	return e.Kind == m.kind && (!ofOperation || e.Stage == m.stage && (m.verb == "" || e.Verb == m.verb))
}

func (m moment) String() string {
	if m.kind != rebuild.EventBegan && m.kind != rebuild.EventEnded {
		return string(m.kind)
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s %s", m.kind, m.stage, m.verb))
}

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
	t.Logf("%s %s: %v", m, report.Outcome, err)
	require.True(t, came.Load(), "the moment did not come: %s", m)
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
	d := v.destination.look(t)
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

// The mirror drops a whole member, whose target lives on: its lvstore is full, then the path to it
// breaks. The export of its head stays. The program makes it a member again, without --in-use.
func wholeMemberIsDropped(t *testing.T, at *liveTargets) {
	v := newLiveVolume(t, at, 2)
	d := v.destination
	v.rebuildByProgram(t)
	filler, err := d.host.Create(t.Context(), "filler", d.store(t).FreeClusters*clusterSize)
	require.NoError(t, err)
	for n := uint64(0); d.store(t).FreeClusters > 0; n++ {
		at.to.Write(t, filler, noise(n), n*clusterSize)
	}
	v.volumeCommand(t, "snapshot", "full", "--freeze", "ana")
	v.awaitDropped(t)
	require.NoError(t, d.host.Delete(t.Context(), filler))
	require.Equal(t, d.look(t).Head.UsedBy.Name, v.shown(t)["dropped"])
	v.rebuildByProgram(t)

	way := d.look(t).Head.UsedBy
	path := map[string]any{"nqn": way.Name, "host": way.Host}
	at.to.Call(t, "nvmf_subsystem_remove_host", path, nil)
	v.awaitDropped(t)
	at.to.Call(t, "nvmf_subsystem_add_host", path, nil)
	require.Equal(t, way.Name, v.shown(t)["dropped"])
	v.rebuildByProgram(t)
	v.awaitWrites(t, 20)
	v.stop(t)
	v.requireWhole(t)
	require.Len(t, v.whole(t), 3)
}

// awaitDropped waits until the destination is no member.
func (v *liveVolume) awaitDropped(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool { return v.shown(t)["mode"] == "" }, time.Minute, 100*time.Millisecond)
}

// shown is the destination in engine volume show.
func (v *liveVolume) shown(t *testing.T) map[string]any {
	t.Helper()
	return v.volumeCommand(t, "show")["members"].([]any)[0].(map[string]any)
}

// The caller ends the rebuild. The volume is as it was before.
func cancelled(t *testing.T, at *liveTargets) {
	v := newLiveVolume(t, at, 2)
	for _, m := range []moment{preparing, cutting, wasCut, copying, verified} {
		ctx, cancel := context.WithCancel(t.Context())
		err := v.tryRebuild(ctx, t, m, cancel)
		require.ErrorIs(t, err, context.Canceled, m)
		v.requireNoHead(t)
		require.Len(t, v.whole(t), 2, m)
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
		"before the freeze": func() bool { return len(v.destination.look(t).InFlight) > 0 },
		"in a copy":         func() bool { return len(v.destination.look(t).InFlight) > 1 }, // beside the live head
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
	args := []string{"--online", "--volume", v.url(), "--freeze", "ana"}
	for _, p := range v.members[1:] {
		args = append(args, "--source", p.url())
	}
	return program.startRebuild(t, v.members[0].url(), v.destination.url(), args...)
}
