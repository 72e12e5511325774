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

var (
	errEnough   = errors.New("the user has had enough")
	errLvolBusy = fmt.Errorf("lvol: %w", ports.ErrBusy)
	errSocket   = fmt.Errorf("socket: %w", ports.ErrUnavailable)
)

// What ends a rebuild that waits for another process's collection is no refusal.
func TestEndDuringWaitForCollectorIsNoRefusal(t *testing.T) {
	for _, how := range []string{"cancel", "end", "pause"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, request := newPlainFixture(t)
				_, err := app.New(nil).Rebuild(t.Context(), request)
				require.NoError(t, err)
				newBuilder(t, b.destination, copyName, "").writable(domain.InFlightLvolName(copyName, "0badcafe"), "", 8)
				inject(b.destination, on("delete").takes(time.Minute))
				collected := make(chan error, 1)
				go func() { // another process
					_, err := app.New(nil).RemoveGarbage(context.Background(), b.destination)
					collected <- err
				}()
				time.Sleep(time.Second)
				engine := app.New(nil)
				q := app.NewQueue(engine, app.Limits{})
				ctx, cancel := context.WithCancelCause(t.Context())
				job, err := q.Submit(ctx, request)
				require.NoError(t, err)
				time.Sleep(10 * time.Second)
				switch how {
				case "cancel":
					cancel(errEnough)
				case "end":
					engine.EndRebuilds(app.Using{Host: b.source}, errEnough)
				case "pause":
					require.NoError(t, job.Pause())
				}
				synctest.Wait()
				status := job.Status()
				cancel(nil)
				require.NoError(t, <-collected)
				require.NoError(t, q.Close(t.Context()))
				if how == "pause" {
					require.Equal(t, app.PhasePaused, status.Phase, "%v", status.Err)
					return
				}
				require.ErrorIs(t, status.Err, errEnough)
				require.NotErrorIs(t, status.Err, app.ErrRefused)
				require.Equal(t, app.OutcomeFailed, status.Report.Outcome)
			})
		})
	}
}

func TestEndedSourceIsNotWaitedForWhileItsGarbageIsCollected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newMultiSource(t, memory.Fork, []memory.Flavour{memory.Fork, memory.Fork}, "image\n snap11 0=10\n  head")
		newBuilder(t, g.sources[0], nthSource(0), "").writable(domain.InFlightLvolName(nthSource(0), "0badcafe"), "", 8)
		inject(g.sources[0], on("delete").takes(4*time.Minute))
		collected := make(chan error, 1)
		go func() { // another process
			_, err := app.New(nil).RemoveGarbage(context.Background(), g.sources[0])
			collected <- err
		}()
		time.Sleep(time.Second)
		engine := app.New(nil)
		rebuild := begin(engine, g.request, 10*time.Second)
		began := time.Now()
		found := engine.EndRebuilds(app.Using{Host: g.sources[0]}, errDiskGone)
		over := <-rebuild
		took := time.Since(began)
		require.NoError(t, <-collected)
		require.Equal(t, 1, found)
		require.NoError(t, over.err)
		require.Less(t, took, time.Minute)
	})
}
