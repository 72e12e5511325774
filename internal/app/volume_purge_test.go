package app_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// rebuilt rebuilds the destination, and makes it a member of the fixture.
func (b *liveFixture) rebuilt() {
	b.t.Helper()
	_, err := app.New(nil).RebuildOnline(b.t.Context(), b.request())
	require.NoError(b.t, err)
	b.members, b.names = append(b.members, b.to), append(b.names, copyName)
}

func cutsOf(r domain.Replica) (names []string) {
	for _, s := range r.Snapshots {
		if strings.HasPrefix(s.Name, "rebuild-") {
			names = append(names, s.Name)
		}
	}
	return names
}

// requirePurged: no cut on any member, and the data of all other snapshots and of the heads is
// the same on all.
func (b *liveFixture) requirePurged(before map[string]content) {
	b.t.Helper()
	for i, host := range b.members {
		r := list(b.t, host, b.names[i])
		require.Empty(b.t, cutsOf(r), b.names[i])
		for _, s := range r.Snapshots {
			require.Equal(b.t, before[domain.SnapshotLvolName(b.names[0], s.Name)].sha, sha(b.t, host, s.Lvol.UUID), s.Name)
		}
		require.Equal(b.t, sha(b.t, b.members[0], list(b.t, b.members[0], b.names[0]).Head.UUID), sha(b.t, host, r.Head.UUID))
	}
}

func TestVolumePurge(t *testing.T) {
	for _, tree := range []string{liveTree, "head 5=5\n"} {
		for _, flavour := range []memory.Flavour{memory.Fork, memory.Upstream} {
			synctest.Test(t, func(t *testing.T) {
				b := newLiveFixture(t, 2, tree, memory.Config{Flavour: flavour})
				b.start(time.Millisecond)
				b.rebuilt()
				_, err := app.New(nil).SnapshotVolume(t.Context(), b.volumeOfAll(), "daily")
				require.NoError(t, err)
				before := contents(t, b.members[0])
				plan, err := app.New(nil).PlanVolumePurge(t.Context(), b.volumeOfAll())
				require.NoError(t, err)
				require.Len(t, plan.Snapshots, 1)
				require.Equal(t, "daily", plan.Snapshots[0].Into)
				require.Equal(t, []int{0, 1, 2}, plan.Snapshots[0].Members)
				require.Empty(t, plan.Purged)
				require.Equal(t, len(before), len(contents(t, b.members[0])))
				purged, err := app.New(nil).PurgeVolume(t.Context(), b.volumeOfAll())
				b.stop()
				require.NoError(t, err)
				require.Equal(t, []string{plan.Snapshots[0].Snapshot}, purged.Purged)
				b.requirePurged(before)
				check, err := app.New(nil).CheckVolume(t.Context(), b.volumeOfAll())
				require.NoError(t, err)
				require.False(t, check.Wrong(), "%+v", check.Audit.Differences)
			})
		}
	}
}

func (b *liveFixture) volumeOfAll() app.VolumeRequest {
	request := app.VolumeRequest{Mirror: b.mirror, Freezer: b.freezer, Base: domain.NoBase()}
	for i, host := range b.members {
		request.Members = append(request.Members, app.Site{Host: host, Replica: b.names[i]})
	}
	return request
}

// Clients trim while a purge fails at any call, or its engine dies there, until the same
// command completes it.
func TestVolumePurgeIsCompleted(t *testing.T) {
	for what, fault := range deaths {
		t.Run(what, func(t *testing.T) {
			for at := 1; ; at++ {
				finished := false
				synctest.Test(t, func(t *testing.T) {
					b := newLiveFixture(t, 2, "head 5=5\n", memory.Config{})
					b.rebuilt()
					before := contents(t, b.members[0])
					calls := 0
					b.inject(func(n int, _ liveCall) memory.Fault { calls = n; return fault(n, at) })
					_, _ = app.New(nil).PurgeVolume(t.Context(), b.volumeOfAll()) // a call whose failure does no harm may be ignored
					b.noFaults()
					finished = calls < at
					_, err := app.New(nil).PurgeVolume(t.Context(), b.volumeOfAll())
					require.NoError(t, err, "call %d", at)
					b.start(time.Millisecond)
					time.Sleep(20 * time.Millisecond)
					b.stop()
					b.requirePurged(before)
				})
				if finished {
					require.Greater(t, at, 10)
					return
				}
			}
		})
	}
}

// The cut of a rebuild that failed stays while the replica has it: the next rebuild keeps what
// it proves. Afterwards it can be purged.
func TestPurgeKeepsWhatRebuildNeeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		b.rebuilt()
		cut := cutsOf(list(t, b.members[0], b.names[0]))
		require.Len(t, cut, 1)
		head := list(t, b.to, copyName).Head.UUID
		require.NoError(t, b.mirror.Leave(t.Context(), head))
		purged, err := app.New(nil).PurgeVolume(t.Context(), b.volumeOfAll())
		require.NoError(t, err)
		require.Empty(t, purged.Purged)
		require.Contains(t, purged.Snapshots[0].Stays, "is not whole and has it, too")

		b.to.Kill()
		_, err = app.New(nil).PurgeVolume(t.Context(), b.volumeOfAll())
		require.ErrorIs(t, err, app.ErrRefused)
		require.ErrorContains(t, err, "it is not known which snapshots a rebuild of this replica still needs: start its host, or leave the replica out: ")
		b.to.Start()
		b.members, b.names = b.members[:2], b.names[:2]
		report, err := app.New(nil).RebuildOnline(t.Context(), b.request())
		require.NoError(t, err)
		require.Zero(t, report.CopiedBytes, "all was proven")
		b.members, b.names = append(b.members, b.to), append(b.names, copyName)
		before := contents(t, b.members[0])
		purged, err = app.New(nil).PurgeVolume(t.Context(), b.volumeOfAll())
		require.NoError(t, err)
		require.Len(t, purged.Purged, 2, fmt.Sprint(purged.Snapshots))
		b.requirePurged(before)
	})
}

// A live head that a dead engine has left reads through a cut.
func TestPurgeIsRefusedWithHalfBuiltMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		dead := false
		b.inject(func(_ int, c liveCall) memory.Fault {
			dead = dead || c.Method == "copy"
			if dead {
				return memory.Fault{Before: ports.ErrCorrupt}
			}
			return memory.Fault{}
		})
		_, err := app.New(nil).RebuildOnline(t.Context(), b.request())
		require.Error(t, err)
		b.noFaults()
		_, err = app.New(nil).PurgeVolume(t.Context(), b.volumeWithDestination())
		require.ErrorIs(t, err, app.ErrRefused)
		require.ErrorContains(t, err, "is being rebuilt, or was left half-built, and reads through snapshots of the others: wait for its rebuild, or run that again")
		_, err = app.New(nil).PurgeVolume(t.Context(), b.volume())
		require.ErrorContains(t, err, "is none of the replicas given")
		_, err = app.New(nil).RebuildOnline(t.Context(), b.request())
		require.NoError(t, err)
		purged, err := app.New(nil).PurgeVolume(t.Context(), b.volumeWithDestination())
		require.NoError(t, err)
		require.NotEmpty(t, purged.Purged)
	})
}

// The engine was killed in the freeze, when all was deleted or nothing: clients go on, whatever the
// same command finds left to do.
func TestKilledPurgeIsThawed(t *testing.T) {
	for _, deleted := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			b := newLiveFixture(t, 2, liveTree, memory.Config{})
			b.rebuilt()
			if !deleted {
				b.inject(func(_ int, c liveCall) memory.Fault {
					if c.Method == "merge" {
						return memory.Fault{Before: ports.ErrCorrupt}
					}
					return memory.Fault{}
				})
			}
			k := &killable{b: b, dies: true}
			b.freezer = k.freezer()
			_, err := app.New(nil).PurgeVolume(t.Context(), b.volumeOfAll())
			require.ErrorIs(t, err, ports.ErrNotThawed)
			require.True(t, k.suspended)
			k.dies, k.dead, b.freezer = false, false, k.freezer()
			b.noFaults()
			_, err = app.New(nil).PurgeVolume(t.Context(), b.volumeOfAll())
			require.NoError(t, err)
			require.False(t, k.suspended)
			require.Empty(t, cutsOf(list(t, b.members[0], b.names[0])))
		})
	}
}

// One member merges slowly, so that the freeze ends before it does: the rest is deleted in another
// one before a client trims.
func TestPurgeGoesOnAfterThaw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		b.rebuilt()
		before := contents(t, b.members[0])
		slow := true
		b.members[1].Inject(func(c memory.Call) memory.Fault {
			if c.Method == "merge" && slow {
				slow = false
				return memory.Fault{Delay: 2 * time.Second}
			}
			return memory.Fault{}
		})
		request := b.volumeOfAll()
		request.FreezeLimit = time.Second
		purged, err := app.New(nil).PurgeVolume(t.Context(), request)
		require.NoError(t, err)
		require.False(t, slow)
		require.Len(t, purged.Purged, 1)
		require.NoError(t, b.mirror.Trim(0, 8*cluster))
		b.requirePurged(before)
	})
}
