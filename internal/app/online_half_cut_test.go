package app_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// requireEqualCuts requires that all members have the same cuts, so that their bytes stay equal whatever
// clients do.
func (b *liveFixture) requireEqualCuts() (cuts []string) {
	b.t.Helper()
	cuts = cutsOf(list(b.t, b.members[0], b.names[0]))
	for i, host := range b.members {
		require.Equal(b.t, cuts, cutsOf(list(b.t, host, b.names[i])), b.names[i])
	}
	return cuts
}

// requireTrimsEqual trims what the heads had before the cut.
func (b *liveFixture) requireTrimsEqual() {
	b.t.Helper()
	require.NoError(b.t, b.mirror.Trim(5*cluster, cluster))
	b.requireEqualHeads()
}

// promptFreezer lets clients go on after the work has returned that it has ended in time, and returns the
// error of the work.
type promptFreezer struct {
	ports.Freezer

	b *liveFixture
}

func (f promptFreezer) Freeze(ctx context.Context, limit time.Duration, work func(context.Context) error) error {
	frozen, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := f.b.mirror.Suspend(frozen); err != nil {
		return fmt.Errorf("%w: %w", ports.ErrNotFrozen, err)
	}
	defer func() { _ = f.b.mirror.Resume(context.WithoutCancel(ctx)) }()
	return work(frozen)
}

// slowSnapshot makes the snapshot of the second member take longer than any freeze.
func (b *liveFixture) slowSnapshot(do func(c liveCall) memory.Fault) {
	b.inject(func(_ int, c liveCall) memory.Fault {
		if c.Method == "snapshot" && c.party > partyMember && c.N == 1 {
			do(c)
			return memory.Fault{Delay: time.Minute}
		}
		return do(c)
	})
}

func TestFreezerWithoutErrThawedLeavesNoHalfCut(t *testing.T) {
	for _, cancelled := range []bool{true, false} {
		t.Run(fmt.Sprint("cancelled ", cancelled), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newLiveFixture(t, 2, liveTree, memory.Config{})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				b.slowSnapshot(func(c liveCall) memory.Fault {
					if cancelled && c.Method == "snapshot" {
						time.AfterFunc(time.Second, cancel)
					}
					return memory.Fault{}
				})
				r := b.request()
				r.Freezer = promptFreezer{b.freezer, b}
				report, err := app.New(nil).RebuildOnline(ctx, r)
				require.Equal(t, cancelled, err != nil, "%v", err)
				require.NotEmpty(t, report.Warnings)
				b.requireEqualCuts()
				b.requireTrimsEqual()
			})
		})
	}
}

func TestFreezerWithoutErrThawedLeavesNoHalfSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		b.slowSnapshot(func(liveCall) memory.Fault { return memory.Fault{} })
		v := b.volume()
		v.Freezer = promptFreezer{b.freezer, b}
		_, err := app.New(nil).SnapshotVolume(t.Context(), v, "daily")
		require.ErrorIs(t, err, ports.ErrThawed)
		require.NotErrorIs(t, err, app.ErrCleanUp)
		for i, host := range b.members {
			_, has := list(t, host, b.names[i]).Snapshot("daily")
			require.False(t, has, b.names[i])
		}
		b.requireTrimsEqual()
	})
}

// A call of the undo fails once, in the freeze or after one that was cut off.
func TestUndoOfACutOutlivesOneFailure(t *testing.T) {
	for _, inFreeze := range []bool{true, false} {
		for _, method := range []string{"leave", "list", "merge"} {
			t.Run(fmt.Sprint(method, ", in the freeze ", inFreeze), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newLiveFixture(t, 2, liveTree, memory.Config{})
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					cutting, failed := false, false
					b.inject(func(_ int, c liveCall) memory.Fault {
						switch {
						case c.Method == "snapshot" && c.party > partyMember:
							cutting = true
							if !inFreeze {
								time.AfterFunc(time.Second, cancel)
								return memory.Fault{Delay: time.Minute}
							}
							return memory.Fault{Before: ports.ErrCorrupt, Delay: time.Millisecond}
						case cutting && c.Method == method && c.party != partyDestination && !failed:
							failed = true
							return memory.Fault{Before: ports.ErrUnavailable}
						}
						return memory.Fault{}
					})
					_, err := app.New(nil).RebuildOnline(ctx, b.request())
					require.Error(t, err)
					require.True(t, failed)
					require.Equal(t, method == "leave", errors.Is(err, app.ErrCleanUp), "only the end of the run calls it")
					require.Empty(t, b.requireEqualCuts())
					b.requireTrimsEqual()
				})
			})
		}
	}
}

// The cut is on all members, and cannot be joined; the live head leaves again at the second attempt.
func TestCutOfAHeadThatDidNotJoinIsUndone(t *testing.T) {
	for _, method := range []string{"graft-external", "join"} {
		synctest.Test(t, func(t *testing.T) {
			b := newLiveFixture(t, 2, liveTree, memory.Config{})
			b.inject(func(_ int, c liveCall) memory.Fault {
				switch {
				case c.Method == method:
					return memory.Fault{Before: ports.ErrInvalid}
				case c.Method == "leave" && c.N == 1:
					return memory.Fault{Before: ports.ErrUnavailable}
				}
				return memory.Fault{}
			})
			_, err := app.New(nil).RebuildOnline(t.Context(), b.request())
			require.ErrorIs(t, err, ports.ErrInvalid)
			require.Empty(t, b.requireEqualCuts())
		})
	}
}

// While a member cannot be reached for good, its snapshot stays, and the error names it.
func TestHalfCutThatCannotBeUndoneIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		cutting := false
		b.inject(func(_ int, c liveCall) memory.Fault {
			switch {
			case c.Method == "snapshot" && c.party > partyMember:
				cutting = true
				return memory.Fault{Before: ports.ErrCorrupt, Delay: time.Millisecond}
			case cutting && c.party == partyMember && c.Method != "snapshot":
				return memory.Fault{Before: ports.ErrUnavailable}
			}
			return memory.Fault{}
		})
		_, err := app.New(nil).RebuildOnline(t.Context(), b.request())
		require.ErrorIs(t, err, app.ErrCleanUp)
		require.ErrorContains(t, err, "snapshot "+b.names[0]+"-snap-rebuild-cut-")
		require.ErrorContains(t, err, "may be left on this member alone")
		b.noFaults()
		require.Len(t, cutsOf(list(t, b.members[0], b.names[0])), 1)
		_, err = app.New(nil).RebuildOnline(t.Context(), b.request())
		require.NoError(t, err)
		require.Len(t, b.requireEqualCuts(), 1, "only that of the second run")
	})
}

// lateHost takes a snapshot a while after its caller has given up.
type lateHost struct{ *memory.Host }

func (h lateHost) Snapshot(ctx context.Context, uuid, name string, a domain.Attributes) (string, error) {
	type result struct {
		uuid string
		err  error
	}
	done := make(chan result, 1)
	time.AfterFunc(50*time.Millisecond, func() {
		uuid, err := h.Host.Snapshot(context.WithoutCancel(ctx), uuid, name, a)
		done <- result{uuid, err}
	})
	select {
	case r := <-done:
		return r.uuid, r.err
	case <-ctx.Done():
		return "", fmt.Errorf("%w: %w", ports.ErrUnavailable, ctx.Err())
	}
}

// A member refuses the cut at once, while the snapshot of another one is under way: it is waited for, and
// taken away again before clients go on.
func TestMemberThatRefusesTheCutLeavesNoHalfCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		b.inject(func(_ int, c liveCall) memory.Fault {
			if c.Method == "snapshot" && c.party > partyMember {
				return memory.Fault{Before: ports.ErrNoSpace, Delay: time.Millisecond}
			}
			return memory.Fault{}
		})
		r := b.request()
		r.Source.Host = lateHost{b.members[0]}
		_, err := app.New(nil).RebuildOnline(t.Context(), r)
		require.Error(t, err)
		time.Sleep(time.Second)
		require.Empty(t, b.requireEqualCuts())
		b.requireTrimsEqual()
	})
}

// The caller gives up, or the freeze is over, while the snapshot of a member is under way.
func TestSnapshotThatOutlivesItsFreezeIsTakenAway(t *testing.T) {
	for _, cancelled := range []bool{true, false} {
		for what, do := range map[string]func(ctx context.Context, r app.OnlineRequest) error{
			"rebuild": func(ctx context.Context, r app.OnlineRequest) error {
				_, err := app.New(nil).RebuildOnline(ctx, r)
				return err
			},
			"snapshot": func(ctx context.Context, r app.OnlineRequest) error {
				v := app.VolumeRequest{Mirror: r.Mirror, Freezer: r.Freezer, FreezeLimit: r.FreezeLimit, Members: append(r.MoreSources, r.Source)}
				_, err := app.New(nil).SnapshotVolume(ctx, v, "daily")
				return err
			},
		} {
			t.Run(fmt.Sprint(what, ", cancelled ", cancelled), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newLiveFixture(t, 2, liveTree, memory.Config{})
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					b.inject(func(_ int, c liveCall) memory.Fault {
						if cancelled && c.Method == "snapshot" && c.party > partyMember {
							time.AfterFunc(time.Millisecond, cancel)
						}
						return memory.Fault{}
					})
					r := b.request()
					r.Source.Host = lateHost{b.members[0]}
					if !cancelled {
						r.FreezeLimit = 20 * time.Millisecond
					}
					require.Error(t, do(ctx, r))
					time.Sleep(time.Minute)
					for i, host := range b.members {
						require.Len(t, list(t, host, b.names[i]).Snapshots, 3, b.names[i])
					}
					b.requireTrimsEqual()
				})
			})
		}
	}
}
