package app_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
)

// A rebuild that began while the garbage of its destination was collected was
// refused: "is being rebuilt already". So were snapshots.
func TestRebuildWaitsForGarbageCollection(t *testing.T) {
	for _, process := range []string{"this process", "differs from the one"} {
		for name, begin := range map[string]func(e *app.Engine, r app.Request) error{
			"rebuild": func(e *app.Engine, r app.Request) error {
				_, err := e.Rebuild(context.Background(), r)
				return err
			},
			"snapshot": func(e *app.Engine, r app.Request) error {
				_, err := e.CreateSnapshot(context.Background(), r.Destination, "new")
				return err
			},
			"another collection": func(e *app.Engine, r app.Request) error {
				_, err := e.RemoveGarbage(context.Background(), r.Destination.Host)
				return err
			},
		} {
			t.Run(name+" while "+process+" collects", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b, request := newPlainFixture(t)
					engine := app.New(nil)
					_, err := engine.Rebuild(context.Background(), request)
					require.NoError(t, err)
					left := newBuilder(t, b.destination, copyName, "")
					left.writable(domain.InFlightLvolName(copyName, "0badcafe"), "", 8)
					inject(b.destination, on("delete").takes(time.Minute))
					collector := engine
					if process != "this process" {
						collector = app.New(nil)
					}
					collected := make(chan error, 1)
					go func() {
						removed, err := collector.RemoveGarbage(context.Background(), b.destination)
						if err == nil && len(removed.Lvols) != 1 {
							t.Errorf("it removed %v", removed.Lvols)
						}
						collected <- err
					}()
					time.Sleep(time.Second)
					began := time.Now()
					require.NoError(t, begin(engine, request))
					require.NoError(t, <-collected)
					require.GreaterOrEqual(t, time.Since(began), 58*time.Second, "it was waited for")
				})
			})
		}
	}
}
