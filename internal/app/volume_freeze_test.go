package app_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/freezer"
	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/ports"
)

// busyFreezes is a host on which another process freezes the volume, as long as it is said so.
type busyFreezes struct {
	*memory.Host

	busy *atomic.Bool
}

func (h busyFreezes) Lease(ctx context.Context, name string, lease ports.Lease) (release func(), err error) {
	if strings.HasPrefix(name, "freeze ") && h.busy.Load() {
		return nil, ports.ErrBusy
	}
	return h.Host.Lease(ctx, name, lease)
}

// TestUndoWaitsNotLongForAnotherFreeze has the freeze end when one member of two has the snapshot,
// and another process freeze the volume then: clients trim meanwhile.
func TestUndoWaitsNotLongForAnotherFreeze(t *testing.T) {
	for what, do := range map[string]func(t *testing.T, r app.OnlineRequest) error{
		"rebuild": func(t *testing.T, r app.OnlineRequest) error {
			t.Helper()
			report, err := app.New(nil).RebuildOnline(t.Context(), r)
			require.Contains(t, strings.Join(report.Warnings, " "), "a check of the volume shows it")
			return err
		},
		"snapshot": func(t *testing.T, r app.OnlineRequest) error {
			t.Helper()
			v := app.VolumeRequest{Mirror: r.Mirror, Freezer: r.Freezer, Members: append(r.MoreSources, r.Source)}
			taken, err := app.New(nil).SnapshotVolume(t.Context(), v, "daily")
			require.False(t, taken.Taken)
			require.ErrorIs(t, err, ports.ErrThawed)
			require.ErrorContains(t, err, "a check of the volume shows it")
			require.NotErrorIs(t, err, app.ErrCleanUp)
			return nil
		},
	} {
		for _, busy := range []bool{true, false} {
			t.Run(what, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newLiveFixture(t, 2, liveTree, memory.Config{})
					other := &atomic.Bool{}
					var thawed, merged time.Time
					frozen, inFreeze := false, false
					trims := func(int64, int64) error { return nil } // after clients went on first
					b.inject(func(_ int, c liveCall) memory.Fault {
						switch {
						case c.Method == "snapshot" && c.party > partyMember && c.N == 1:
							return memory.Fault{Delay: time.Minute}
						case c.Method == "merge":
							merged, inFreeze = time.Now(), frozen
							other.Store(false)
						}
						return memory.Fault{}
					})
					r := b.request()
					r.Source.Host, r.MoreSources[0].Host = busyFreezes{b.members[0], other}, busyFreezes{b.members[1], other}
					r.Freezer = freezer.Func(func(ctx context.Context) error { frozen = true; return b.mirror.Suspend(ctx) },
						func(ctx context.Context) error {
							if frozen && thawed.IsZero() {
								thawed = time.Now()
								trims = b.mirror.Trim
								other.Store(busy)
							}
							frozen = false
							err := errors.Join(b.mirror.Resume(ctx), trims(5*cluster, cluster))
							trims = func(int64, int64) error { return nil }
							return err
						})
					require.NoError(t, do(t, r))
					require.NotEqual(t, b.shaOfHead(0), b.shaOfHead(1), "one member showed what the snapshot has")
					all := b.volume()
					if what == "rebuild" {
						all = b.volumeWithDestination()
					}
					_, err := app.New(nil).SnapshotVolume(t.Context(), all, "weekly")
					require.NoError(t, err)
					check, err := app.New(nil).CheckVolume(t.Context(), all)
					require.NoError(t, err)
					require.True(t, check.Audit.Wrong())
					_, err = b.mirror.WriteAt(make([]byte, cluster), 5*cluster)
					require.NoError(t, err)
					b.requireEqualHeads()
					require.Equal(t, !busy, inFreeze)
					require.Less(t, merged.Sub(thawed), 15*time.Second)
					require.Equal(t, busy, merged.Sub(thawed) > time.Second)
				})
			})
		}
	}
}

// TestLongThawIsTold: a thaw that fails is repeated for a minute, and that is told meanwhile.
func TestLongThawIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		var told []string
		ctx := app.OnWaiting(t.Context(), func(text string) { told = append(told, text) })
		r := b.request()
		thaws := 0
		r.Freezer = freezer.Func(b.mirror.Suspend, func(ctx context.Context) error {
			if thaws++; thaws > 1 {
				return ports.ErrInvalid
			}
			return b.mirror.Resume(ctx)
		})
		_, err := app.New(nil).RebuildOnline(ctx, r)
		require.ErrorIs(t, err, ports.ErrNotThawed)
		require.Contains(t, told, "for 2s now: the clients to be stopped, or to go on")
		require.Contains(t, told, "for 2s now: the clients to go on")
	})
}
