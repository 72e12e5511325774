package app_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/ports"
)

// dropOnce lets the mirror drop a live head when the destination is asked for that method
// while the live head is a member: the next write to it fails.
func (b *liveFixture) dropOnce(method string) {
	var dropped atomic.Bool
	var live, dropping atomic.Value
	b.mirror.Inject(func(c memory.Call) memory.Fault {
		if c.Method == "member-write" && c.UUID == dropping.Load() && !dropped.Swap(true) {
			return memory.Fault{Before: ports.ErrInvalid}
		}
		if c.Method == "volume" {
			return memory.Fault{Delay: 100 * time.Millisecond}
		}
		return memory.Fault{}
	})
	b.to.Inject(func(c memory.Call) memory.Fault {
		switch {
		case c.Method == "graft-external":
			live.Store(c.UUID)
		case (c.Method == method || method == "land" && c.Method == "graft" && c.UUID == live.Load()) && live.Load() != nil && dropping.Load() == nil:
			dropping.Store(live.Load())
		}
		return memory.Fault{Delay: 100 * time.Millisecond}
	})
}

// L#10112: a replica that had gone for a moment had wrong bytes. The mirror drops the live head for
// a moment, while the tree below is built and just before the head would get its name. What it has
// looks whole.
func TestField_10112_HeadThatMissedAWriteGetsNoName(t *testing.T) {
	for _, method := range []string{"create", "receive", "seal", "graft", "land", "record"} {
		t.Run(method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newLiveFixture(t, 2, liveTree, memory.Config{})
				b.dropOnce(method)
				b.start(5 * time.Millisecond)
				defer b.clients.Stop()
				_, err := app.New(nil).RebuildOnline(t.Context(), b.request())
				require.NoError(t, err)
				b.stop()
				b.requireWhole()
				require.Len(t, list(t, b.members[0], b.names[0]).Snapshots, 5, "it is cut again")
			})
		})
	}
}

// TestViewsOfAWholeMemberAreCompared: a run that reads views back finds what an earlier one that
// only counted clusters did not.
func TestViewsOfAWholeMemberAreCompared(t *testing.T) {
	for _, spoil := range []memory.Spoil{memory.SpoilNothing, memory.SpoilBytes} {
		synctest.Test(t, func(t *testing.T) {
			b := newLiveFixture(t, 2, liveTree, memory.Config{Flavour: memory.Upstream})
			b.inject(func(_ int, c liveCall) memory.Fault {
				if c.Method == "copy" && c.N == 1 {
					return memory.Fault{Spoil: spoil}
				}
				return memory.Fault{}
			})
			_, err := app.New(nil).RebuildOnline(t.Context(), b.request())
			require.NoError(t, err)
			r := b.request()
			r.Views = true
			report, err := app.New(nil).RebuildOnline(t.Context(), r)
			require.Len(t, report.DestinationViews, 4, "of all snapshots")
			opened, unlisted := b.to.Opened(t.Context())
			require.NoError(t, unlisted)
			require.Empty(t, opened)
			if spoil == memory.SpoilNothing {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, ports.ErrCorrupt)
		})
	}
}
