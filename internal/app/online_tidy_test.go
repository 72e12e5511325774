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
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// dieInACut leaves what an engine does that dies in the freeze of a cut, when the first members have it.
func (b *liveFixture) dieInACut(have int) {
	b.t.Helper()
	for i, host := range b.members[:have] {
		head := list(b.t, host, b.names[i]).Head.UUID
		_, err := host.Snapshot(b.t.Context(), head, domain.SnapshotLvolName(b.names[i], "rebuild-cut-0a1b2c3d"), domain.Attributes{})
		require.NoError(b.t, err)
	}
	require.NoError(b.t, b.mirror.Suspend(b.t.Context()))
}

// trimAtFirst has a client trim as soon as it can go on, what the heads had before the cut. refuses is said
// of a freezer that cannot freeze what is frozen already.
func (b *liveFixture) trimAtFirst(refuses bool) {
	trimmed := false
	b.freezer = freezer.Func(func(ctx context.Context) error {
		err := b.mirror.Suspend(ctx)
		if errors.Is(err, ports.ErrBusy) && !refuses {
			return nil
		}
		return err
	}, func(ctx context.Context) error {
		err := b.mirror.Resume(ctx)
		if !trimmed {
			trimmed = true
			err = errors.Join(err, b.mirror.Trim(5*cluster, cluster))
		}
		return err
	})
}

func TestHalfCutIsRemovedWhenTheDestinationIsWhole(t *testing.T) {
	for have := 1; have <= 3; have++ {
		synctest.Test(t, func(t *testing.T) {
			b := newLiveFixture(t, 2, liveTree, memory.Config{})
			request := b.request()
			b.rebuilt()
			data := make([]byte, cluster)
			data[0] = 77
			_, err := b.mirror.WriteAt(data, 5*cluster)
			require.NoError(t, err)
			b.dieInACut(have)
			b.trimAtFirst(false)
			request.Freezer = b.freezer
			report, err := app.New(nil).RebuildOnline(t.Context(), request)
			require.NoError(t, err)
			require.Empty(t, report.Warnings)
			b.requireEqualHeads()
			require.Len(t, b.requireEqualCuts(), 1+have/3)
		})
	}
}

// The freeze for it is too short for one member: it is merged all the same.
func TestTidyGoesOnAfterItsFreeze(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 3, liveTree, memory.Config{})
		b.dieInACut(2)
		b.inject(func(_ int, c liveCall) memory.Fault {
			if c.Method == "merge" && c.party == partyMember+1 {
				return memory.Fault{Delay: 6 * time.Second}
			}
			return memory.Fault{}
		})
		report, err := app.New(nil).RebuildOnline(t.Context(), b.request())
		require.NoError(t, err)
		require.Contains(t, strings.Join(report.Warnings, " "), "a freeze ended when not all members had the same snapshots")
		require.Len(t, b.requireEqualCuts(), 1)
		b.requireTrimsEqual()
	})
}

func TestTidyRepeatsAMergeInItsFreeze(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		b.dieInACut(1)
		b.trimAtFirst(false)
		b.inject(func(_ int, c liveCall) memory.Fault {
			if c.Method == "merge" && c.N == 1 {
				return memory.Fault{Before: ports.ErrUnavailable}
			}
			return memory.Fault{}
		})
		report, err := app.New(nil).RebuildOnline(t.Context(), b.request())
		require.NoError(t, err)
		require.Empty(t, report.Warnings)
		require.Len(t, b.requireEqualCuts(), 1)
		b.requireEqualHeads()
	})
}

// A freezer that cannot freeze a frozen volume lets clients go on before the half cut is gone.
func TestFreezerThatEndsADeadFreezeIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		b.dieInACut(1)
		b.trimAtFirst(true)
		report, err := app.New(nil).RebuildOnline(t.Context(), b.request())
		require.NoError(t, err)
		require.Contains(t, strings.Join(report.Warnings, " "), "a freeze ended when not all members had the same snapshots")
		require.Len(t, b.requireEqualCuts(), 1)
	})
}

// Nobody can merge a cut with another clone, so clients go on with it, and the report tells.
func TestHalfCutThatStaysIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		b.dieInACut(1)
		cut, _ := list(t, b.members[0], b.names[0]).Snapshot("rebuild-cut-0a1b2c3d")
		_, err := b.members[0].Clone(t.Context(), cut.Lvol.UUID, "other", 8*cluster, "")
		require.NoError(t, err)
		report, err := app.New(nil).RebuildOnline(t.Context(), b.request())
		require.ErrorIs(t, err, app.ErrCleanUp)
		require.ErrorContains(t, err, cut.Lvol.Name)
		require.Contains(t, strings.Join(report.Warnings, " "), "a freeze ended when not all members had the same snapshots")
		require.NoError(t, b.mirror.Suspend(t.Context()), "clients went on")
	})
}

// A member is not given, or does not answer when clients are let go on.
func TestMembersThatAreNotListedBeforeTheThawAreTold(t *testing.T) {
	for _, given := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			b := newLiveFixture(t, 3, liveTree, memory.Config{})
			b.dieInACut(1)
			b.trimAtFirst(false)
			r := b.request()
			if !given {
				r.MoreSources = r.MoreSources[:1]
			}
			b.inject(func(_ int, c liveCall) memory.Fault {
				if c.Method == "list" && c.party == partyMember+2 {
					return memory.Fault{Before: ports.ErrUnavailable}
				}
				return memory.Fault{}
			})
			report, err := app.New(nil).RebuildOnline(t.Context(), r)
			require.Error(t, err)
			require.Contains(t, strings.Join(report.Warnings, " "), "not all members of the volume could be listed before clients went on")
			b.noFaults()
			require.Empty(t, b.requireEqualCuts(), "another member lacked it anyway")
			b.requireEqualHeads()
		})
	}
}

// leasedFreezes is a host that knows whether somebody has the lock on the volume's freezes.
type leasedFreezes struct {
	*memory.Host

	leased *atomic.Bool
}

func (h leasedFreezes) Lease(ctx context.Context, name string, lease ports.Lease) (func(), error) {
	release, err := h.Host.Lease(ctx, name, lease)
	if err != nil || !strings.HasPrefix(name, "freeze ") {
		return release, err
	}
	h.leased.Store(true)
	return func() { h.leased.Store(false); release() }, nil
}

// The volume cannot be frozen, perhaps since it is frozen already. No other run can cut it meanwhile: its
// cut would be merged before all members have it.
func TestHalfCutIsRemovedUnderTheFreezeLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		b.dieInACut(1)
		leased, merged := &atomic.Bool{}, []bool{}
		b.members[0].Inject(func(c memory.Call) memory.Fault {
			if c.Method == "merge" {
				merged = append(merged, leased.Load())
			}
			return memory.Fault{}
		})
		r := b.request()
		r.Source.Host = leasedFreezes{b.members[0], leased}
		refuses := func(context.Context) error { return errors.New("it is suspended already") }
		r.Freezer = freezer.Func(refuses, b.mirror.Resume)
		_, err := app.New(nil).RebuildOnline(t.Context(), r)
		require.ErrorIs(t, err, ports.ErrNotFrozen)
		require.Equal(t, []bool{true}, merged)
		require.Empty(t, b.requireEqualCuts())
	})
}
