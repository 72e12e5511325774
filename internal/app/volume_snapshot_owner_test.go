package app_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/ports"
)

// owned is the volume of a mirror whose owner takes the snapshots, under names that begin so.
func (b *liveFixture) owned(request app.VolumeRequest, names string) app.VolumeRequest {
	request.Mirror = ownersMirror{memory.CuttingMirror{Mirror: b.mirror}, names}
	return request
}

// The owner takes the snapshots, once for all members, and may choose the name.
func TestOwnerOfTheMirrorTakesVolumeSnapshot(t *testing.T) {
	for _, names := range []string{"", "owners-"} {
		synctest.Test(t, func(t *testing.T) {
			b := newLiveFixture(t, 2, liveTree, memory.Config{})
			calls := map[string]int{}
			b.inject(func(_ int, c liveCall) memory.Fault { calls[c.Method]++; return memory.Fault{} })
			taken, err := app.New(nil).SnapshotVolume(t.Context(), b.owned(b.volume(), names), "daily")
			require.NoError(t, err)
			require.True(t, taken.Taken)
			require.Equal(t, names+"daily", taken.Name)
			require.Equal(t, 1, calls["cut"])
			require.Equal(t, 2, calls["snapshot"], "those of the owner")
			requireSnapshot(t, names+"daily", b.members, b.names)
		})
	}
}

func TestOwnerOfTheMirrorTakesVolumeSnapshotDuringRebuild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		b.start(time.Millisecond)
		b.duringFirstCopy(func() {
			_, err := app.New(nil).SnapshotVolume(t.Context(), b.owned(b.volumeWithDestination(), "owners-"), "daily")
			require.NoError(t, err)
		})
		_, err := app.New(nil).RebuildOnline(t.Context(), b.request())
		b.stop()
		require.NoError(t, err)
		b.requireWhole()
		requireSnapshot(t, "owners-daily", append(b.members, b.to), append(b.names, copyName))
	})
}

// A member refuses the owner's snapshot, or is too slow for the freeze: none is left.
func TestVolumeSnapshotOfOwnerIsUndone(t *testing.T) {
	for want, fault := range map[error]memory.Fault{ports.ErrNoSpace: {Before: ports.ErrNoSpace}, ports.ErrThawed: {Delay: time.Minute}} {
		synctest.Test(t, func(t *testing.T) {
			b := newLiveFixture(t, 2, liveTree, memory.Config{})
			b.members[1].Inject(func(c memory.Call) memory.Fault {
				if c.Method == "snapshot" {
					return fault
				}
				return memory.Fault{}
			})
			taken, err := app.New(nil).SnapshotVolume(t.Context(), b.owned(b.volume(), ""), "daily")
			require.ErrorIs(t, err, want)
			require.NotErrorIs(t, err, app.ErrCleanUp)
			require.False(t, taken.Taken)
			for i, host := range b.members {
				require.Len(t, list(t, host, b.names[i]).Snapshots, 3)
			}
		})
	}
}

// The owner gives a name that its snapshot has not: no older one of that name is touched.
func TestVolumeSnapshotOfOwnerWithWrongName(t *testing.T) {
	for name, says := range map[string]string{"snap2": "has a snapshot snap2 already", "none-such": "did not take snapshot", "": "needs a name", "a/b": "expected letters"} {
		synctest.Test(t, func(t *testing.T) {
			b := newLiveFixture(t, 2, liveTree, memory.Config{})
			request := b.volume()
			request.Mirror = wrongOwner{memory.CuttingMirror{Mirror: b.mirror}, name}
			taken, err := app.New(nil).SnapshotVolume(t.Context(), request, "daily")
			require.ErrorIs(t, err, ports.ErrInvalid)
			require.ErrorContains(t, err, says)
			require.False(t, taken.Taken)
			for i, host := range b.members {
				require.Len(t, list(t, host, b.names[i]).Snapshots, 3)
			}
		})
	}
}
