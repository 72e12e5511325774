package app_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

func TestReplicaIsCreatedAndDeleted(t *testing.T) {
	ctx := context.Background()
	b := newFixture(t, memory.Config{}, memory.Config{})
	makeImage(t, b.destination, 4)
	before := contents(t, b.destination)
	at := app.Site{Host: b.destination, Replica: copyName}
	engine := app.New(nil)

	r, err := engine.CreateReplica(ctx, at, 8*cluster, domain.ImageBase(imageName))
	require.NoError(t, err)
	require.Equal(t, "backing-image:base", r.ParentOf(*r.Head).String())
	require.Equal(t, imageName, r.Head.Record)
	require.EqualValues(t, 8*cluster, r.Head.Size)

	_, err = engine.CreateReplica(ctx, at, 8*cluster, domain.ImageBase(imageName))
	require.ErrorIs(t, err, app.ErrRefused)
	require.ErrorContains(t, err, "already on lvstore disk-2")

	_, err = engine.CreateSnapshot(ctx, at, "none")
	require.ErrorIs(t, err, app.ErrRefused)
	for _, name := range []string{"s1", "s2"} {
		s, err := engine.CreateSnapshot(ctx, at, name)
		require.NoError(t, err)
		require.True(t, s.Lvol.Attributes.UserCreated)
		require.False(t, s.Lvol.Attributes.CreatedAt.IsZero())
	}
	plan, err := engine.DeleteReplica(ctx, at, nil)
	require.NoError(t, err)
	require.Len(t, plan.Operations, 3)
	require.Equal(t, before, contents(t, b.destination))
	_, err = engine.DeleteReplica(ctx, at, nil)
	require.ErrorIs(t, err, app.ErrRefused)
}

// claimed is a host on which another process works on every replica.
type claimed struct{ *memory.Host }

func (claimed) Lease(_ context.Context, name string, _ ports.Lease) (func(), error) {
	if strings.HasPrefix(name, "replica ") {
		return nil, ports.ErrBusy
	}
	return func() {}, nil
}

// claimer is an adapter that was written before there were leases.
type claimer struct{ ports.Host }

func (claimer) Claim(_ context.Context, name string) (func(), error) {
	if strings.HasPrefix(name, "replica ") {
		return nil, ports.ErrBusy
	}
	return func() {}, nil
}

func TestLeaseOfAnotherProcessIsRespected(t *testing.T) {
	ctx := context.Background()
	b, healthy, _ := newTwins(t, memory.Fork)
	for name, host := range map[string]ports.Host{"leases": claimed{b.destination}, "claims": claimer{b.destination}} {
		t.Run(name, func(t *testing.T) { leftToIt(ctx, t, b, app.Site{Host: host, Replica: copyName}, healthy) })
	}
}

func leftToIt(ctx context.Context, t *testing.T, b *fixture, at, healthy app.Site) {
	t.Helper()
	before := contents(t, b.destination)
	engine := app.New(nil)
	for what, do := range map[string]func() error{
		"repair": func() error {
			_, err := engine.Repair(ctx, app.RepairRequest{Replica: at, Healthy: healthy})
			return err
		},
		"create":          func() error { _, err := engine.CreateReplica(ctx, at, cluster, domain.NoBase()); return err },
		"delete":          func() error { _, err := engine.DeleteReplica(ctx, at, nil); return err },
		"create snapshot": func() error { _, err := engine.CreateSnapshot(ctx, at, "s"); return err },
		"delete snapshot": func() error { _, err := engine.DeleteSnapshot(ctx, at, "snap12"); return err },
		"revert": func() error {
			_, err := engine.Revert(ctx, app.RevertRequest{Replica: at, Snapshot: "snap12"})
			return err
		},
	} {
		err := do()
		require.ErrorIs(t, err, app.ErrRefused, what)
		require.ErrorContains(t, err, "by another process", what)
	}
	require.Equal(t, before, contents(t, b.destination))
}

func TestInterruptedDeletionIsFinishedByNext(t *testing.T) {
	crashes(t, func(t *testing.T, arm func(*memory.Host)) func() {
		b, _, at := newTwins(t, memory.Fork)
		neighbour := newBuilder(t, b.destination, "vol-2-r-0a1b2c3d", list(t, b.destination, copyName).Store.Lvols[0].UUID)
		neighbour.build(fieldChain(2, 50))
		untouched := sha(t, b.destination, list(t, b.destination, "vol-2-r-0a1b2c3d").Head.UUID)
		arm(b.destination)
		_, err := app.New(nil).DeleteReplica(context.Background(), at, nil)
		if err != nil {
			require.ErrorIs(t, err, errCrash)
		}
		return func() {
			_, err := app.New(nil).DeleteReplica(context.Background(), at, nil)
			if err != nil { // the last delete had been carried out
				require.ErrorIs(t, err, app.ErrRefused)
				require.ErrorContains(t, err, "not found")
			}
			left := list(t, b.destination, copyName)
			require.False(t, left.Exists())
			require.Equal(t, untouched, sha(t, b.destination, list(t, b.destination, "vol-2-r-0a1b2c3d").Head.UUID))
			_, ok := left.Store.BackingImage(imageName)
			require.True(t, ok)
		}
	})
}

func TestSharedLvolsAreNotDeleted(t *testing.T) {
	b, _, at := newTwins(t, memory.Fork)
	p := newBuilder(t, b.destination, copyName, "")
	p.writable(copyName+"-clone-ep-1", mustSnapshot(t, list(t, b.destination, copyName), "snap13").Lvol.UUID, 8)
	before := contents(t, b.destination)
	_, err := app.New(nil).DeleteReplica(context.Background(), at, nil)
	require.ErrorIs(t, err, app.ErrRefused)
	require.ErrorContains(t, err, "vol-1-r-4e5f6a7b-clone-ep-1")
	_, err = app.New(nil).DeleteSnapshot(context.Background(), at, "snap13")
	require.ErrorIs(t, err, app.ErrRefused)
	require.Equal(t, before, contents(t, b.destination))
}

func TestDeletedSnapshotMergesWithoutChange(t *testing.T) {
	ctx := context.Background()
	b, _, at := newTwins(t, memory.Fork)
	views := func() map[string]string {
		r := list(t, b.destination, copyName)
		all := map[string]string{"head": sha(t, b.destination, r.Head.UUID)}
		for _, s := range r.Snapshots {
			all[s.Name] = sha(t, b.destination, s.Lvol.UUID)
		}
		return all
	}
	want := views()
	for _, name := range []string{"snap12", "snap13", "snap31"} { // one on it, none, the head
		delete(want, name)
		_, err := app.New(nil).DeleteSnapshot(ctx, at, name)
		require.NoError(t, err)
		require.Equal(t, want, views())
	}
	_, err := app.New(nil).DeleteSnapshot(ctx, at, "snap21")
	require.ErrorIs(t, err, app.ErrRefused)
	require.ErrorContains(t, err, "2 lvols are clones of snapshot snap21")
	_, err = app.New(nil).DeleteSnapshot(ctx, at, "snap11")
	require.NoError(t, err, "the ancestor: what hung on it hangs on the image now")
	require.Empty(t, domain.Audit(list(t, b.destination, copyName), domain.ImageBase(imageName)).Violations)
}

// withoutMerge is a host that is no ports.Merger.
type withoutMerge struct{ ports.Host }

func TestHostWithoutMergeIsRefused(t *testing.T) {
	b, _, _ := newTwins(t, memory.Fork)
	at := app.Site{Host: withoutMerge{b.destination}, Replica: copyName}
	_, err := app.New(nil).DeleteSnapshot(context.Background(), at, "snap12")
	require.ErrorIs(t, err, app.ErrRefused)
	require.ErrorContains(t, err, "cannot merge")
	_, err = app.New(nil).DeleteSnapshot(context.Background(), at, "snap22")
	require.NoError(t, err, "nothing hangs on it")
}

func TestRevertKeepsTheVolumeSize(t *testing.T) {
	b, _, at := newTwins(t, memory.Fork)
	head := list(t, b.destination, copyName).Head
	require.NoError(t, b.destination.Resize(head.UUID, 12*cluster))
	require.NoError(t, b.destination.Record(context.Background(), head.UUID, imageName))
	require.NoError(t, b.destination.WriteAt(head.UUID, filled(9), 10*cluster))
	_, err := app.New(nil).Revert(context.Background(), app.RevertRequest{Replica: at, Snapshot: "snap12"})
	require.NoError(t, err)
	r := list(t, b.destination, copyName)
	require.EqualValues(t, 12*cluster, r.Head.Size)
	require.Equal(t, imageName, r.Head.Record)
	require.Equal(t, "snap12", r.ParentOf(*r.Head).String())
	require.Zero(t, r.Head.Own.Count)
	require.Empty(t, r.InFlight)
}

func TestInterruptedRevertCanBeRepeated(t *testing.T) {
	crashes(t, func(t *testing.T, arm func(*memory.Host)) func() {
		b, _, at := newTwins(t, memory.Fork)
		head := list(t, b.destination, copyName).Head
		require.NoError(t, b.destination.Resize(head.UUID, 12*cluster))
		require.NoError(t, b.destination.Record(context.Background(), head.UUID, imageName))
		request := app.RevertRequest{Replica: at, Snapshot: "snap12"}
		arm(b.destination)
		if _, err := app.New(nil).Revert(context.Background(), request); err != nil {
			require.ErrorIs(t, err, errCrash)
		}
		return func() {
			// Once gc removed the only record of the head.
			_, err := app.New(nil).RemoveGarbage(context.Background(), at.Host)
			require.NoError(t, err)
			_, err = app.New(nil).Revert(context.Background(), request)
			require.NoError(t, err)
			r := list(t, b.destination, copyName)
			require.Equal(t, "snap12", r.ParentOf(*r.Head).String())
			require.EqualValues(t, 12*cluster, r.Head.Size)
			require.Equal(t, imageName, r.Head.Record)
			for _, l := range r.InFlight {
				// A clone whose answer was lost is nobody's; it is empty, and the
				// next repair takes it away.
				require.Zero(t, l.Own.Count)
			}
			_, err = app.New(nil).Repair(context.Background(), app.RepairRequest{Replica: at})
			require.NoError(t, err)
			require.Empty(t, list(t, b.destination, copyName).InFlight)
		}
	})
}

func TestFailedRevertKeepsTheHead(t *testing.T) {
	b, _, at := newTwins(t, memory.Fork)
	before := contents(t, b.destination)
	for _, method := range []string{"clone", "delete"} {
		inject(b.destination, on(method).once().fails(errors.Join(ports.ErrNoSpace, errCrash)))
		_, err := app.New(nil).Revert(context.Background(), app.RevertRequest{Replica: at, Snapshot: "snap12"})
		require.ErrorIs(t, err, errCrash)
		require.ErrorContains(t, err, "unchanged")
		require.Equal(t, before, contents(t, b.destination))
	}
}
