package app_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/freezer"
	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
)

// TestCancelledInAFreeze: a caller gives up as clients are stopped, when they are, or as they are let go
// on, in the freeze of the cut or of the landing. Clients go on, the destination ends without a head or is
// whole, and the next run makes it whole.
func TestCancelledInAFreeze(t *testing.T) {
	for _, when := range []string{"stopping", "stopped", "thawing", "thawed"} {
		for freeze := 1; freeze <= 2; freeze++ {
			t.Run(fmt.Sprintf("%s, freeze %d", when, freeze), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newLiveFixture(t, 2, liveTree, memory.Config{})
					b.noTrims = true
					b.inject(func(int, liveCall) memory.Fault { return memory.Fault{Delay: 4 * time.Millisecond} })
					b.start(50 * time.Millisecond)
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					stops, thaws := 0, 0
					at := func(moment string, n int) {
						if moment == when && n == freeze {
							cancel()
						}
					}
					b.freezer = freezer.Func(func(ctx context.Context) error {
						stops++
						at("stopping", stops)
						err := b.mirror.Suspend(ctx)
						at("stopped", stops)
						return err
					}, func(ctx context.Context) error {
						thaws++
						at("thawing", thaws)
						err := b.mirror.Resume(ctx)
						at("thawed", thaws)
						return err
					})
					_, err := app.New(nil).RebuildOnline(ctx, b.request())
					if err != nil {
						require.ErrorIs(t, err, context.Canceled)
						require.NotErrorIs(t, err, app.ErrCleanUp)
						require.Empty(t, list(t, b.to, copyName).InFlight)
					}
					require.Error(t, ctx.Err(), "it was given up")
					b.settle()
					b.requireNoHalfHead(when)
					b.noFaults()
					b.freezer = freezer.Func(b.mirror.Suspend, b.mirror.Resume)
					_, err = app.New(nil).RebuildOnline(t.Context(), b.request())
					require.NoError(t, err)
					b.stop()
					b.requireWhole()
				})
			})
		}
	}
}
