package app_test

import (
	"context"
	"errors"
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

// spdk/spdk#3305: housekeeping faulted the only good replica. A live head that cannot leave needs
// the exports of the members' cuts as long as the mirror reads it.
func TestField_SPDK3305_FailedCleanupDegradesNoMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		b.start(50 * time.Millisecond)
		defer b.clients.Stop()
		ctx, cancel := context.WithCancel(t.Context())
		cancelled := onceAt(partyDestination, "seal", cancel)
		b.inject(func(_ int, c liveCall) memory.Fault {
			cancelled(c)
			if c.Method == "leave" {
				return memory.Fault{Before: ports.ErrBusy}
			}
			return memory.Fault{Delay: 10 * time.Millisecond}
		})
		_, err := app.New(nil).RebuildOnline(ctx, b.request())
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, app.ErrCleanUp)
		require.ErrorContains(t, err, "its connections stay open: take the live head out of the mirror")
		b.settle()
		volume, err := b.mirror.Volume(t.Context())
		require.NoError(t, err)
		require.Len(t, volume.Members, 3)
		for _, m := range volume.Members {
			require.Equal(t, domain.ModeRW, m.Mode, m.Reason)
		}
		b.noFaults()
		_, err = app.New(nil).RebuildOnline(t.Context(), b.request())
		require.NoError(t, err)
		b.stop()
		b.requireWhole()
	})
}

// TestLiveHeadLeavesAtTheSecondAttempt: a mirror that fails once is asked again.
func TestLiveHeadLeavesAtTheSecondAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		ctx, cancel := context.WithCancel(t.Context())
		cancelled := onceAt(partyDestination, "seal", cancel)
		b.inject(func(_ int, c liveCall) memory.Fault {
			cancelled(c)
			if c.Method == "leave" && c.N == 1 {
				return memory.Fault{Before: ports.ErrUnavailable}
			}
			return memory.Fault{}
		})
		report, err := app.New(nil).RebuildOnline(ctx, b.request())
		require.ErrorIs(t, err, context.Canceled)
		require.NotErrorIs(t, err, app.ErrCleanUp)
		volume, err := b.mirror.Volume(t.Context())
		require.NoError(t, err)
		require.Len(t, volume.Members, 2)
		require.Equal(t, volume.Members, report.Online.Members, "the report tells of the volume at the end")
		require.Empty(t, list(t, b.to, copyName).InFlight)
	})
}

// TestVolumeIsThawedOnceMore: a freezer gives up to thaw after a minute. If clients go on soon after that, nothing is
// lost; if they go on only at the end of the run, its error tells what is left, and no wrong thing.
func TestVolumeIsThawedOnceMore(t *testing.T) {
	for _, failsFor := range []time.Duration{70 * time.Second, 100 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			b := newLiveFixture(t, 2, liveTree, memory.Config{})
			b.start(time.Millisecond)
			defer b.clients.Stop()
			var frozen time.Time
			suspend := func(ctx context.Context) error {
				if frozen.IsZero() {
					frozen = time.Now()
				}
				return b.mirror.Suspend(ctx)
			}
			resume := func(ctx context.Context) error {
				if !frozen.IsZero() && time.Since(frozen) < failsFor {
					return errors.New("not yet")
				}
				return b.mirror.Resume(ctx)
			}
			r := b.request()
			r.Freezer = freezer.Func(suspend, resume)
			_, err := app.New(nil).RebuildOnline(t.Context(), r)
			require.NoError(t, b.mirror.Suspend(t.Context()), "clients went on")
			require.NoError(t, b.mirror.Resume(t.Context()))
			b.stop()
			cuts := b.requireEqualCuts()
			require.Len(t, cuts, 1)
			if failsFor < 90*time.Second {
				require.NoError(t, err)
				b.requireWhole()
				return
			}
			require.ErrorContains(t, err, "snapshot "+cuts[0]+" of the cut stays on all members")
			require.NotErrorIs(t, err, ports.ErrNotThawed)
			require.NotErrorIs(t, err, app.ErrCleanUp)
		})
	}
}

// LINBIT/linstor-server#138: a failed snapshot left I/O suspended for good. Here an engine died in a
// freeze; also a run that is refused ends that.
func TestField_Linstor138_VolumeIsThawedBeforeAnythingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		require.NoError(t, b.mirror.Suspend(t.Context()), "by an engine that died")
		r := b.request()
		r.Destination = r.Source
		_, err := app.New(nil).RebuildOnline(t.Context(), r)
		require.ErrorIs(t, err, app.ErrRefused)
		require.NoError(t, b.mirror.Suspend(t.Context()), "clients went on")
	})
}

// TestWayOfALiveHeadThatCouldNotBeMadeIsClosed: it is opened while the head is made.
func TestWayOfALiveHeadThatCouldNotBeMadeIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		offered, hidden := false, false
		b.inject(func(_ int, c liveCall) memory.Fault {
			if c.party != partyDestination {
				return memory.Fault{}
			}
			offered, hidden = offered || c.Method == "offer", hidden || offered && c.Method == "hide-head"
			if c.Method == "create" && c.N == 1 {
				return memory.Fault{Before: ports.ErrInvalid}
			}
			return memory.Fault{}
		})
		_, err := app.New(nil).RebuildOnline(t.Context(), b.request())
		require.ErrorIs(t, err, ports.ErrInvalid)
		require.True(t, offered)
		require.True(t, hidden)
	})
}

// TestLiveHeadLeavesThoughItsHostDoesNotAnswer: it cannot have its final name, so the mirror need
// not read and write it any longer.
func TestLiveHeadLeavesThoughItsHostDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		ctx, cancel := context.WithCancel(t.Context())
		silent := false
		copying := onceAt(partyMember, "copy", func() { silent = true; cancel() })
		b.inject(func(_ int, c liveCall) memory.Fault {
			copying(c)
			if silent && c.party == partyDestination {
				return memory.Fault{Before: ports.ErrUnavailable}
			}
			return memory.Fault{}
		})
		_, err := app.New(nil).RebuildOnline(ctx, b.request())
		require.True(t, silent)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, app.ErrCleanUp)
		volume, err := b.mirror.Volume(t.Context())
		require.NoError(t, err)
		require.Len(t, volume.Members, 2)
		b.noFaults()
		_, err = app.New(nil).RebuildOnline(t.Context(), b.request())
		require.NoError(t, err)
	})
}

// TestLiveHeadLeavesThoughItIsGone: a mirror that did not write since still lists it, and would keep
// every later run from a plan.
func TestLiveHeadLeavesThoughItIsGone(t *testing.T) {
	for _, at := range []string{"copy", "rename"} {
		t.Run(at, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newLiveFixture(t, 2, liveTree, memory.Config{})
				gone := false
				b.inject(func(_ int, c liveCall) memory.Fault {
					if c.Method == at {
						gone = true
						return memory.Fault{Before: ports.ErrInvalid}
					}
					if gone && c.party == partyDestination && c.Method == "look" {
						return memory.Fault{Before: ports.ErrNotFound}
					}
					return memory.Fault{}
				})
				_, err := app.New(nil).RebuildOnline(t.Context(), b.request())
				require.True(t, gone)
				require.ErrorIs(t, err, ports.ErrInvalid)
				volume, err := b.mirror.Volume(t.Context())
				require.NoError(t, err)
				require.Len(t, volume.Members, 2)
			})
		})
	}
}
