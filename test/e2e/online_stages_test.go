package e2e

import (
	"context"
	"errors"
	"flag"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/randid"
)

// TestOnlineStages ends each party of a rebuild under a live volume in each stage. The next
// rebuild of the same volume begins with the leftovers. Without -all-online it ends some of them
// at one moment.
func TestOnlineStages(t *testing.T) {
	for _, binary := range targettest.Binaries(t) {
		t.Run(flavour(binary), func(t *testing.T) {
			testOnlineStages(t, []string{"a source dies", "the engine is killed"}, func() *targettest.Target { return targettest.Start(t, binary) })
		})
	}
}

func TestSimulatedOnlineStages(t *testing.T) {
	t.Parallel()
	for _, flavour := range []simtarget.Flavour{simtarget.Fork, simtarget.Upstream} {
		t.Run(flavour.String(), func(t *testing.T) {
			t.Parallel()
			fabric := simtarget.NewFabric()
			some := []string{"the engine is killed"}
			if flavour == simtarget.Upstream {
				some = []string{"a source dies"}
			}
			testOnlineStages(t, some, func() *targettest.Target { return targettest.Simulate(t, fabric, flavour) })
		})
	}
}

var onlyMoments = flag.String("online-moments", "", "play only the moments of TestOnlineStages -all-online that match this regular expression, such as 'began land'")

// testOnlineStages plays some of the tests, and all with -all-online.
func testOnlineStages(t *testing.T, some []string, start func() *targettest.Target) {
	at := &liveTargets{home: start(), to: start(), members: []*targettest.Target{start(), start()}}
	for _, test := range []struct {
		name    string
		members int
		moments func(v *liveVolume) []moment
		ends    func(t *testing.T, v *liveVolume, m moment)
	}{
		{"a source dies", 2, (*liveVolume).stages, sourceDiesAt},
		{"the only source dies", 1, (*liveVolume).stages, onlySourceDiesAt},
		{"the destination dies", 2, (*liveVolume).stages, destinationDiesAt},
		{"the mirror's host dies", 2, (*liveVolume).stagesOfMirror, mirrorDiesAt},
		{"the engine is killed", 2, (*liveVolume).stages, engineKilledAt},
		{"cancelled", 2, (*liveVolume).stages, cancelledAt},
	} {
		t.Run(test.name, func(t *testing.T) {
			if !*allOnline && !slices.Contains(some, test.name) {
				t.Skip("played with -all-online")
			}
			v := newLiveVolume(t, at, test.members)
			v.rebuild(t)
			v.destination.target.Kill(t)
			v.awaitWhole(t, test.members)
			v.destination.target.Restart(t)
			v.messUp(t)
			for _, m := range test.moments(v) {
				if !regexp.MustCompile(*onlyMoments).MatchString(m.String()) {
					continue
				}
				t.Logf("%s: %s", test.name, m)
				test.ends(t, v, m)
				at.requireServing(t)
			}
			v.rebuild(t)
			v.stop(t)
			v.requireWhole(t)
			require.Len(t, v.whole(t), test.members+1)
		})
	}
}

// stages are the moments at which parties end, in an order in which a run that begins with the
// leftovers of the one before it comes to each. The others have no operations: under a live
// volume the old head goes in the stage leave, entry points are not moved, and no head is cloned.
func (v *liveVolume) stages() []moment {
	if !*allOnline {
		return []moment{inCut(rebuild.EventBegan, rebuild.VerbJoin)}
	}
	all := []moment{began(rebuild.StageLeave)}
	if v.proves { // else nothing is kept, so nothing is detached
		all = append(all, began(rebuild.StageDetach))
	}
	return append(all, began(rebuild.StagePrune), began(rebuild.StagePrepare),
		inCut(rebuild.EventBegan, rebuild.VerbSnapshot), inCut(rebuild.EventEnded, rebuild.VerbSnapshot),
		inCut(rebuild.EventBegan, rebuild.VerbGraftExternal), inCut(rebuild.EventBegan, rebuild.VerbJoin), inCut(rebuild.EventEnded, rebuild.VerbJoin),
		began(rebuild.StageBuild), began(rebuild.StageLand), ended(rebuild.StageLand), began(rebuild.StageName))
}

// stagesOfMirror are fewer: a freeze lets clients of a mirror that does not answer go on for a
// minute.
func (v *liveVolume) stagesOfMirror() []moment {
	if !*allOnline {
		return []moment{began(rebuild.StageBuild)}
	}
	return []moment{
		began(rebuild.StagePrune), began(rebuild.StagePrepare), inCut(rebuild.EventEnded, rebuild.VerbJoin),
		began(rebuild.StageBuild), began(rebuild.StageLand), began(rebuild.StageName),
	}
}

// messUp leaves a replica as crashes and careless tools do: a snapshot hangs on another one
// than it should, there are an extra one, and an lvol in flight.
func (v *liveVolume) messUp(t *testing.T) {
	t.Helper()
	p := v.destination
	r := p.look(t)
	_, err := p.host.Create(t.Context(), domain.InFlightLvolName(p.name, randid.Hex(4)), volumeClusters*clusterSize)
	require.NoError(t, err)
	snap12, has12 := r.Snapshot("snap12")
	snap21, has21 := r.Snapshot("snap21")
	if !has12 || !has21 { // an earlier run has deleted them
		return
	}
	if snap21.Lvol.Parent != snap12.Lvol.UUID {
		require.NoError(t, p.host.Graft(t.Context(), snap21.Lvol.UUID, snap12.Lvol.UUID))
	}
	if _, has := r.Snapshot("extra"); !has {
		p.snapshot(t, p.name, "extra", snap12.Lvol.UUID, volumeClusters, createdAt(9), map[int]uint64{5: 66})
	}
}

// sourceDiesAt kills a source, which is the next destination when it is back.
func sourceDiesAt(t *testing.T, v *liveVolume, m moment) {
	dead := v.members[0]
	require.NoError(t, v.tryRebuild(t.Context(), t, m, func() { dead.target.Kill(t) }))
	v.awaitWrites(t, 20)
	v.awaitWhole(t, 2)
	dead.target.Restart(t)
	v.members, v.destination = []liveReplica{v.members[1], v.destination}, dead
	v.messUp(t)
}

// onlySourceDiesAt kills the only member. The volume dies with it and is made again, unless
// the destination has become whole before: then it serves on.
func onlySourceDiesAt(t *testing.T, v *liveVolume, m moment) {
	dead := v.members[0]
	before := v.destination.look(t).Head
	err := v.tryRebuild(t.Context(), t, m, func() { dead.target.Kill(t) })
	v.hangUp()
	v.clients.Stop()
	volume, gone := v.mirror.Volume(t.Context())
	t.Logf("left: %+v %v", volume.Members, gone)
	head := v.destination.look(t).Head
	if head != nil && (before == nil || before.UUID != head.UUID) {
		v.awaitWhole(t, 1)
		require.Equal(t, []string{head.UUID}, v.whole(t), "a new head is whole")
		dead.target.Restart(t)
		v.members[0], v.destination = v.destination, dead
		v.messUp(t)
		v.connect(t)
		v.startClients(t)
		return
	}
	require.Error(t, err)
	_ = v.home.Try("bdev_raid_delete", map[string]any{"name": v.exported.RAID}, nil)
	dead.target.Restart(t)
	v.messUp(t)
	v.restartStuckHome(t, m)
	v.mirrorMembers(t)
	v.startClients(t)
}

// restartStuckHome restarts the mirror's target if it keeps the controller of the live head for
// good. A RAID of the Longhorn branch that grows reads the new base, through the members' cut. It
// does not recover if its only member dies meanwhile.
func (v *liveVolume) restartStuckHome(t *testing.T, m moment) {
	t.Helper()
	if m != inCut(rebuild.EventBegan, rebuild.VerbJoin) {
		return
	}
	err := v.home.Try("bdev_nvme_detach_controller", map[string]any{"name": "rebuilt-" + v.destination.name}, nil)
	if err != nil && strings.Contains(err.Error(), "timed out") {
		t.Log("the mirror's target is stuck")
		v.home.Restart(t)
	}
}

func destinationDiesAt(t *testing.T, v *liveVolume, m moment) {
	require.Error(t, v.tryRebuild(t.Context(), t, m, func() { v.destination.target.Kill(t) }))
	v.awaitWrites(t, 20)
	v.awaitWhole(t, 2)
	v.destination.target.Restart(t)
}

// mirrorDiesAt kills the target that has the RAID. The RAID is made again of the whole
// members. A write in flight may have reached one of them alone, so the volume is written once
// before clients come, as the owner of a mirror without a log of its writes has to.
func mirrorDiesAt(t *testing.T, v *liveVolume, m moment) {
	before := v.destination.look(t).Head
	require.Error(t, v.tryRebuild(t.Context(), t, m, func() { v.home.Kill(t) }))
	v.hangUp()
	v.clients.Stop()
	if head := v.destination.look(t).Head; head != nil {
		require.NotNil(t, before, "it is not whole")
		require.Equal(t, before.UUID, head.UUID, "it is not whole")
	}
	v.home.Restart(t)
	v.mirrorMembers(t)
	all := make([]byte, v.size)
	_, err := v.client.ReadAt(all, 0)
	require.NoError(t, err)
	_, err = v.client.WriteAt(all, 0)
	require.NoError(t, err)
	require.NoError(t, v.clients.Check(v.client), "no acknowledged write is lost")
	v.startClients(t)
}

// engineKilledAt kills the engine twice, if it has left a live head that is a member.
func engineKilledAt(t *testing.T, v *liveVolume, m moment) {
	v.rebuildUntilKilled(t, m)
	if len(v.whole(t)) > len(v.members) {
		v.rebuildUntilKilled(t, began(rebuild.StageLeave))
	}
}

func cancelledAt(t *testing.T, v *liveVolume, m moment) {
	before := v.destination.look(t).InFlight
	ctx, cancel := context.WithCancel(t.Context())
	require.ErrorIs(t, v.tryRebuild(ctx, t, m, cancel), context.Canceled)
	v.awaitWrites(t, 20)
	require.Len(t, v.whole(t), 2)
	for _, l := range v.destination.look(t).InFlight {
		require.True(t, slices.ContainsFunc(before, func(was domain.Lvol) bool { return was.UUID == l.UUID }), "%s is left in flight", l.Name)
	}
	requireNothingOpen(t, v.destination.target)
}

// awaitWhole waits until that many members are whole: a RAID drops a base a while after its
// target has ended.
func (v *liveVolume) awaitWhole(t *testing.T, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return len(v.whole(t)) == n }, time.Minute, 20*time.Millisecond)
}

// requireServing checks that no target has crashed.
func (at *liveTargets) requireServing(t *testing.T) {
	t.Helper()
	var crashed error
	for _, target := range at.all() {
		crashed = errors.Join(crashed, target.Try("rpc_get_methods", nil, nil))
	}
	require.NoError(t, crashed)
}
