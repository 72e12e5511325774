package app_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
)

// snapshotBefore has another process take a snapshot of the volume before the n-th of the calls that
// the rebuild makes after a moment. It returns whether there were so many.
func (b *liveFixture) snapshotBefore(n int, volume app.VolumeRequest, name string, after func(c liveCall) bool) (wait func() bool) {
	var taking sync.WaitGroup
	var once sync.Once
	begun, taken := false, false
	b.inject(func(_ int, c liveCall) memory.Fault {
		if begun {
			n--
		}
		begun = begun || after(c)
		if n > 0 {
			return memory.Fault{}
		}
		once.Do(func() {
			taking.Go(func() {
				time.Sleep(time.Millisecond)
				b.noFaults()
				snapshot, err := app.New(nil).SnapshotVolume(context.WithoutCancel(b.t.Context()), volume, name)
				require.NoError(b.t, err)
				taken = snapshot.Taken
			})
		})
		return memory.Fault{Delay: time.Second}
	})
	return func() bool {
		taking.Wait()
		b.noFaults()
		return taken
	}
}

// Users may take snapshots as long as a rebuild lasts, also between the name of the head and its end.
func TestVolumeSnapshotAfterHeadIsNamed(t *testing.T) {
	for n, taken := 1, true; taken; n++ {
		synctest.Test(t, func(t *testing.T) {
			b := newLiveFixture(t, 2, liveTree, memory.Config{})
			wait := b.snapshotBefore(n, b.volumeWithDestination(), "daily", func(c liveCall) bool { return c.party == partyDestination && c.Method == "rename" })
			_, err := app.New(nil).RebuildOnline(t.Context(), b.request())
			taken = wait()
			require.NoError(t, err, "call %d", n)
			if taken {
				requireSnapshot(t, "daily", append(b.members, b.to), append(b.names, copyName))
			}
		})
		require.True(t, taken || n > 5)
	}
}

// The same while a replica is verified that is whole already.
func TestVolumeSnapshotWhileWholeMemberIsVerified(t *testing.T) {
	for n, taken := 1, true; taken; n++ {
		synctest.Test(t, func(t *testing.T) {
			b := newLiveFixture(t, 2, liveTree, memory.Config{})
			_, err := app.New(nil).RebuildOnline(t.Context(), b.request())
			require.NoError(t, err)
			wait := b.snapshotBefore(n, b.volumeWithDestination(), "daily", func(liveCall) bool { return true })
			_, err = app.New(nil).RebuildOnline(t.Context(), b.request())
			taken = wait()
			require.NoError(t, err, "call %d", n)
			if taken {
				requireSnapshot(t, "daily", append(b.members, b.to), append(b.names, copyName))
			}
		})
		require.True(t, taken || n > 5)
	}
}

// A snapshot between the listings of two members makes them no different.
func TestVolumeSnapshotWhileRebuildIsPlanned(t *testing.T) {
	for n := range 12 {
		synctest.Test(t, func(t *testing.T) {
			b := newLiveFixture(t, 2, liveTree, memory.Config{})
			wait := b.snapshotBefore(n, b.volume(), "daily", func(liveCall) bool { return true })
			_, err := app.New(nil).RebuildOnline(t.Context(), b.request())
			require.True(t, wait())
			require.NoError(t, err, "call %d", n)
			b.requireWhole()
		})
	}
}
