package app_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
)

// TestMultipleThreadFastRebuildingWithBackingImage is the test that Longhorn
// has for its v2 volumes, and switched off for those with a backing image
// (longhorn/longhorn#12237): five volumes at once over one shared image, the
// branching tree, a failed replica whose snap12 is corrupt, whose snap13 is
// forged and which has a snap14 that nobody else has. Fast rebuild is on.
func TestMultipleThreadFastRebuildingWithBackingImage(t *testing.T) {
	const volumes, clusters = 5, 8
	b := newFixture(t, memory.Config{}, memory.Config{})
	// Operations take a while and hold their locks, so the five run into each
	// other wherever they can.
	for _, host := range []*memory.Host{b.source, b.destination} {
		inject(host, on("list").gets(memory.Fault{}), on("look").gets(memory.Fault{}), on("").takes(200*time.Microsecond))
	}
	sourceImage, image := makeImage(t, b.source, 4), makeImage(t, b.destination, 4)
	for v := range volumes {
		seed := byte(10 * (v + 1))
		newBuilder(t, b.source, replicaOf(v, 1), sourceImage).build(fieldTree(seed))
		newBuilder(t, b.destination, replicaOf(v, 2), image).build(fmt.Sprintf(`
			image
			  snap11 0=%d
			    snap12 1=251           # corrupt
			      snap13 2=%d 5=1      # forged: another cluster besides
			        snap14 3=252       # extra
			          head
			    snap21 3=%d at=3       # intact
		`, seed, seed+2, seed+3))
	}

	logged, log := observer.New(zapcore.DebugLevel)
	engine := app.New(zap.New(logged))
	reports := make([]app.Report, volumes)
	errs := make([]error, volumes)
	var all sync.WaitGroup
	for v := range volumes {
		all.Go(func() {
			reports[v], errs[v] = engine.Rebuild(context.Background(), app.Request{
				Source:      app.Site{Host: b.source, Replica: replicaOf(v, 1)},
				Destination: app.Site{Host: b.destination, Replica: replicaOf(v, 2)},
			})
		})
	}
	all.Wait()

	for v := range volumes {
		require.NoError(t, errs[v])
		requireEqualViews(t, b, replicaOf(v, 1), replicaOf(v, 2), true)
		s, d := list(t, b.source, replicaOf(v, 1)), list(t, b.destination, replicaOf(v, 2))
		for i := range s.Snapshots {
			require.Equal(t, s.ParentOf(s.Snapshots[i].Lvol), d.ParentOf(d.Snapshots[i].Lvol), "the parent of %s", s.Snapshots[i].Name)
			require.Equal(t, s.Snapshots[i].Lvol.Attributes, d.Snapshots[i].Lvol.Attributes, "the attributes of %s", s.Snapshots[i].Name)
		}
		require.Equal(t, "backing-image:base", d.ParentOf(mustSnapshot(t, d, "snap11").Lvol).String())
		require.Equal(t, imageName, d.Head.Record)
		require.Equal(t, map[string]domain.Action{
			"snap11": domain.ActionKeep, "snap12": domain.ActionCopy, "snap13": domain.ActionCopy, "snap14": domain.ActionRemove,
			"snap21": domain.ActionKeep, "snap22": domain.ActionCopy, "snap31": domain.ActionCopy, "": domain.ActionCreateHead,
		}, actions(reports[v].Plan))
		require.EqualValues(t, 4*cluster, reports[v].CopiedBytes, "only what is not proven is copied")
	}
	require.Empty(t, log.FilterLevelExact(zapcore.WarnLevel).All(), "warnings")
	require.Empty(t, log.FilterLevelExact(zapcore.ErrorLevel).All(), "errors")
}

func replicaOf(volume, replica int) string { return fmt.Sprintf("vol-%d-r-%08d", volume, replica) }

func mustSnapshot(t tester, r domain.Replica, name string) domain.Snapshot {
	s, ok := r.Snapshot(name)
	require.True(t, ok, "snapshot %s", name)
	return s
}

func actions(plan domain.Plan) map[string]domain.Action {
	all := make(map[string]domain.Action)
	for _, s := range plan.Steps {
		all[s.Snapshot] = s.Action
	}
	return all
}

// The first one brings it, the
// others wait and find it.
func TestSharedMissingImageIsFetchedOnce(t *testing.T) {
	const volumes = 4
	b := newFixture(t, memory.Config{}, memory.Config{})
	image := makeImage(t, b.source, 4)
	for v := range volumes {
		newBuilder(t, b.source, replicaOf(v, 1), image).build(fieldChain(2, byte(10*v)))
	}
	inject(b.source, on("").takes(200*time.Microsecond))
	engine := app.New(nil)
	var all sync.WaitGroup
	for v := range volumes {
		all.Go(func() {
			_, err := engine.Rebuild(context.Background(), app.Request{
				Source:      app.Site{Host: b.source, Replica: replicaOf(v, 1)},
				Destination: app.Site{Host: b.destination, Replica: replicaOf(v, 2)},
			})
			if err != nil {
				t.Errorf("volume %d: %v", v, err)
			}
		})
	}
	all.Wait()
	for v := range volumes {
		requireEqualViews(t, b, replicaOf(v, 1), replicaOf(v, 2), true)
	}
	require.EqualValues(t, (4+2*volumes)*cluster, b.source.Sent(), "the image's 4 clusters crossed once")
}
