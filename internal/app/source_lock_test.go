package app_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// duringCopy does something once, in the first copy of the source.
func duringCopy(source *memory.Host, do func()) {
	inject(source, on("copy").once().does(do))
}

// replicaChanges are what would change a replica.
func replicaChanges(engine *app.Engine, at app.Site, from app.Site) map[string]func() error {
	ctx := context.Background()
	return map[string]func() error{
		"create snapshot": func() error { _, err := engine.CreateSnapshot(ctx, at, "new"); return err },
		"delete snapshot": func() error { _, err := engine.DeleteSnapshot(ctx, at, "snap22"); return err },
		"revert": func() error {
			_, err := engine.Revert(ctx, app.RevertRequest{Replica: at, Snapshot: "snap11"})
			return err
		},
		"repair": func() error {
			_, err := engine.Repair(ctx, app.RepairRequest{Replica: at, Base: domain.ImageBase(imageName)})
			return err
		},
		"delete replica": func() error { _, err := engine.DeleteReplica(ctx, at, nil); return err },
		"rebuild onto it": func() error {
			_, err := engine.Rebuild(ctx, app.Request{Source: from, Destination: at, Base: domain.ImageBase(imageName), Options: domain.Options{Overwrite: at.Replica}})
			return err
		},
	}
}

// Another process deleted or reverted the source of a rebuild, or rebuilt it from
// something else; the rebuild ended "complete" with another tree.
func TestField_9191_1895_3086_SourceIsLocked(t *testing.T) {
	for _, flavour := range []memory.Flavour{memory.Fork, memory.Upstream} {
		for _, process := range []string{"this process", "another process"} {
			for what := range replicaChanges(nil, app.Site{}, app.Site{}) {
				t.Run(flavour.String()+" "+what+" by "+process, func(t *testing.T) {
					b, request := newPlainFixtureOn(t, flavour)
					other := newBuilder(t, b.destination, "vol-2-r-0a1b2c3d", list(t, b.destination, copyName).Store.Lvols[0].UUID)
					other.build(fieldChain(2, 99))
					engine := app.New(nil)
					meddler := engine
					if process == "another process" {
						meddler = app.New(nil)
					}
					before := contents(t, b.source)
					request.Parallel, request.Base = 1, domain.ImageBase(imageName)
					asked := false
					duringCopy(b.source, func() {
						asked = true
						err := replicaChanges(meddler, request.Source, app.Site{Host: b.destination, Replica: "vol-2-r-0a1b2c3d"})[what]()
						require.ErrorIs(t, err, app.ErrRefused)
						require.ErrorContains(t, err, "replica vol-1-r-0a1b2c3d on lvstore disk-1 is in use by the rebuild of replica vol-1-r-4e5f6a7b on lvstore disk-2 from it")
					})
					_, err := engine.Rebuild(context.Background(), request)
					require.NoError(t, err)
					require.True(t, asked)
					require.Equal(t, before, contents(t, b.source))
					requireEqualViews(t, b, sourceName, copyName, true)
					b.source.Inject(nil)
					err = replicaChanges(meddler, request.Source, app.Site{Host: b.destination, Replica: "vol-2-r-0a1b2c3d"})[what]()
					require.False(t, err != nil && errors.Is(err, app.ErrRefused) && what != "repair", "it is free again: %v", err)
				})
			}
		}
	}
}

// What a rebuild holds it gives back however it ends.
func TestSourceIsFreeAfterARebuildThatFailed(t *testing.T) {
	b, request := newPlainFixture(t)
	engine := app.New(nil)
	failFirst(b.destination, "create", 1, memory.Fault{Before: ports.ErrInvalid})
	_, err := engine.Rebuild(context.Background(), request)
	require.ErrorIs(t, err, ports.ErrInvalid)
	for _, e := range []*app.Engine{engine, app.New(nil)} {
		require.NoError(t, replicaChanges(e, request.Source, app.Site{})["revert"]())
	}
}

func TestTwoRebuildsShareASource(t *testing.T) {
	for _, process := range []string{"this process", "another process"} {
		t.Run(process, func(t *testing.T) {
			b, request := newPlainFixture(t)
			engine := app.New(nil)
			second := engine
			if process == "another process" {
				second = app.New(nil)
			}
			other := request
			other.Destination.Replica = "vol-1-r-8c9d0e1f"
			begun := make(chan error, 1)
			duringCopy(b.source, func() {
				go func() {
					_, err := second.Rebuild(context.Background(), other)
					begun <- err
				}()
			})
			_, err := engine.Rebuild(context.Background(), request)
			require.NoError(t, err)
			require.NoError(t, <-begun)
			for _, name := range []string{copyName, "vol-1-r-8c9d0e1f"} {
				requireEqualViews(t, b, sourceName, name, true)
			}
		})
	}
}

// Of several sources one that is being rebuilt itself is left out.
func TestSourceThatIsBeingChangedIsPassedOver(t *testing.T) {
	g := newMultiSource(t, memory.Fork, forks, fieldTreeWithData)
	first := g.request.Source
	leaser := first.Host.(ports.Leaser)
	store, err := first.Host.List(t.Context())
	require.NoError(t, err)
	release, err := leaser.Lease(t.Context(), "replica "+store.UUID+"/"+first.Replica, ports.Lease{Holder: "the rebuild of that one"})
	require.NoError(t, err)
	report, err := app.New(nil).Rebuild(t.Context(), g.request)
	require.NoError(t, err)
	require.Equal(t, app.SourceLost, report.Sources[0].State)
	require.Contains(t, report.Sources[0].Reason, "in use by the rebuild of that one")
	g.requireEqual(1)
	for _, more := range []bool{true, false} {
		alone := g.request
		if more {
			alone.MoreSources = []app.Site{first}
		} else {
			alone.MoreSources = nil
		}
		_, err = app.New(nil).Rebuild(t.Context(), alone)
		require.ErrorIs(t, err, app.ErrRefused)
		require.ErrorContains(t, err, "in use by the rebuild of that one")
	}
	release()
}

// Another engine, which knows no leases, made another replica of the source: the
// error spoke of an image that was not known.
func TestField_9191_ReplacedSourceEndsRebuild(t *testing.T) {
	deleted := func(t *testing.T, b *fixture) {
		r := list(t, b.source, sourceName)
		require.NoError(t, b.source.Delete(context.Background(), r.Head.UUID))
		for len(r.Snapshots) > 0 {
			for _, s := range r.Snapshots {
				_ = b.source.Delete(context.Background(), s.Lvol.UUID) // leaves first
			}
			r = list(t, b.source, sourceName)
		}
	}
	for what, change := range map[string]func(t *testing.T, b *fixture){
		"deleted": deleted,
		"rebuilt from another volume": func(t *testing.T, b *fixture) {
			deleted(t, b)
			newBuilder(t, b.source, sourceName, list(t, b.source, sourceName).Store.Lvols[0].UUID).build(fieldChain(3, 150))
		},
		"half deleted": func(t *testing.T, b *fixture) {
			require.NoError(t, b.source.Delete(context.Background(), list(t, b.source, sourceName).Head.UUID))
		},
		"reverted": func(t *testing.T, b *fixture) {
			r := list(t, b.source, sourceName)
			require.NoError(t, b.source.Delete(context.Background(), r.Head.UUID))
			newBuilder(t, b.source, sourceName, "").writable(sourceName, mustSnapshot(t, r, "snap11").Lvol.UUID, 8)
		},
	} {
		for _, method := range []string{"list", "copy"} {
			t.Run(what+" at a "+method, func(t *testing.T) {
				b, request := newPlainFixtureOn(t, memory.Upstream)
				request.Parallel = 1
				was := list(t, b.source, sourceName).Head.UUID
				inject(b.source, on(method).nth(2).does(func() { // the list before the verification
					b.source.Inject(nil)
					change(t, b)
				}))
				report, err := app.New(nil).Rebuild(context.Background(), request)
				require.Error(t, err)
				require.Equal(t, app.OutcomeFailed, report.Outcome)
				require.ErrorContains(t, err, "source replica vol-1-r-0a1b2c3d on lvstore disk-1 was replaced, reverted or deleted during the rebuild: its head was lvol "+was)
				require.Nil(t, list(t, b.destination, copyName).Head, "it is not whole")
			})
		}
	}
}

// Leaves that were copied already were replaced by others of the same names, parents
// and counts; a rebuild onto a host without checksums ended "complete", and views
// differed.
func TestField_9191_ReplacedLeavesAreCopiedAgain(t *testing.T) {
	for _, flavour := range []memory.Flavour{memory.Fork, memory.Upstream} {
		t.Run(flavour.String(), func(t *testing.T) {
			b, request := newPlainFixtureOn(t, flavour)
			request.Parallel = 1
			inject(b.source, on("list").nth(2).does(func() {
				b.source.Inject(nil)
				leaf := mustSnapshot(t, list(t, b.source, sourceName), "snap22").Lvol
				require.NoError(t, b.source.Delete(context.Background(), leaf.UUID))
				newBuilder(t, b.source, sourceName, "").snapshot("snap22", leaf.Parent, 8, map[int]byte{4: 199}, leaf.Attributes)
				now := mustSnapshot(t, list(t, b.source, sourceName), "snap22").Lvol
				require.Equal(t, []any{leaf.Name, leaf.Parent, leaf.Own.Count, leaf.Attributes}, []any{now.Name, now.Parent, now.Own.Count, now.Attributes})
			}))
			_, err := app.New(nil).Rebuild(context.Background(), request)
			require.NoError(t, err)
			requireEqualViews(t, b, sourceName, copyName, true)
		})
	}
}

// A rebuild that was done returned only after 5 minutes, when another one of the same
// replica's name, onto a host that hung, gave up looking.
func TestNamesakeThatHangsDelaysNoRebuild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, request := newPlainFixture(t)
		hanging := memory.NewFabric().NewHost(memory.Config{Name: "disk-9", ClusterSize: cluster})
		inject(hanging, on("").takes(time.Hour))
		engine := app.New(nil)
		request.Parallel = 1
		ctx, cancel := context.WithCancel(t.Context())
		hung := make(chan error, 1)
		duringCopy(b.source, func() {
			go func() {
				other := request
				other.Destination.Host = hanging
				_, err := engine.Rebuild(ctx, other)
				hung <- err
			}()
			synctest.Wait()
		})
		began := time.Now()
		_, err := engine.Rebuild(t.Context(), request)
		require.NoError(t, err)
		require.Zero(t, time.Since(began))
		cancel()
		require.ErrorIs(t, <-hung, context.Canceled)
	})
}

// A host whose adapter knows no leases, and not by itself which store it is.
func TestPlainHostsAreProtectedWithinTheProcess(t *testing.T) {
	b, request := newPlainFixture(t)
	request.Parallel = 1
	request.Source.Host, request.Destination.Host = struct{ ports.Host }{b.source}, struct{ ports.Host }{b.destination}
	engine := app.New(nil)
	asked := 0
	duringCopy(b.source, func() {
		all := replicaChanges(engine, request.Source, app.Site{Host: b.destination, Replica: copyName})
		for _, what := range slices.Sorted(maps.Keys(all)) {
			err := all[what]()
			require.ErrorIs(t, err, app.ErrRefused, what)
			require.ErrorContains(t, err, "in use by the rebuild of replica vol-1-r-4e5f6a7b", what)
			asked++
		}
	})
	_, err := engine.Rebuild(context.Background(), request)
	require.NoError(t, err)
	require.Equal(t, 6, asked)
	requireEqualViews(t, b, sourceName, copyName, true)
}

// Of several sources the others go on.
func TestReplacedSourceIsDropped(t *testing.T) {
	for _, which := range []int{0, 1} {
		g := newMultiSource(t, memory.Fork, forks, fieldTreeWithData)
		g.request.Parallel = 1
		host, replica := g.sources[which], append([]app.Site{g.request.Source}, g.request.MoreSources...)[which].Replica
		created := on("create").once().does(func() {
			r := list(t, host, replica)
			require.NoError(t, host.Delete(context.Background(), r.Head.UUID))
			newBuilder(t, host, replica, "").writable(replica, r.Snapshots[0].Lvol.UUID, 8)
		})
		inject(g.destination, created)
		report, err := app.New(nil).Rebuild(t.Context(), g.request)
		require.NoError(t, err)
		require.NotZero(t, created.calls())
		g.requireEqual(1 - which)
		if which == 0 {
			require.Equal(t, app.SourceLost, report.Sources[0].State)
			require.Contains(t, report.Sources[0].Reason, "was replaced, reverted or deleted during the rebuild")
		}
	}
}

// An image could be deleted while it was copied, or before the first snapshot was
// grafted onto it.
func TestImageInUseIsHeldByTheRebuild(t *testing.T) {
	for _, fetch := range []bool{false, true} {
		b := newFixture(t, memory.Config{}, memory.Config{})
		newBuilder(t, b.source, sourceName, makeImage(t, b.source, 4)).build(fieldTree(10))
		if !fetch {
			makeImage(t, b.destination, 4)
		}
		request := app.Request{
			Source: app.Site{Host: b.source, Replica: sourceName}, Destination: app.Site{Host: b.destination, Replica: copyName}, Parallel: 1,
		}
		alone := func(host *memory.Host) error {
			store, err := host.List(context.Background())
			require.NoError(t, err)
			release, err := host.Claim(context.Background(), "image "+store.UUID+"/"+domain.ImageLvolName(imageName, store.UUID))
			if err == nil {
				release()
			}
			return err
		}
		asked := false
		duringCopy(b.source, func() {
			asked = true
			if !fetch { // nothing hangs on it yet
				_, err := app.New(nil).DeleteImage(context.Background(), b.destination, imageName)
				require.ErrorIs(t, err, app.ErrRefused)
				require.ErrorContains(t, err, "backing image base on lvstore disk-2 is in use by the rebuild of replica vol-1-r-4e5f6a7b on lvstore disk-2")
			}
			require.ErrorContains(t, alone(b.destination), "the rebuild of replica vol-1-r-4e5f6a7b on lvstore disk-2")
			if fetch {
				require.ErrorContains(t, alone(b.source), "the rebuild of replica vol-1-r-4e5f6a7b on lvstore disk-2")
			} else {
				require.NoError(t, alone(b.source), "only its snapshots are copied")
			}
		})
		_, err := app.New(nil).Rebuild(context.Background(), request)
		require.NoError(t, err)
		require.True(t, asked)
		require.NoError(t, alone(b.destination))
		require.NoError(t, alone(b.source))

		store, err := b.destination.List(context.Background())
		require.NoError(t, err)
		release, err := b.destination.Lease(context.Background(), "image "+store.UUID+"/"+domain.ImageLvolName(imageName, store.UUID), ports.Lease{Holder: "the deletion of backing image base"})
		require.NoError(t, err)
		_, err = app.New(nil).Rebuild(context.Background(), request)
		require.ErrorIs(t, err, app.ErrRefused)
		require.ErrorContains(t, err, "backing image base on lvstore disk-2 is in use by the deletion of backing image base")
		release()
	}
}
