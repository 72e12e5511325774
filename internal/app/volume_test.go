package app_test

import (
	"sync"
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

// volume is the volume with its destination.
func (b *liveFixture) volume() app.VolumeRequest {
	r := b.request()
	request := app.VolumeRequest{Mirror: b.mirror, Freezer: b.freezer, Base: domain.NoBase()}
	request.Members = append(append(request.Members, r.Source), r.MoreSources...)
	return request
}

func (b *liveFixture) volumeWithDestination() app.VolumeRequest {
	request := b.volume()
	request.Members = append(request.Members, b.request().Destination)
	return request
}

// duringFirstCopy calls do during the first copy of the rebuild.
func (b *liveFixture) duringFirstCopy(do func()) {
	var done atomic.Bool
	b.members[0].Inject(func(c memory.Call) memory.Fault {
		if c.Method == "copy" && done.CompareAndSwap(false, true) {
			do()
		}
		return memory.Fault{}
	})
}

// L#7718: the rebuilding replica's mode is not shown.
func TestField_7718_VolumeTellsModes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 3, liveTree, memory.Config{})
		b.start(time.Millisecond)
		var during app.VolumeReport
		b.duringFirstCopy(func() {
			var err error
			during, err = app.New(nil).Volume(t.Context(), b.volumeWithDestination())
			require.NoError(t, err)
		})
		_, err := app.New(nil).RebuildOnline(t.Context(), b.request())
		require.NoError(t, err)
		require.Len(t, during.Replicas, 4)
		require.Equal(t, domain.ModeWO, during.Replicas[3].Member.Mode)
		require.Empty(t, during.Strangers)
		b.members[0].Kill()
		time.Sleep(10 * time.Second)
		b.stop()
		after, err := app.New(nil).Volume(t.Context(), b.volumeWithDestination())
		require.NoError(t, err)
		require.Len(t, after.Lost, 1, "its host cannot be listed")
		require.Equal(t, domain.ModeRW, after.Replicas[2].Member.Mode)
		onlyTwo := b.volume()
		onlyTwo.Members = onlyTwo.Members[1:]
		after, err = app.New(nil).Volume(t.Context(), onlyTwo)
		require.NoError(t, err)
		require.Len(t, after.Strangers, 1)
	})
}

// replace replaces a leaf by one with the same attributes and clusters, and other bytes.
func (b *liveFixture) replace(host *memory.Host, s domain.Snapshot) {
	b.t.Helper()
	ctx := b.t.Context()
	other, err := host.Create(ctx, "other", s.Lvol.Size)
	require.NoError(b.t, err)
	require.NoError(b.t, host.WriteAt(other, []byte("other bytes"), 2*cluster))
	require.NoError(b.t, host.Graft(ctx, other, s.Lvol.Parent))
	require.NoError(b.t, host.Delete(ctx, s.Lvol.UUID))
	_, err = host.Seal(ctx, other, s.Lvol.Name, ports.SealRecord{Attributes: s.Lvol.Attributes})
	require.NoError(b.t, err)
}

func TestVolumeCheckFindsOddMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 3, liveTree, memory.Config{})
		b.start(time.Millisecond)
		check, err := app.New(nil).CheckVolume(t.Context(), b.volume())
		require.NoError(t, err)
		require.False(t, check.Wrong(), "%+v %+v", check.Faults(), check.Audit.Differences)
		snapshot, ok := list(t, b.members[1], b.names[1]).Snapshot("snap3")
		require.True(t, ok)
		b.replace(b.members[1], snapshot)
		check, err = app.New(nil).CheckVolume(t.Context(), b.volume())
		b.stop()
		require.NoError(t, err)
		require.True(t, check.Wrong())
		require.Len(t, check.Audit.Differences, 1)
		require.Equal(t, []string{b.names[1] + " on disk-a2"}, check.Audit.Differences[0].Odd())
	})
}

// requireSnapshot expects a snapshot of the same bytes on all of these.
func requireSnapshot(t *testing.T, name string, hosts []*memory.Host, replicas []string) {
	t.Helper()
	var sums []string
	for i, host := range hosts {
		snapshot, ok := list(t, host, replicas[i]).Snapshot(name)
		require.True(t, ok, replicas[i])
		require.True(t, snapshot.Lvol.Attributes.UserCreated)
		sums = append(sums, sha(t, host, snapshot.Lvol.UUID))
	}
	for _, sum := range sums {
		require.Equal(t, sums[0], sum)
	}
}

func TestVolumeSnapshotIsOfOneMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 3, liveTree, memory.Config{})
		b.start(time.Millisecond)
		time.Sleep(100 * time.Millisecond)
		taken, err := app.New(nil).SnapshotVolume(t.Context(), b.volume(), "daily")
		b.stop()
		require.NoError(t, err)
		require.Len(t, taken.Replicas, 3)
		requireSnapshot(t, "daily", b.members, b.names)
		_, err = app.New(nil).SnapshotVolume(t.Context(), b.volume(), "daily")
		require.ErrorIs(t, err, app.ErrRefused)
	})
}

func TestVolumeSnapshotDuringRebuild(t *testing.T) {
	for _, members := range []int{1, 2} {
		synctest.Test(t, func(t *testing.T) {
			b := newLiveFixture(t, members, liveTree, memory.Config{})
			b.start(time.Millisecond)
			engine := app.New(nil)
			b.duringFirstCopy(func() {
				_, err := engine.SnapshotVolume(t.Context(), b.volumeWithDestination(), "daily")
				require.NoError(t, err)
			})
			_, err := engine.RebuildOnline(t.Context(), b.request())
			b.stop()
			require.NoError(t, err)
			b.requireWhole()
			requireSnapshot(t, "daily", append(b.members, b.to), append(b.names, copyName))
		})
	}
}

// Two processes that know nothing of each other freeze one volume one after the other.
func TestFreezesOfVolumeDoNotOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		b.members[0].Inject(func(c memory.Call) memory.Fault {
			if c.Method == "snapshot" {
				return memory.Fault{Delay: time.Second}
			}
			return memory.Fault{}
		})
		b.start(time.Millisecond)
		var all sync.WaitGroup
		for _, name := range []string{"one", "two", "three"} {
			request := b.volume()
			request.Freezer = freezer.Func(b.mirror.Suspend, b.mirror.Resume) // of its own
			all.Go(func() {
				_, err := app.New(nil).SnapshotVolume(t.Context(), request, name)
				require.NoError(t, err)
			})
		}
		all.Wait()
		b.stop()
		for _, name := range []string{"one", "two", "three"} {
			requireSnapshot(t, name, b.members, b.names)
		}
	})
}

func TestVolumeSnapshotNeedsEveryMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		request := b.volume()
		request.Members = request.Members[:1]
		_, err := app.New(nil).SnapshotVolume(t.Context(), request, "daily")
		require.ErrorIs(t, err, app.ErrRefused)
		require.ErrorContains(t, err, b.names[1])
	})
}

// L#13913: a failed snapshot left I/O suspended for good. A failure on one member takes the
// snapshots of the others away again, in the freeze.
func TestField_13913_FailedVolumeSnapshotLeavesNothing(t *testing.T) {
	for what, fault := range map[string]memory.Fault{
		"refused":     {Before: ports.ErrNoSpace},
		"answer lost": {After: ports.ErrUnavailable},
		"too slow":    {Delay: time.Minute},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newLiveFixture(t, 2, liveTree, memory.Config{})
				b.start(time.Millisecond)
				b.members[1].Inject(func(c memory.Call) memory.Fault {
					if c.Method == "snapshot" {
						return fault
					}
					return memory.Fault{}
				})
				_, err := app.New(nil).SnapshotVolume(t.Context(), b.volume(), "daily")
				require.Less(t, b.stop().Longest, 2*app.DefaultFreezeLimit)
				require.Error(t, err)
				for i, host := range b.members {
					_, left := list(t, host, b.names[i]).Snapshot("daily")
					require.False(t, left, b.names[i])
				}
			})
		})
	}
}
