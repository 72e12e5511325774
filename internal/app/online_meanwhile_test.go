package app_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
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

// slowly makes every call of the engine take a while, and calls do before each.
func (b *liveFixture) slowly(do func(c liveCall)) {
	b.inject(func(_ int, c liveCall) memory.Fault {
		if do != nil {
			do(c)
		}
		return memory.Fault{Delay: 10 * time.Millisecond}
	})
}

// onceAt calls do when the engine makes that call for the first time.
func onceAt(party liveParty, method string, do func()) func(liveCall) {
	var once sync.Once
	return func(c liveCall) {
		if c.party == party && c.Method == method {
			once.Do(do)
		}
	}
}

// userSnapshot is one that a user takes of the volume: of all members, the live head among
// them, in one freeze.
func (b *liveFixture) userSnapshot(name string) {
	err := b.freezer.Freeze(context.Background(), time.Second, func(ctx context.Context) error {
		volume, err := b.mirror.Volume(ctx)
		if err != nil {
			return err
		}
		for i, host := range append(b.members, b.to) {
			replica := append(b.names, copyName)[i]
			store, err := host.List(ctx)
			if err != nil {
				return err
			}
			for _, l := range store.Lvols {
				if _, is := volume.Member(l.UUID); is {
					attributes := minute(99)
					if _, err := host.Snapshot(ctx, l.UUID, domain.SnapshotLvolName(replica, name), attributes); err != nil {
						return err
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		b.t.Error(err)
	}
}

// TestUserSnapshotsDuringAnOnlineRebuild belong to the live chain, which lands with them.
// (longhorn/longhorn#7103)
func TestUserSnapshotsDuringAnOnlineRebuild(t *testing.T) {
	for _, flavour := range []memory.Flavour{memory.Fork, memory.Upstream} {
		synctest.Test(t, func(t *testing.T) {
			b := newLiveFixture(t, 2, liveTree, memory.Config{Flavour: flavour})
			b.start(time.Millisecond)
			defer b.clients.Stop()
			var taken sync.WaitGroup
			first := onceAt(partyDestination, "seal", func() { taken.Go(func() { b.userSnapshot("daily") }) })
			second := onceAt(partyMember, "copy", func() { taken.Go(func() { b.userSnapshot("hourly") }) })
			b.slowly(func(c liveCall) { first(c); second(c) })
			_, err := app.New(nil).RebuildOnline(t.Context(), b.request())
			require.NoError(t, err)
			taken.Wait()
			b.stop()
			b.requireWhole()
			require.Len(t, list(t, b.to, copyName).Snapshots, 6, "three, the cut, and two of the user")
		})
	}
}

// A user takes a snapshot while the hosts are listed to verify a member that is whole already.
func TestUserSnapshotWhileAWholeMemberIsVerified(t *testing.T) {
	for at := 1; at <= 5; at++ { // listings of the destination
		synctest.Test(t, func(t *testing.T) {
			b := newLiveFixture(t, 2, liveTree, memory.Config{})
			_, err := app.New(nil).RebuildOnline(t.Context(), b.request())
			require.NoError(t, err)
			var taking sync.WaitGroup
			lists := 0
			b.inject(func(_ int, c liveCall) memory.Fault {
				if c.party != partyDestination || c.Method != "list" {
					return memory.Fault{}
				}
				if lists++; lists != at {
					return memory.Fault{}
				}
				taking.Go(func() {
					time.Sleep(time.Millisecond)
					b.noFaults()
					b.userSnapshot("daily")
				})
				return memory.Fault{Delay: 100 * time.Millisecond}
			})
			_, err = app.New(nil).RebuildOnline(t.Context(), b.request())
			taking.Wait()
			require.NoError(t, err)
			require.Equal(t, at <= lists, at <= 4, "listings")
		})
	}
}

// TestSnapshotOverALostCutIsRebuilt: a user took a snapshot of the live head, then the engine died,
// and the destination's host has restarted: the snapshot is degraded, and may have clones that its
// host does not list. It gets its cut back, and is deleted with the live head.
func TestSnapshotOverALostCutIsRebuilt(t *testing.T) {
	for lost := range 3 { // of the members, from 1
		synctest.Test(t, func(t *testing.T) {
			b := newLiveFixture(t, 2, liveTree, memory.Config{})
			b.start(50 * time.Millisecond)
			defer b.clients.Stop()
			b.loseCut(lost, b.request())
			_, err := app.New(nil).RebuildOnline(t.Context(), b.request())
			require.NoError(t, err)
			b.stop()
			b.requireWhole()
		})
	}
}

// loseCut rebuilds until a user has taken a snapshot of the live head and the engine dies. Then the
// destination's host restarts, and a member may be lost for a moment, from 1.
func (b *liveFixture) loseCut(lost int, r app.OnlineRequest) {
	b.t.Helper()
	b.noTrims = true // see TestLiveVolumesAtRandom
	var taken atomic.Bool
	take := onceAt(partyMember, "copy", func() { go func() { b.userSnapshot("daily"); taken.Store(true) }() })
	dead := false
	b.inject(func(_ int, c liveCall) memory.Fault {
		if take(c); dead || c.Method == "seal" && taken.Load() {
			dead = true
			return memory.Fault{Before: errEngineDied}
		}
		return memory.Fault{Delay: 10 * time.Millisecond}
	})
	_, err := app.New(nil).RebuildOnline(b.t.Context(), r)
	require.ErrorIs(b.t, err, errEngineDied)
	b.noFaults()
	b.to.Restart()
	if lost > 0 {
		b.members[lost-1].Kill()
	}
	b.settle()
	daily, _ := list(b.t, b.to, copyName).Snapshot("daily")
	require.True(b.t, daily.Lvol.Degraded)
	if lost > 0 {
		b.members[lost-1].Start()
	}
	b.dropLost("the kill")
}

// L#10396, spdk/spdk#3343: the target crashed when the source went. The live head goes on reading
// through the other member's cut, and the copies come from there.
func TestField_10396_SPDK3343_RebuildOutlivesItsSource(t *testing.T) {
	for _, at := range []struct {
		party  liveParty
		method string
	}{{partyMember, "copy"}, {partyDestination, "create"}, {partyDestination, "seal"}, {partyDestination, "prove"}, {partyDestination, "graft"}} {
		t.Run(at.method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newLiveFixture(t, 2, liveTree, memory.Config{})
				b.start(10 * time.Millisecond)
				defer b.clients.Stop()
				joined := false
				b.slowly(func(c liveCall) {
					switch {
					case c.Method == "join":
						joined = true
					case joined && c.party == at.party && c.Method == at.method:
						joined = false
						b.members[0].Kill()
					}
				})
				report, err := app.New(nil).RebuildOnline(t.Context(), b.request())
				require.NoError(t, err)
				b.stop()
				b.settle()
				b.members[0].Start()
				b.requireWhole()
				require.Len(t, list(t, b.members[1], b.names[1]).Snapshots, 4, "one cut")
				require.LessOrEqual(t, report.Online.Freezes, 2, "one more for the landing")
			})
		})
	}
}

// TestCancelledOnlineRebuild: the volume serves on, and nothing is left of the live head.
func TestCancelledOnlineRebuild(t *testing.T) {
	for _, method := range []string{"create", "offer", "show", "graft-external", "receive", "seal", "graft", "record", "rename"} {
		t.Run(method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newLiveFixture(t, 2, liveTree, memory.Config{})
				b.start(time.Millisecond)
				defer b.clients.Stop()
				ctx, cancel := context.WithCancelCause(t.Context())
				stop := errors.New("not now")
				b.slowly(onceAt(partyDestination, method, func() { cancel(stop) }))
				_, err := app.New(nil).RebuildOnline(ctx, b.request())
				require.ErrorIs(t, err, stop)
				b.noFaults()
				require.Less(t, b.clients.Stop().Longest, time.Second)
				d := list(t, b.to, copyName)
				require.Empty(t, d.InFlight)
				volume, err := b.mirror.Volume(t.Context())
				require.NoError(t, err)
				require.Equal(t, d.Head != nil, len(volume.Members) == 3, "with a head it is whole")
				for _, l := range d.Store.Lvols {
					require.Empty(t, l.External, l.Name)
				}
			})
		})
	}
}

// L#13331, LINBIT/linstor-server#138: a suspend waited minutes for I/O that could never end.
func TestField_13331_VolumeThatDoesNotFreezeIsLeftAsItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		never := freezer.Func(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, b.mirror.Resume)
		r := b.request()
		r.Freezer = never
		report, err := app.New(nil).RebuildOnline(t.Context(), r)
		require.ErrorIs(t, err, ports.ErrNotFrozen)
		require.Equal(t, app.OutcomeFailed, report.Outcome)
		for i, host := range b.members {
			require.Len(t, list(t, host, b.names[i]).Snapshots, 3, "no cut")
		}
		require.False(t, list(t, b.to, copyName).Exists())
	})
}

// TestFreezeThatEndsTooEarly: a client may have written between the snapshots of two members,
// so they are taken away again, and the volume is cut once more.
func TestFreezeThatEndsTooEarly(t *testing.T) {
	for _, party := range []liveParty{partyMember, partyMember + 1, partyDestination, partyMirror} {
		t.Run(party.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newLiveFixture(t, 2, liveTree, memory.Config{})
				b.start(10 * time.Millisecond)
				defer b.clients.Stop()
				slow := map[liveParty]string{partyMember: "snapshot", partyMember + 1: "snapshot", partyDestination: "graft-external", partyMirror: "join"}[party]
				late := false
				b.inject(func(_ int, c liveCall) memory.Fault {
					if c.party == party && c.Method == slow && !late {
						late = true
						return memory.Fault{Delay: app.DefaultFreezeLimit + time.Second}
					}
					return memory.Fault{}
				})
				_, err := app.New(nil).RebuildOnline(t.Context(), b.request())
				require.NoError(t, err)
				stats := b.stop()
				require.Less(t, stats.Longest, app.DefaultFreezeLimit+time.Second)
				b.requireWhole()
				require.Len(t, list(t, b.members[0], b.names[0]).Snapshots, 4, "the first cut is gone")
			})
		})
	}
}

// ownersMirror names the cuts itself, or takes the proposal.
type ownersMirror struct {
	memory.CuttingMirror

	names string // what a cut of its own is called begins with this; "": it takes the proposal
}

// Cut implements ports.Cutter.
func (m ownersMirror) Cut(ctx context.Context, run ports.Run, name string, attributes domain.Attributes) (string, error) {
	return m.CuttingMirror.Cut(ctx, run, m.names+name, attributes)
}

// wrongOwner says that its cut has a name that it has not.
type wrongOwner struct {
	memory.CuttingMirror

	name string
}

// Cut implements ports.Cutter.
func (m wrongOwner) Cut(context.Context, ports.Run, string, domain.Attributes) (string, error) {
	return m.name, nil
}

// TestWrongNameOfTheOwnersCut: a live head over an older snapshot would lack writes, and an undo of that cut would
// delete a user's snapshot.
func TestWrongNameOfTheOwnersCut(t *testing.T) {
	for name, want := range map[string]string{
		"snap2": "had that snapshot before", "none-such": "the mirror did not take snapshot vol-1-r-", "": "needs a name", "a/b": "expected letters",
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newLiveFixture(t, 2, liveTree, memory.Config{})
			r := b.request()
			r.Mirror = wrongOwner{memory.CuttingMirror{Mirror: b.mirror}, name}
			_, err := app.New(nil).RebuildOnline(t.Context(), r)
			require.ErrorIs(t, err, ports.ErrInvalid)
			require.ErrorContains(t, err, want)
			for i, host := range b.members {
				require.Len(t, list(t, host, b.names[i]).Snapshots, 3)
			}
			require.Nil(t, list(t, b.to, copyName).Head)
		})
	}
}

// TestOwnerOfTheMirrorCuts: its snapshots have the name that it says. A later run finds the cut under a degraded
// snapshot by the proposed name only.
func TestOwnerOfTheMirrorCuts(t *testing.T) {
	for _, names := range []string{"", "owners-"} {
		owned := func(b *liveFixture) app.OnlineRequest {
			r := b.request()
			r.Mirror = ownersMirror{memory.CuttingMirror{Mirror: b.mirror}, names}
			return r
		}
		begin := func(t *testing.T) *liveFixture {
			b := newLiveFixture(t, 2, liveTree, memory.Config{})
			b.start(50 * time.Millisecond)
			b.slowly(nil)
			t.Cleanup(func() { b.clients.Stop() })
			return b
		}
		synctest.Test(t, func(t *testing.T) {
			b := begin(t)
			report, err := app.New(nil).RebuildOnline(t.Context(), owned(b))
			require.NoError(t, err)
			b.stop()
			b.requireWhole()
			require.True(t, strings.HasPrefix(report.Online.Cut, names+"rebuild-cut-"))
		})
		synctest.Test(t, func(t *testing.T) {
			b := begin(t)
			b.loseCut(0, owned(b))
			_, err := app.New(nil).RebuildOnline(t.Context(), owned(b))
			if names == "" {
				require.NoError(t, err)
				b.stop()
				b.requireWhole()
				return
			}
			require.ErrorContains(t, err, "restore the external snapshot that it reads through to")
			b.stop()
		})
	}
}

// TestOnlineRefusedBeforeAnyChange: a host that cannot, and a member that was not named.
func TestOnlineRefusedBeforeAnyChange(t *testing.T) {
	for says, change := range map[string]func(r *app.OnlineRequest){
		"no mirror":                func(r *app.OnlineRequest) { r.Mirror = nil },
		"no freezer":               func(r *app.OnlineRequest) { r.Freezer = nil },
		"expected a positive time": func(r *app.OnlineRequest) { r.FreezeLimit = -1 },
		"has the member disk-a2/vol-1-r-a2a2a2a2, which is not":   func(r *app.OnlineRequest) { r.MoreSources = nil },
		"the host of the destination cannot export lvols to live": func(r *app.OnlineRequest) { r.Destination.Host = struct{ ports.Host }{r.Destination.Host} },
	} {
		t.Run(says, func(t *testing.T) {
			b := newLiveFixture(t, 2, liveTree, memory.Config{})
			r := b.request()
			change(&r)
			report, err := app.New(nil).RebuildOnline(t.Context(), r)
			require.ErrorIs(t, err, app.ErrRefused)
			require.ErrorContains(t, err, says)
			require.Equal(t, app.OutcomeRefused, report.Outcome)
			require.False(t, list(t, b.to, copyName).Exists())
		})
	}
}

// L#8354: one dead replica hung all client I/O. It is left out: the volume is cut again without it,
// once the mirror has dropped it.
func TestField_8354_DeadMemberIsLeftOutOfTheCut(t *testing.T) {
	for member := range 3 {
		for _, method := range []string{"offer", "snapshot", "show"} {
			t.Run(fmt.Sprint(method, " of member ", member+1), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newLiveFixture(t, 3, liveTree, memory.Config{})
					b.start(10 * time.Millisecond)
					defer b.clients.Stop()
					b.slowly(onceAt(partyMember+liveParty(member), method, func() { b.members[member].Kill() }))
					_, err := app.New(nil).RebuildOnline(t.Context(), b.request())
					require.NoError(t, err)
					stats := b.stop()
					require.Less(t, stats.Longest, memory.DefaultDropAfter+app.DefaultFreezeLimit+time.Second, "one freeze, and one dead member")
					b.members[member].Start()
					b.requireWhole()
				})
			})
		}
	}
}

// TestMemberThatDiesUnnoticed: the mirror drops it at the next write of a client only. Until then
// no plan is possible, so the run waits.
func TestMemberThatDiesUnnoticed(t *testing.T) {
	for _, method := range []string{"release", "offer", "snapshot"} {
		t.Run(method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newLiveFixture(t, 2, liveTree, memory.Config{})
				b.start(20 * time.Second)
				defer b.clients.Stop()
				b.slowly(onceAt(partyMember, method, func() { b.members[0].Kill() }))
				_, err := app.New(nil).RebuildOnline(t.Context(), b.request())
				require.NoError(t, err)
				b.stop()
				b.members[0].Start()
				b.requireWhole()
			})
		})
	}
}

// TestMemberThatIsDroppedAfterTheCut: its cut is right all the same, and others are whole.
func TestMemberThatIsDroppedAfterTheCut(t *testing.T) {
	for member := range 3 {
		synctest.Test(t, func(t *testing.T) {
			b := newLiveFixture(t, 3, liveTree, memory.Config{})
			head := list(t, b.members[member], b.names[member]).Head.UUID
			b.start(time.Millisecond)
			defer b.clients.Stop()
			b.slowly(nil)
			var joined atomic.Bool
			b.mirror.Inject(func(c memory.Call) memory.Fault {
				if c.Method == "join" {
					joined.Store(true)
				}
				if joined.Load() && c.Method == "member-write" && c.UUID == head {
					return memory.Fault{Before: ports.ErrInvalid}
				}
				return memory.Fault{}
			})
			_, err := app.New(nil).RebuildOnline(t.Context(), b.request())
			require.NoError(t, err)
			b.stop()
			b.requireWhole()
		})
	}
}

// TestMemberThatIsDroppedBeforeTheCut: its snapshot lacks a write, so the volume is cut again
// without it. (seed 3105635119386437232 of TestLiveVolumesAtRandom)
func TestMemberThatIsDroppedBeforeTheCut(t *testing.T) {
	for member := range 3 {
		synctest.Test(t, func(t *testing.T) {
			b := newLiveFixture(t, 3, liveTree, memory.Config{})
			head := list(t, b.members[member], b.names[member]).Head.UUID
			b.start(2 * time.Millisecond)
			defer b.clients.Stop()
			var planned atomic.Bool
			b.slowly(onceAt(partyDestination, "connect", func() { planned.Store(true) }))
			b.mirror.Inject(func(c memory.Call) memory.Fault {
				if planned.Load() && c.Method == "member-write" && c.UUID == head {
					return memory.Fault{Before: ports.ErrInvalid}
				}
				return memory.Fault{}
			})
			_, err := app.New(nil).RebuildOnline(t.Context(), b.request())
			require.NoError(t, err)
			b.stop()
			b.requireWhole()
			require.Len(t, list(t, b.to, copyName).Snapshots, 4, "the first cut is gone")
		})
	}
}

// TestRefusedRequestLeavesCuts: a replica that is no member has none of the volume's cuts. That
// makes none of these a half one.
func TestRefusedRequestLeavesCuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		_, err := app.New(nil).RebuildOnline(t.Context(), b.request())
		require.NoError(t, err)
		other := "vol-1-r-0e0e0e0e"
		newBuilder(t, b.to, other, "").build(liveTree)
		r := b.request()
		r.MoreSources = append(r.MoreSources, app.Site{Host: b.to, Replica: other})
		r.Destination.Replica = "vol-1-r-5e5e5e5e"
		_, err = app.New(nil).RebuildOnline(t.Context(), r)
		require.ErrorIs(t, err, app.ErrRefused)
		for i, host := range b.members {
			require.Len(t, list(t, host, b.names[i]).Snapshots, 4)
		}
	})
}
