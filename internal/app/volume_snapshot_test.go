package app_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/freezer"
	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// killable stops clients. If it dies then, it does not let them go on.
type killable struct {
	b                     *liveFixture
	dies, dead, suspended bool
}

func (k *killable) freezer() *freezer.Freezer {
	return freezer.Func(func(ctx context.Context) error {
		err := k.b.mirror.Suspend(ctx)
		k.suspended, k.dead = k.suspended || err == nil, k.dies
		return err
	}, func(ctx context.Context) error {
		if k.dead {
			return errors.New("killed")
		}
		k.suspended = false
		return k.b.mirror.Resume(ctx)
	})
}

// snapshotKilled leaves what an engine does that is killed in the freeze of a snapshot, when that
// many members have it.
func (b *liveFixture) snapshotKilled(name string, have int) *killable {
	b.t.Helper()
	for i, host := range b.members {
		host.Inject(func(c memory.Call) memory.Fault {
			if c.Method == "merge" || c.Method == "snapshot" && i >= have {
				return memory.Fault{Before: ports.ErrCorrupt}
			}
			return memory.Fault{}
		})
	}
	k := &killable{b: b, dies: true}
	b.freezer = k.freezer()
	taken, err := app.New(nil).SnapshotVolume(b.t.Context(), b.volume(), name)
	require.ErrorIs(b.t, err, ports.ErrNotThawed)
	require.Equal(b.t, have < len(b.members), errors.Is(err, app.ErrCleanUp))
	require.Equal(b.t, have == len(b.members), taken.Taken, "only the thaw failed")
	require.True(b.t, k.suspended)
	k.dies, k.dead, b.freezer = false, false, k.freezer() // another process
	b.noFaults()
	return k
}

func (b *liveFixture) requireEqualHeads() {
	b.t.Helper()
	for i := range b.members {
		require.Equal(b.t, b.shaOfHead(0), b.shaOfHead(i))
	}
}

func (b *liveFixture) shaOfHead(member int) string {
	b.t.Helper()
	host := b.members[member]
	return sha(b.t, host, list(b.t, host, b.names[member]).Head.UUID)
}

func TestKilledVolumeSnapshotIsTakenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 3, liveTree, memory.Config{})
		k := b.snapshotKilled("daily", 1)
		taken, err := app.New(nil).SnapshotVolume(t.Context(), b.volume(), "daily")
		require.NoError(t, err)
		require.True(t, taken.Taken)
		require.Contains(t, taken.Warnings, "snapshot "+b.names[0]+"-snap-daily, which not all members had, was taken away first")
		require.False(t, k.suspended)
		requireSnapshot(t, "daily", b.members, b.names)
		require.NoError(t, b.mirror.Trim(0, 8*cluster))
		b.requireEqualHeads()
	})
}

// An engine died in the freeze of a cut, and the next command is a snapshot.
func TestVolumeSnapshotRemovesHalfCut(t *testing.T) {
	for _, refuses := range []bool{false, true} { // to freeze a frozen volume
		synctest.Test(t, func(t *testing.T) {
			b := newLiveFixture(t, 3, liveTree, memory.Config{})
			b.dieInACut(2)
			b.trimAtFirst(refuses)
			b.inject(func(_ int, c liveCall) memory.Fault {
				if c.Method == "merge" && c.N == 1 {
					return memory.Fault{Before: ports.ErrUnavailable}
				}
				return memory.Fault{}
			})
			taken, err := app.New(nil).SnapshotVolume(t.Context(), b.volume(), "daily")
			require.NoError(t, err)
			require.True(t, taken.Taken)
			require.Empty(t, b.requireEqualCuts())
			require.Equal(t, refuses, len(taken.Warnings) > 0, "clients went on too early")
			if !refuses {
				requireSnapshot(t, "daily", b.members, b.names)
				b.requireEqualHeads()
			}
		})
	}
}

// Nobody knows whether a member that is not given has it, too.
func TestRefusedVolumeSnapshotTellsOfHalfCuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 3, liveTree, memory.Config{})
		b.dieInACut(1)
		b.trimAtFirst(false)
		v := b.volume()
		v.Members = v.Members[:2]
		_, err := app.New(nil).SnapshotVolume(t.Context(), v, "daily")
		require.ErrorContains(t, err, "name every replica of the volume")
		require.ErrorContains(t, err, "not all members of the volume could be listed before clients went on")
		require.NotErrorIs(t, err, app.ErrRefused, "something was changed")
		require.Empty(t, b.requireEqualCuts())
		b.requireEqualHeads()
	})
}

// A call of the undo fails once.
func TestUndoOfAVolumeSnapshotOutlivesOneFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		b.inject(func(_ int, c liveCall) memory.Fault {
			switch {
			case c.Method == "snapshot" && c.party > partyMember:
				return memory.Fault{Before: ports.ErrNoSpace}
			case c.Method == "merge" && c.N == 1:
				return memory.Fault{Before: ports.ErrUnavailable}
			}
			return memory.Fault{}
		})
		b.trimAtFirst(false)
		_, err := app.New(nil).SnapshotVolume(t.Context(), b.volume(), "daily")
		require.ErrorIs(t, err, ports.ErrNoSpace)
		require.NotErrorIs(t, err, app.ErrCleanUp)
		b.requireEqualHeads()
	})
}

// All members have it, so it is refused; but clients go on.
func TestKilledVolumeSnapshotIsThawed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		k := b.snapshotKilled("daily", 2)
		_, err := app.New(nil).SnapshotVolume(t.Context(), b.volume(), "daily")
		require.ErrorIs(t, err, app.ErrRefused)
		require.ErrorContains(t, err, "has a snapshot daily already")
		require.False(t, k.suspended)
		requireSnapshot(t, "daily", b.members, b.names)
	})
}

func TestRebuildWarnsOfKilledVolumeSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		b.snapshotKilled("daily", 1)
		report, err := app.New(nil).RebuildOnline(t.Context(), b.request())
		require.NoError(t, err)
		require.Contains(t, report.Warnings, "other members lack snapshot "+b.names[0]+"-snap-daily: where clients trim, the members' bytes may differ; take snapshot daily of the volume again")
	})
}

// An owner took a snapshot of one member alone: it stays if anything else reads it.
func TestVolumeSnapshotKeepsThatOfOneMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		r := list(t, b.members[0], b.names[0])
		lvol := domain.SnapshotLvolName(b.names[0], "daily")
		uuid, err := b.members[0].Snapshot(t.Context(), r.Head.UUID, lvol, domain.Attributes{UserCreated: true})
		require.NoError(t, err)
		_, err = b.members[0].Clone(t.Context(), uuid, "clone", r.Head.Size, "")
		require.NoError(t, err)
		_, err = app.New(nil).SnapshotVolume(t.Context(), b.volume(), "daily")
		require.ErrorIs(t, err, app.ErrRefused)
		_, has := list(t, b.members[0], b.names[0]).Snapshot("daily")
		require.True(t, has)
	})
}

// An owner takes a snapshot of the same name at the same time: it stays.
func TestUndoneVolumeSnapshotKeepsThatOfOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		head := list(t, b.members[0], b.names[0]).Head.UUID
		var once atomic.Bool
		b.members[0].Inject(func(c memory.Call) memory.Fault {
			if c.Method == "snapshot" && !once.Swap(true) {
				_, err := b.members[0].Snapshot(context.Background(), head, domain.SnapshotLvolName(b.names[0], "daily"), domain.Attributes{})
				require.NoError(t, err)
			}
			return memory.Fault{}
		})
		_, err := app.New(nil).SnapshotVolume(t.Context(), b.volume(), "daily")
		require.ErrorIs(t, err, ports.ErrExists)
		_, has := list(t, b.members[0], b.names[0]).Snapshot("daily")
		require.True(t, has)
		_, has = list(t, b.members[1], b.names[1]).Snapshot("daily")
		require.False(t, has)
	})
}

// A freeze function hangs, and does not heed its context.
func TestRebuildEndsWhileFreezeHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		b.freezer = freezer.Func(func(context.Context) error { time.Sleep(time.Hour); return nil }, b.mirror.Resume)
		began := time.Now()
		_, err := app.New(nil).RebuildOnline(t.Context(), b.request())
		require.ErrorIs(t, err, ports.ErrNotFrozen)
		require.Less(t, time.Since(began), time.Minute)
		time.Sleep(2 * time.Hour) // until it has ended
	})
}

// A freezer that can never work is refused before the destination's head is deleted. One that
// does not know that fails later, and the report has what is left.
func TestRebuildChecksFreezer(t *testing.T) {
	for _, checked := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			b := newLiveFixture(t, 2, liveTree, memory.Config{})
			newBuilder(t, b.to, copyName, "").build("snap1 0=1 1=2\n  old 1=9\n    head 3=3\n")
			never := func(context.Context) error { return ports.ErrUnsupported }
			b.freezer = freezer.Func(never, b.mirror.Resume)
			if checked {
				b.freezer = b.freezer.Checked(never)
			}
			before := contents(t, b.to)
			report, err := app.New(nil).RebuildOnline(t.Context(), b.request())
			require.ErrorIs(t, err, ports.ErrUnsupported)
			require.Equal(t, checked, errors.Is(err, app.ErrRefused))
			if checked {
				require.Equal(t, before, contents(t, b.to))
				return
			}
			require.Nil(t, report.Destination.Head)
			require.Len(t, report.Destination.Snapshots, 1)
		})
	}
}

func TestVolumeSnapshotRefusesOtherReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		newBuilder(t, b.to, copyName, "").build("head\n")
		_, err := app.New(nil).SnapshotVolume(t.Context(), b.volumeWithDestination(), "daily")
		require.ErrorIs(t, err, app.ErrRefused)
		require.ErrorContains(t, err, copyName+" on lvstore disk-b is no member of volume vol-1: leave it out, or rebuild it first")
		_, has := list(t, b.members[0], b.names[0]).Snapshot("daily")
		require.False(t, has)
		b.inject(func(_ int, c liveCall) memory.Fault {
			if c.Method == "list" && c.party > partyMember {
				return memory.Fault{Before: ports.ErrUnavailable}
			}
			return memory.Fault{}
		})
		_, err = app.New(nil).SnapshotVolume(t.Context(), b.volume(), "daily")
		require.ErrorIs(t, err, app.ErrRefused)
		require.ErrorContains(t, err, " of volume vol-1 is none of the replicas listed: list the host of replica "+b.names[1]+": ")
	})
}
