package app_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// addImage makes an empty image of one cluster.
func addImage(t *testing.T, host ports.Host, name string) (uuid string) {
	t.Helper()
	store, err := host.List(t.Context())
	require.NoError(t, err)
	l, err := host.Create(t.Context(), domain.ImageInFlightLvolName("00000001"), store.ClusterSize)
	require.NoError(t, err)
	uuid, err = host.Seal(t.Context(), l, domain.ImageLvolName(name, store.UUID), ports.SealRecord{Image: &domain.ImageRecord{UUID: drawnUUID}})
	require.NoError(t, err)
	return uuid
}

const drawnUUID = "01234567-89ab-4cde-8f01-23456789abcd"

// One that nothing needs goes, one that anything needs
// stays, and so does everything else.
func TestField_10811_ImageIsDeleted(t *testing.T) {
	target := func(flavour simtarget.Flavour) func(t *testing.T) ports.Host {
		return func(t *testing.T) ports.Host {
			at := targettest.Simulate(t, simtarget.NewFabric(), flavour)
			return openTarget(t, at.Socket, at.NewStore(t, 64))
		}
	}
	for name, open := range map[string]func(t *testing.T) ports.Host{
		"memory":               func(*testing.T) ports.Host { return imageHost(memory.Fork) },
		"memory, upstream":     func(*testing.T) ports.Host { return imageHost(memory.Upstream) },
		"simulated, fork":      target(simtarget.Fork),
		"simulated, upstreams": target(simtarget.Upstream),
	} {
		t.Run(name, func(t *testing.T) {
			host, engine := open(t), app.New(nil)
			base := addImage(t, host, "base")
			addImage(t, host, "other")
			store, err := host.List(t.Context())
			require.NoError(t, err)
			refuses := func(says string) {
				t.Helper()
				before := namesOn(t, host)
				_, err := engine.PlanImageRemoval(t.Context(), host, "base")
				require.ErrorIs(t, err, app.ErrRefused)
				require.ErrorContains(t, err, says)
				_, err = engine.DeleteImage(t.Context(), host, "base")
				require.ErrorIs(t, err, app.ErrRefused)
				require.ErrorContains(t, err, says)
				require.Equal(t, before, namesOn(t, host))
			}
			head, err := host.Clone(t.Context(), base, "vol-1-r-0a1b2c3d", 2*store.ClusterSize, "base")
			require.NoError(t, err)
			refuses("backing image base on lvstore " + store.Name + " is needed: lvol vol-1-r-0a1b2c3d is its clone")
			if store.Records {
				require.NoError(t, host.Graft(t.Context(), head, ""))
				refuses("lvol vol-1-r-0a1b2c3d records it and lost it; repair or delete the replicas first")
			}
			require.NoError(t, host.Delete(t.Context(), head))

			image, err := engine.DeleteImage(t.Context(), host, "base")
			require.NoError(t, err)
			require.Equal(t, base, image.Lvol.UUID)
			require.Equal(t, []string{domain.ImageLvolName("other", store.UUID)}, namesOn(t, host))
			refuses("backing image base not found on lvstore " + store.Name + "; available: other")
			_, err = engine.DeleteImage(t.Context(), host, "a/b")
			require.ErrorIs(t, err, app.ErrRefused)
			addImage(t, host, "base")
		})
	}
}

func TestImageDeleteIsAtomic(t *testing.T) {
	for name, c := range map[string]struct {
		method string
		fault  memory.Fault
		stays  bool
	}{
		"the delete fails":         {"delete", memory.Fault{Before: errInjected}, true},
		"its answer is lost":       {"delete", memory.Fault{After: errInjected}, false},
		"the host does not answer": {"list", memory.Fault{Before: errInjected}, true},
		"the release fails":        {"release", memory.Fault{Before: errInjected}, true},
	} {
		t.Run(name, func(t *testing.T) {
			host := imageHost(memory.Fork)
			addImage(t, host, "base")
			before := namesOn(t, host)
			inject(host, on(c.method).gets(c.fault))
			_, err := app.New(nil).DeleteImage(t.Context(), host, "base")
			host.Inject(nil)
			if !c.stays {
				require.NoError(t, err)
				require.Empty(t, namesOn(t, host))
				return
			}
			require.ErrorIs(t, err, ports.ErrUnavailable)
			require.ErrorContains(t, err, "delete backing image base")
			require.Equal(t, before, namesOn(t, host))
		})
	}
}

func TestImageThatGetsACloneStays(t *testing.T) {
	host := imageHost(memory.Fork)
	base := addImage(t, host, "base")
	inject(host, on("release").once().does(func() {
		host.Inject(nil)
		_, err := host.Clone(t.Context(), base, "vol-1-r-0a1b2c3d", imageCluster, "base")
		require.NoError(t, err)
	}))
	_, err := app.New(nil).DeleteImage(t.Context(), host, "base")
	require.ErrorIs(t, err, app.ErrRefused)
	require.ErrorContains(t, err, "lvol vol-1-r-0a1b2c3d is its clone")
	require.Len(t, namesOn(t, host), 2)
}

func TestImageInVerificationStays(t *testing.T) {
	host := imageHost(memory.Fork)
	addImage(t, host, "base")
	_, err := app.New(nil).DeleteImage(t.Context(), claimed{host}, "base")
	require.ErrorIs(t, err, app.ErrRefused)
	require.ErrorContains(t, err, "backing image base on lvstore disk is in use by another process")
	require.Len(t, namesOn(t, host), 1)

	synctest.Test(t, func(t *testing.T) {
		host := imageHost(memory.Fork)
		engine := app.New(nil)
		report, err := engine.ImportImage(t.Context(), importOf(host, disk()))
		require.NoError(t, err)
		inject(host, on("open").takes(time.Second))
		var verified error
		var all sync.WaitGroup
		all.Go(func() { _, verified = engine.VerifyImage(t.Context(), host, "base", "", nil) })
		synctest.Wait()
		_, err = engine.DeleteImage(t.Context(), host, "base")
		require.ErrorIs(t, err, app.ErrRefused)
		require.ErrorContains(t, err, "is in use by the verification of backing image base")
		all.Wait()
		require.NoError(t, verified)
		image, err := engine.DeleteImage(t.Context(), host, "base")
		require.NoError(t, err)
		require.Equal(t, report.Lvol.UUID, image.Lvol.UUID)
	})
}

// Nothing hangs on it yet.
func TestImageOfRunningRebuildStays(t *testing.T) {
	b := newFixture(t, memory.Config{}, memory.Config{})
	newBuilder(t, b.source, sourceName, makeImage(t, b.source, 4)).build(fieldTree(10))
	makeImage(t, b.destination, 4)
	asked := false
	duringCopy(b.source, func() {
		asked = true
		_, err := app.New(nil).DeleteImage(t.Context(), b.destination, imageName)
		require.ErrorIs(t, err, app.ErrRefused)
		require.ErrorContains(t, err, "is in use by the rebuild of replica "+copyName)
	})
	_, err := app.New(nil).Rebuild(t.Context(), app.Request{
		Source: app.Site{Host: b.source, Replica: sourceName}, Destination: app.Site{Host: b.destination, Replica: copyName}, Parallel: 1,
	})
	require.NoError(t, err)
	require.True(t, asked)
}
