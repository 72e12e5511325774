package app_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/ports"
)

// oddFreezer does something else than it should in one of its freezes, from 1.
type oddFreezer struct {
	ports.Freezer

	odd, n *int
	does   freezes
}

// freezes is Freeze of a freezer.
type freezes = func(ctx context.Context, limit time.Duration, work func(context.Context) error) error

func (f oddFreezer) Freeze(ctx context.Context, limit time.Duration, work func(context.Context) error) error {
	if *f.n++; *f.n == *f.odd {
		return f.does(ctx, limit, work)
	}
	return f.Freezer.Freeze(ctx, limit, work)
}

// TestFreezersThatDoOtherThanTheyShould: a head never gets its name without the last graft, and the
// volume stays as it is, whatever the freezer of an embedder does in the first freeze or the second.
func TestFreezersThatDoOtherThanTheyShould(t *testing.T) {
	for name, does := range map[string]func(b *liveFixture) freezes{
		"it does not call the work": func(*liveFixture) freezes {
			return func(context.Context, time.Duration, func(context.Context) error) error { return nil }
		},
		"it calls it twice": func(b *liveFixture) freezes {
			return func(ctx context.Context, limit time.Duration, work func(context.Context) error) error {
				return b.freezer.Freeze(ctx, limit, func(ctx context.Context) error { _ = work(ctx); return work(ctx) })
			}
		},
		"it loses an error": func(b *liveFixture) freezes {
			return func(ctx context.Context, limit time.Duration, work func(context.Context) error) error {
				cancelled, cancel := context.WithCancel(ctx)
				cancel()
				_ = work(cancelled)
				return nil
			}
		},
	} {
		for odd := 1; odd <= 2; odd++ {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newLiveFixture(t, 2, liveTree, memory.Config{})
					b.start(5 * time.Millisecond)
					defer b.clients.Stop()
					b.slowly(nil)
					r := b.request()
					r.Freezer = oddFreezer{b.freezer, &odd, new(int), does(b)}
					_, err := app.New(nil).RebuildOnline(t.Context(), r)
					if err != nil {
						store, unlisted := b.to.List(t.Context())
						require.NoError(t, unlisted)
						for _, l := range store.Lvols {
							require.NotEqual(t, copyName, l.Name, "%v", err)
						}
						_, err = app.New(nil).RebuildOnline(t.Context(), b.request())
					}
					require.NoError(t, err)
					b.stop()
					b.requireWhole()
				})
			})
		}
	}
}
