package app_test

import (
	"bytes"
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// openedBy is what a target has open of runs.
func openedBy(t *testing.T, host *spdk.Host) []ports.Opened {
	t.Helper()
	opened, err := host.Opened(context.Background())
	require.NoError(t, err)
	return opened
}

// Two imports of one image onto two lvstores of one target ended each other's
// subsystems: the identity of a run was the image's name alone.
func TestImportsOfOneImageOntoTwoStores(t *testing.T) {
	for _, process := range []string{"this process", "another process"} {
		t.Run(process, func(t *testing.T) {
			target := targettest.Simulate(t, simtarget.NewFabric(), simtarget.Fork)
			first, second := openTarget(t, target.Socket, target.NewStore(t, 32)), openTarget(t, target.Socket, target.NewStore(t, 32))
			engine := app.New(nil)
			other := engine
			if process == "another process" {
				other = app.New(nil)
			}
			content := bytes.Repeat([]byte{7}, 3*targettest.ClusterSize)
			during := func() {
				_, err := other.ImportImage(t.Context(), importOf(second, content))
				require.NoError(t, err)
				removed, err := other.RemoveGarbage(t.Context(), second)
				require.NoError(t, err)
				require.Empty(t, removed.Opened, "the first import lives")
				require.NotEmpty(t, openedBy(t, second))
			}
			var once sync.Once
			request := importOf(first, content)
			request.Observer = observe(func(e app.Event) {
				if e.Kind == app.EventWriting {
					once.Do(during)
				}
			})
			_, err := engine.ImportImage(t.Context(), request)
			require.NoError(t, err)
			for _, host := range []*spdk.Host{first, second} {
				_, err := engine.VerifyImage(t.Context(), host, "base", sumOf(content), nil)
				require.NoError(t, err)
				require.Empty(t, openedBy(t, host))
			}
		})
	}
}

// onceCopying does something once, while a copy goes on.
func onceCopying(do func()) app.Observer {
	var once sync.Once
	return observe(func(e app.Event) {
		if e.Kind == app.EventBegan && e.Verb == domain.VerbCopy && e.Snapshot == "s1" {
			once.Do(do)
		}
	})
}

// Two replicas of equal names, rebuilt onto two lvstores of one target, ended each
// other's subsystems, and on the source's target each other's connections.
func TestRebuildsOfOneNameOntoTwoStores(t *testing.T) {
	fabric := simtarget.NewFabric()
	from, to := targettest.Simulate(t, fabric, simtarget.Fork), targettest.Simulate(t, fabric, simtarget.Fork)
	sourceStore := from.NewStore(t, 64)
	source := openTarget(t, from.Socket, sourceStore)
	newBuilderOn(t, onTarget(t, from, source), sourceName, "").makeImage(2).build(fullChain(3, 2))
	rebuild := func(engine *app.Engine, store string, observer app.Observer) error {
		host := openTarget(t, to.Socket, store)
		_, err := engine.Rebuild(context.Background(), app.Request{
			Source:      app.Site{Host: openTarget(t, from.Socket, sourceStore), Replica: sourceName},
			Destination: app.Site{Host: host, Replica: copyName}, Parallel: 1, Observer: observer,
		})
		return err
	}
	second := to.NewStore(t, 64)
	require.NoError(t, rebuild(app.New(nil), to.NewStore(t, 64), onceCopying(func() {
		before := len(openedBy(t, source))
		require.NotZero(t, before, "it is connected")
		require.NoError(t, rebuild(app.New(nil), second, nil))
		require.Len(t, openedBy(t, source), before, "the first one's connection stays")
	})))
	require.Empty(t, openedBy(t, source))
}

// gc claimed one run and released the whole replica: also what a rebuild had opened
// that lived.
func TestGarbageOfADeadRunIsRemovedBesideALiveOne(t *testing.T) {
	fabric := simtarget.NewFabric()
	from, to := targettest.Simulate(t, fabric, simtarget.Fork), targettest.Simulate(t, fabric, simtarget.Fork)
	store := to.NewStore(t, 64)
	source, destination := openTarget(t, from.Socket, from.NewStore(t, 64)), openTarget(t, to.Socket, store)
	newBuilderOn(t, onTarget(t, from, source), sourceName, "").makeImage(2).build(fullChain(3, 2))
	uuid, _ := destination.Identity()
	peer, err := source.Peer(t.Context())
	require.NoError(t, err)
	crash := func(run ports.Run, name string) {
		dead := openTarget(t, to.Socket, store)
		l, err := dead.Create(context.Background(), name, targettest.ClusterSize)
		require.NoError(t, err)
		_, err = dead.Receive(context.Background(), run, l, peer)
		require.NoError(t, err)
	}
	_, err = app.New(nil).Rebuild(t.Context(), app.Request{
		Source: app.Site{Host: source, Replica: sourceName}, Destination: app.Site{Host: destination, Replica: copyName}, Parallel: 1,
		Observer: onceCopying(func() {
			live := openedBy(t, destination)
			require.NotEmpty(t, live)
			crash(ports.Run{Replica: copyName, Store: uuid, ID: "0badcafe"}, "vol-8-r-0a1b2c3d")
			crash(ports.Run{Replica: copyName, ID: "00c0ffee"}, "vol-9-r-0a1b2c3d") // as earlier versions called it
			gc := openTarget(t, to.Socket, store)
			removed, err := app.New(nil).RemoveGarbage(context.Background(), gc)
			require.NoError(t, err)
			var ids []string
			for _, o := range removed.Opened {
				ids = append(ids, o.Run.ID)
			}
			require.ElementsMatch(t, []string{"0badcafe", "00c0ffee"}, ids)
			require.Equal(t, live, openedBy(t, destination))
		}),
	})
	require.NoError(t, err)
	require.Empty(t, openedBy(t, destination))
}

// ReadViews claimed nothing, and left a subsystem open; gc removed a live one's.
func TestViewsAreReadUnderALease(t *testing.T) {
	target := targettest.Simulate(t, simtarget.NewFabric(), simtarget.Fork)
	store := target.NewStore(t, 64)
	host, engine := openTarget(t, target.Socket, store), app.New(nil)
	newBuilderOn(t, onTarget(t, target, host), sourceName, "").makeImage(2).build(fullChain(3, 2))
	at := app.Site{Host: host, Replica: sourceName}
	r, err := engine.Replica(t.Context(), at)
	require.NoError(t, err)
	asked := false
	views, err := engine.ReadViews(t.Context(), at, r.Views(), observe(func(e app.Event) {
		if e.Kind != app.EventReading || asked {
			return
		}
		asked = true
		require.NotEmpty(t, openedBy(t, host))
		elsewhere := app.Site{Host: openTarget(t, target.Socket, store), Replica: sourceName}
		removed, err := app.New(nil).RemoveGarbage(context.Background(), elsewhere.Host)
		require.NoError(t, err)
		require.Empty(t, removed.Opened)
		for _, other := range []*app.Engine{engine, app.New(nil)} {
			_, err = other.DeleteReplica(context.Background(), elsewhere, nil)
			require.ErrorIs(t, err, app.ErrRefused)
			require.ErrorContains(t, err, "in use by a reading of the views of replica "+sourceName)
		}
	}))
	require.NoError(t, err)
	require.True(t, asked)
	require.Len(t, views, len(r.Views()))
	require.Empty(t, openedBy(t, host))
	_, err = engine.DeleteReplica(t.Context(), at, nil)
	require.NoError(t, err)
}
