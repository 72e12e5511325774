package app_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
)

// smallImage is a world whose ancestor hangs on an image of another size. On an upstream
// destination nothing is kept, so that it is copied.
func smallImage(t *testing.T) trial {
	t.Helper()
	for _, w := range faultScenarios {
		if w.name == "small-image" {
			return trial{world: w, flavours: flavours{source: memory.Fork, destination: memory.Upstream}, parallel: app.DefaultParallel}
		}
	}
	t.Fatal("there is no such world any more")
	return trial{}
}

// An engine that did not see this one would find an lvol in the middle of a resize, for
// as long as the copies keep the disk busy, and would crash the target by deleting it.
func TestCopiesWaitForPreparedGraft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		on := newTargets(t, smallImage(t))
		defer on.end()
		var mu sync.Mutex
		var asked []string
		on.listen(func(side string, r simtarget.Request) simtarget.Fault {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, side+" "+r.Method)
			if r.Method == "bdev_lvol_resize" {
				return simtarget.Fault{Delay: time.Second}
			}
			return simtarget.Fault{}
		})
		request, end := on.engine()
		defer end()
		_, err := app.New(nil).Rebuild(t.Context(), request)
		require.NoError(t, err)
		on.listen(nil)
		on.requireEqual(true)
		resized := slices.Index(asked, "destination bdev_lvol_resize")
		frozen := slices.Index(asked, "destination bdev_lvol_snapshot")
		copied := slices.Index(asked, "source bdev_lvol_start_shallow_copy")
		require.NotEqual(t, -1, resized, "the spacer is prepared")
		require.Less(t, resized, frozen)
		require.Less(t, frozen, copied, "and done before anything is copied")
	})
}

// A host that hangs while it prepares a graft keeps nobody who has given up.
func TestCancelEndsGraftPreparation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		on := newTargets(t, smallImage(t))
		defer on.end()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		on.listen(func(_ string, r simtarget.Request) simtarget.Fault {
			if r.Method != "bdev_lvol_resize" {
				return simtarget.Fault{}
			}
			cancel()
			return simtarget.Fault{Delay: time.Minute}
		})
		request, end := on.engine()
		defer end()
		began := time.Now()
		_, err := app.New(nil).Rebuild(ctx, request)
		require.ErrorIs(t, err, context.Canceled)
		require.Less(t, time.Since(began), 15*time.Second)
		on.listen(nil)
		time.Sleep(2 * time.Minute) // what was asked for takes effect, or not

		again, endAgain := on.engine()
		defer endAgain()
		_, err = app.New(nil).Rebuild(t.Context(), again)
		require.NoError(t, err)
		on.requireEqual(true)
		store, _ := on.store("destination")
		for _, l := range store.Lvols {
			_, inFlight := domain.ReplicaInFlight(l.Name)
			require.False(t, inFlight, "%s is left", l.Name)
		}
	})
}
