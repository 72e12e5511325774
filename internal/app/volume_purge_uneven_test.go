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
	"github.com/rootgraft/rebuild/internal/ports"
)

const (
	mayDiffer = "the members' bytes may differ until these ranges are written again"
	someHave  = "only some members have snapshot "
)

// purgeFixture is a volume of three members that have a cut. Clients wrote a cluster before it, and
// trim that cluster when a freeze ends.
type purgeFixture struct {
	*liveFixture

	cut     string
	freezes int
	thawed  func() // called after the first freeze, before clients trim
}

func newPurgeFixture(t *testing.T) *purgeFixture {
	t.Helper()
	b := &purgeFixture{liveFixture: newLiveFixture(t, 2, "head 5=5\n", memory.Config{}), thawed: func() {}}
	b.rebuilt()
	b.cut = cutsOf(list(t, b.to, copyName))[0]
	b.freezer = freezer.Func(func(ctx context.Context) error {
		b.freezes++
		return b.mirror.Suspend(ctx)
	}, func(ctx context.Context) error {
		err := b.mirror.Resume(ctx)
		if b.freezes == 1 {
			b.thawed()
			err = errors.Join(err, b.mirror.Trim(5*cluster, cluster))
		}
		return err
	})
	return b
}

// failMerge has the merge of a member fail so many times.
func (b *purgeFixture) failMerge(member, times int, fault memory.Fault) {
	b.members[member].Inject(func(c memory.Call) memory.Fault {
		if c.Method != "merge" || times == 0 {
			return memory.Fault{}
		}
		times--
		return fault
	})
}

func (b *purgeFixture) purge() (app.VolumePurge, error) {
	request := b.volumeOfAll()
	request.FreezeLimit = time.Second
	return app.New(nil).PurgeVolume(b.t.Context(), request)
}

func (b *purgeFixture) have() (members []int) {
	for i, host := range b.members {
		if len(cutsOf(list(b.t, host, b.names[i]))) > 0 {
			members = append(members, i)
		}
	}
	return members
}

func (b *purgeFixture) equal() bool {
	return b.shaOfHead(0) == b.shaOfHead(1) && b.shaOfHead(0) == b.shaOfHead(2)
}

// A merge that fails for a passing reason, or whose answer is lost, is made again in the same
// freeze.
func TestPurgeRetriesMergeInFreeze(t *testing.T) {
	for _, fault := range []memory.Fault{{Before: ports.ErrUnavailable}, {After: ports.ErrUnavailable}, {Before: ports.ErrBusy}} {
		synctest.Test(t, func(t *testing.T) {
			b := newPurgeFixture(t)
			b.failMerge(1, 1, fault)
			purged, err := b.purge()
			require.NoError(t, err)
			require.Equal(t, []string{b.cut}, purged.Purged)
			require.Equal(t, 1, b.freezes)
			require.Empty(t, purged.Warnings)
			require.Empty(t, b.have())
			require.True(t, b.equal())
		})
	}
}

// A member that fails, or merges too slowly, in one freeze is purged in another one. Clients trim in
// between, so the members' bytes differ, and the result warns of it.
func TestPurgeWarnsOfSecondFreeze(t *testing.T) {
	for _, fault := range []memory.Fault{{Before: ports.ErrInvalid}, {Delay: 2 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			b := newPurgeFixture(t)
			b.failMerge(1, 1, fault)
			purged, err := b.purge()
			require.NoError(t, err)
			require.Equal(t, []string{b.cut}, purged.Purged)
			require.Equal(t, 2, b.freezes)
			require.Len(t, purged.Warnings, 1)
			require.Contains(t, purged.Warnings[0], mayDiffer)
			require.Empty(t, b.have())
			require.False(t, b.equal())
		})
	}
}

// The mirror drops one of the members that still have the snapshot. It stays for that one, but not
// on the other.
func TestPurgeIsCompletedAfterMemberIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPurgeFixture(t)
		b.failMerge(1, 1, memory.Fault{Delay: 2 * time.Second})
		b.failMerge(2, 1, memory.Fault{Delay: 2 * time.Second})
		head := list(t, b.to, copyName).Head.UUID
		b.thawed = func() { require.NoError(t, b.mirror.Leave(t.Context(), head)) }
		purged, err := b.purge()
		require.NoError(t, err)
		require.Equal(t, []string{b.cut}, purged.Purged)
		require.Len(t, purged.Warnings, 1)
		require.Contains(t, purged.Warnings[0], mayDiffer)
		require.Equal(t, []int{2}, b.have())
	})
}

// Every freeze fails on one member: the error tells that the members differ, and the next purge,
// perhaps of another process, completes it and warns.
func TestFailedPurgeTellsThatMembersDiffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPurgeFixture(t)
		b.failMerge(1, 1000, memory.Fault{Before: ports.ErrInvalid})
		purged, err := b.purge()
		require.ErrorIs(t, err, ports.ErrInvalid)
		require.ErrorContains(t, err, "run the purge again")
		require.ErrorContains(t, err, mayDiffer)
		require.Empty(t, purged.Purged)
		require.Equal(t, []int{1}, b.have())
		require.False(t, b.equal())
		b.noFaults()
		purged, err = b.purge()
		require.NoError(t, err)
		require.Equal(t, []string{b.cut}, purged.Purged)
		require.Equal(t, []string{someHave + b.cut + ": where clients trim, " + mayDiffer}, purged.Warnings)
		require.Empty(t, b.have())
	})
}

func TestPurgeThatChangesNothingDoesNotWarn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPurgeFixture(t)
		for i := range b.members {
			b.failMerge(i, 1, memory.Fault{Before: ports.ErrInvalid})
		}
		purged, err := b.purge()
		require.ErrorIs(t, err, ports.ErrInvalid)
		require.NotContains(t, err.Error(), "differ")
		require.Empty(t, purged.Warnings)
		require.Equal(t, []int{0, 1, 2}, b.have())
		require.Equal(t, 1, b.freezes)
		require.True(t, b.equal())
	})
}

// One member has merged it, and then becomes one that cannot be deleted on the others.
func TestPurgeFailsIfRestCannotBeDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPurgeFixture(t)
		b.failMerge(1, 1, memory.Fault{Before: ports.ErrInvalid})
		b.thawed = func() {
			r := list(t, b.members[1], b.names[1])
			s, _ := r.Snapshot(b.cut)
			_, err := b.members[1].Clone(t.Context(), s.Lvol.UUID, "clone", r.Head.Size, "")
			require.NoError(t, err)
		}
		purged, err := b.purge()
		require.ErrorContains(t, err, "it cannot be deleted on all members: lvol clone")
		require.ErrorContains(t, err, mayDiffer)
		require.Empty(t, purged.Purged)
	})
}

// An engine died when one member had the snapshot; one is forgotten here, so the purge is refused. The
// snapshot is gone before clients go on.
func TestRefusedPurgeRemovesHalfCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 3, liveTree, memory.Config{})
		b.dieInACut(1)
		b.trimAtFirst(false)
		request := b.volumeOfAll()
		request.Members = request.Members[:2]
		purged, err := app.New(nil).PurgeVolume(t.Context(), request)
		require.ErrorContains(t, err, "name every replica of the volume")
		require.ErrorContains(t, err, "not all members of the volume could be listed before clients went on")
		require.NotErrorIs(t, err, app.ErrRefused, "something was changed")
		require.Len(t, purged.Warnings, 1)
		require.Contains(t, purged.Warnings[0], someHave+"rebuild-cut-0a1b2c3d")
		require.Empty(t, b.requireEqualCuts())
		b.requireEqualHeads()
	})
}

// The user cancels in the freeze, when one member is still busy.
func TestCancelledPurgeTellsThatMembersDiffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPurgeFixture(t)
		b.failMerge(1, 1, memory.Fault{Delay: time.Minute})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		purged, err := app.New(nil).PurgeVolume(ctx, b.volumeOfAll())
		require.ErrorIs(t, err, ports.ErrThawed)
		require.ErrorContains(t, err, "run the purge again")
		require.ErrorContains(t, err, mayDiffer)
		require.Empty(t, purged.Purged)
		require.Equal(t, []int{1}, b.have())
		_, err = b.purge()
		require.NoError(t, err)
		require.Empty(t, b.have())
	})
}
