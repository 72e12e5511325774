package app_test

import (
	"context"
	"strings"
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

// TestLastSourceDiesWhenReplicaIsWhole has all members die when the live head gets its final name.
// The volume goes on with it, as long as the mirror does.
func TestLastSourceDiesWhenReplicaIsWhole(t *testing.T) {
	for _, at := range []struct {
		members int
		mirror  bool // it dies, too
	}{{members: 1}, {members: 2}, {members: 1, mirror: true}} {
		synctest.Test(t, func(t *testing.T) {
			b := newLiveFixture(t, at.members, liveTree, memory.Config{})
			b.start(10 * time.Millisecond)
			defer b.clients.Stop()
			b.slowly(onceAt(partyDestination, "rename", func() {
				for _, host := range b.members {
					host.Kill()
				}
				if at.mirror {
					b.mirror.Kill()
				}
			}))
			r := b.request()
			report, err := app.New(nil).RebuildOnline(t.Context(), r)
			head := list(t, b.to, copyName).Head
			if at.mirror {
				require.ErrorContains(t, err, "got its final name when the mirror had never been without it")
				require.Equal(t, app.OutcomeFailed, report.Outcome)
				return
			}
			require.NoError(t, err)
			require.Equal(t, app.OutcomeComplete, report.Outcome)
			require.Len(t, report.Notices, 2)
			require.Contains(t, report.Notices[0], "no source could be compared once more after the landing")
			require.Contains(t, report.Notices[1], "the members keep "+report.Online.Cut)
			require.Equal(t, head.UUID, report.Destination.Head.UUID)
			b.settle()
			b.stop()
			volume, err := b.mirror.Volume(t.Context())
			require.NoError(t, err)
			m, _ := volume.Member(head.UUID)
			require.Equal(t, domain.ModeRW, m.Mode)
		})
	}
}

// TestSourceDiesBeforeItsWayIsClosed: the destination is whole then, so that is no failure.
func TestSourceDiesBeforeItsWayIsClosed(t *testing.T) {
	for members := range 2 {
		synctest.Test(t, func(t *testing.T) {
			b := newLiveFixture(t, members+1, liveTree, memory.Config{})
			b.start(10 * time.Millisecond)
			defer b.clients.Stop()
			b.slowly(onceAt(partyMirror, "release", b.members[members].Kill))
			report, err := app.New(nil).RebuildOnline(t.Context(), b.request())
			require.NoError(t, err)
			require.Equal(t, app.OutcomeComplete, report.Outcome)
			require.Contains(t, strings.Join(report.Warnings, "\n"), "may remain on the host of source")
			b.settle()
			b.stop()
		})
	}
}

// TestMirrorAndLastSourceDieBeforeTheLanding: the failure is theirs, and nothing is corrupt.
func TestMirrorAndLastSourceDieBeforeTheLanding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 1, liveTree, memory.Config{})
		freezes := 0
		b.freezer = freezer.Func(func(ctx context.Context) error {
			if freezes++; freezes == 2 {
				b.members[0].Kill()
				b.mirror.Kill()
			}
			return b.mirror.Suspend(ctx)
		}, b.mirror.Resume)
		_, err := app.New(nil).RebuildOnline(t.Context(), b.request())
		require.ErrorIs(t, err, ports.ErrUnavailable)
		require.NotErrorIs(t, err, ports.ErrCorrupt)
		require.Nil(t, list(t, b.to, copyName).Head)
	})
}
