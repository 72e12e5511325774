package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/liveclient"
)

// TestOnline rebuilds under a live volume, each time on another volume of the same targets.
func TestOnline(t *testing.T) {
	for _, binary := range targettest.Binaries(t) {
		t.Run(flavour(binary), func(t *testing.T) {
			testOnline(t, nil, func() *targettest.Target { return targettest.Start(t, binary) })
		})
	}
}

// TestOnlineMixed has the RAID and its members on targets of one flavour, and the destination
// on one of another flavour.
func TestOnlineMixed(t *testing.T) {
	binaries := targettest.Binaries(t)
	for i, here := range binaries {
		for j, there := range binaries {
			if i == j {
				continue
			}
			t.Run(flavour(here)+" and "+flavour(there), func(t *testing.T) {
				start := func(binary string) *targettest.Target { return targettest.Start(t, binary) }
				rebuildUnderTwoMembers(t, &liveTargets{
					home: start(here), to: start(there), members: []*targettest.Target{start(here), start(here)},
				})
			})
		}
	}
}

func TestSimulatedOnline(t *testing.T) {
	t.Parallel()
	for _, flavour := range []simtarget.Flavour{simtarget.Fork, simtarget.Upstream} {
		t.Run(flavour.String(), func(t *testing.T) {
			t.Parallel()
			fabric := simtarget.NewFabric()
			some := onFork
			if flavour == simtarget.Upstream {
				some = onUpstream
			}
			testOnline(t, some, func() *targettest.Target { return targettest.Simulate(t, fabric, flavour) })
		})
	}
}

// onFork and onUpstream are the tests that TestSimulatedOnline plays without -all-online.
var (
	onFork     = []string{"by commands", "a source dies in a copy", "cancelled", "a linked clone"}
	onUpstream = []string{"names as long as they may be", "the only source dies", "a linked clone"}
)

var allOnline = flag.Bool("all-online", false, "play all of TestSimulatedOnline and of the stages in which a party ends: it takes minutes with the race detector")

// testOnline plays some of the tests, or all of them.
func testOnline(t *testing.T, some []string, start func() *targettest.Target) {
	at := &liveTargets{home: start(), to: start(), members: []*targettest.Target{start(), start()}}
	tests := []struct {
		name string
		run  func(t *testing.T, at *liveTargets)
	}{
		{"two members", rebuildUnderTwoMembers},
		{"by commands", rebuildByCommands},
		{"reads through the snapshot until it lands", landUnderReads},
		{"a source dies in a copy", sourceDies(copying)},
		{"a source dies before it lands", sourceDies(verified)},
		{"the only source dies", onlySourceDies},
		{"the destination dies in a copy", destinationDies(copying)},
		{"the destination dies before it lands", destinationDies(verified)},
		{"a whole member dies", wholeMemberDies},
		{"a whole member is dropped", wholeMemberIsDropped},
		{"cancelled", cancelled},
		{"the program is killed", programKilled},
		{"a user takes a snapshot meanwhile", userSnapshot},
		{"a user's snapshot lost its cut", snapshotOverLostCut},
		{"names as long as they may be", longestNames},
		{"no base", withoutBase},
		{"a linked clone", linkedClone},
		{"five volumes at once", fiveVolumes},
		{"the whole life of a volume", lifeOfVolume},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if some != nil && !*allOnline && !slices.Contains(some, test.name) {
				t.Skip("played with -all-online, and on real targets")
			}
			test.run(t, at)
		})
	}
}

func rebuildUnderTwoMembers(t *testing.T, at *liveTargets) {
	v := growLiveVolume(t, at, 2, true, func(p *place, replica string) { p.growSource(t, replica) })
	v.start(t, liveclient.Config{Longest: 8192, Pause: 4 * time.Millisecond})
	v.awaitWrites(t, 20)
	snapshots := len(v.members[0].look(t).Snapshots)
	report := v.rebuild(t)
	v.awaitWrites(t, 20)
	v.stop(t)
	require.NotEmpty(t, report.Online.Cut)
	v.requireWhole(t)
	require.Zero(t, v.rebuild(t).Online.Freezes, "it is whole")
	for _, p := range v.members {
		p.requireAsItWas(t, p.name)
		p.requireHealthy(t, p.name)
		require.Len(t, p.look(t).Snapshots, snapshots+1, "one cut")
	}
}

// The program rebuilds under a live volume, takes a snapshot of it and checks it.
func rebuildByCommands(t *testing.T, at *liveTargets) {
	v := growLiveVolume(t, at, 2, true, func(p *place, replica string) { p.growSource(t, replica) })
	v.start(t, liveclient.Config{Longest: 8192, Pause: 4 * time.Millisecond})
	v.awaitWrites(t, 20)
	v.rebuildByProgram(t)
	v.awaitWrites(t, 20)
	require.Equal(t, "by-command", v.volumeCommand(t, "snapshot", "by-command", "--freeze", "ana")["snapshot"])
	v.awaitWrites(t, 20)
	require.Equal(t, false, v.volumeCommand(t, "check")["wrong"])
	v.stop(t)
	v.requireWhole(t)
}

// rebuildByProgram makes the destination the third member, by engine rebuild --online.
func (v *liveVolume) rebuildByProgram(t *testing.T) {
	t.Helper()
	args := []string{"rebuild", "--online", "--volume", v.url(), "--freeze", "ana", "--destination", v.destination.url()}
	for _, p := range v.members {
		args = append(args, "--source", p.url())
	}
	modes := []any{}
	for _, m := range program.do(t, args...)["online"].(map[string]any)["members"].([]any) {
		modes = append(modes, m.(map[string]any)["mode"])
	}
	require.Equal(t, []any{"RW", "RW", "RW"}, modes)
}

// volumeCommand calls engine volume, with every replica as a member, the destination first.
func (v *liveVolume) volumeCommand(t *testing.T, args ...string) map[string]any {
	t.Helper()
	args = append(append([]string{"volume"}, args...), "--volume", v.url())
	for _, p := range v.replicas() {
		args = append(args, "--member", p.url())
	}
	return program.do(t, args...)
}

// No client writes, so that all reads of the destination go through the members' snapshots
// until the live head lands. A target that exchanges its parent then without a freeze crashes.
func landUnderReads(t *testing.T, at *liveTargets) {
	v := growLiveVolume(t, at, 1, true, func(p *place, replica string) { p.growSource(t, replica) })
	v.start(t, liveclient.Config{Clients: 24, Longest: 4096, Pause: 100 * time.Microsecond, Reads: 1})
	v.rebuild(t)
	v.stop(t)
	v.requireWhole(t)
}

// While the tree is built, a user has a snapshot taken of every member and of the live head.
func userSnapshot(t *testing.T, at *liveTargets) {
	v := newLiveVolume(t, at, 2)
	attributes := domain.Attributes{CreatedAt: time.Now().UTC().Truncate(time.Second), UserCreated: true}
	var failed error
	err := v.tryRebuild(t.Context(), t, copying, func() {
		live := v.destination.look(t).InFlight
		member := slices.IndexFunc(live, func(l domain.Lvol) bool { return v.modes(t)[l.UUID] == rebuild.ModeRW })
		failed = v.request().Freezer.Freeze(t.Context(), 10*time.Second, func(ctx context.Context) (err error) {
			for _, p := range v.members {
				_, taken := p.host.Snapshot(ctx, p.look(t).Head.UUID, domain.SnapshotLvolName(p.name, "user"), attributes)
				err = errors.Join(err, taken)
			}
			_, taken := v.destination.host.Snapshot(ctx, live[member].UUID, domain.SnapshotLvolName(liveTo, "user"), attributes)
			return errors.Join(err, taken)
		})
	})
	require.NoError(t, failed)
	require.NoError(t, err)
	v.stop(t)
	v.requireWhole(t)
	_, there := v.destination.look(t).Snapshot("user")
	require.True(t, there)
}

// The program is killed after a user has had a snapshot taken, and the destination restarts: the
// snapshot is degraded, since it has lost the cut that it reads through. The next run gives the cut
// back, so that it can delete what the first one left.
func snapshotOverLostCut(t *testing.T, at *liveTargets) {
	v := newLiveVolume(t, at, 2)
	at.to.LimitWrites(t, v.destination.lvstore, 4)
	p := v.startProgram(t)
	await(t, p, "in a copy", func() bool { return len(v.destination.look(t).InFlight) > 1 }) // beside the live head
	of := rebuild.VolumeRequest{Mirror: v.mirror, Freezer: v.request().Freezer}
	for _, r := range v.replicas() {
		of.Members = append(of.Members, r.site())
	}
	seen, err := rebuild.New().Volume(t.Context(), of)
	require.NoError(t, err)
	require.Equal(t, rebuild.ModeWO, seen.Replicas[0].Member.Mode, "the replica that is rebuilt")
	_, err = rebuild.New().SnapshotVolume(t.Context(), of, "daily")
	require.NoError(t, err)
	p.signal(t, syscall.SIGKILL)
	require.Equal(t, -1, p.status())
	at.to.Restart(t)
	daily, _ := v.destination.look(t).Snapshot("daily")
	require.True(t, daily.Lvol.Degraded)
	v.rebuild(t)
	v.stop(t)
	v.requireWhole(t)
	require.Len(t, v.whole(t), 3)
}

// Snapshots of the cut have names as long as the lvstores take. One byte more is refused.
func longestNames(t *testing.T, at *liveTargets) {
	store, err := newPlace(t, at.to, storeClusters).host.List(t.Context())
	require.NoError(t, err)
	longer := *at
	longer.prefix = strings.Repeat("v", store.NameLimit-len(domain.SnapshotLvolName(liveTo, domain.CutName("00000000"))))
	t.Run("not longer", func(t *testing.T) {
		v := newLiveVolume(t, &longer, 2)
		v.rebuild(t)
		v.stop(t)
		v.requireWhole(t)
	})
	longer.prefix += "v"
	t.Run("longer", func(t *testing.T) {
		v := newLiveVolume(t, &longer, 1)
		report, err := rebuild.New().RebuildOnline(t.Context(), v.request())
		require.ErrorContains(t, err, fmt.Sprintf("takes at most %d", store.NameLimit))
		require.Equal(t, rebuild.OutcomeRefused, report.Outcome)
		require.Zero(t, report.Online.Freezes)
		v.awaitWrites(t, 20)
		v.stop(t)
	})
}

func withoutBase(t *testing.T, at *liveTargets) {
	v := growLiveVolume(t, at, 2, false, func(p *place, replica string) { p.growOn(t, replica, "") })
	v.base = domain.NoBase()
	v.startClients(t)
	v.rebuild(t)
	v.stop(t)
	v.requireWhole(t)
}

// The volume is a linked clone of snapshot daily of vol-9, which the destination's host has.
func linkedClone(t *testing.T, at *liveTargets) {
	v := growLiveVolume(t, at, 2, true, func(p *place, replica string) {
		p.growTwo(t, vol9From, p.image, [2]string{"weekly", "daily"}, 30)
		p.growTwo(t, replica, p.makeEntryPoint(t, vol9From, "daily"), [2]string{"gold", "silver"}, 40)
	})
	v.destination.growTwo(t, vol9From, v.destination.image, [2]string{"weekly", "daily"}, 30)
	v.startClients(t)
	v.rebuild(t)
	v.stop(t)
	v.requireWhole(t)
	v.destination.requireOnEntryPoint(t, liveTo, vol9From, "daily")
}
