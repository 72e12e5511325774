package app_test

import (
	"context"
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

// TestEventsTellTheModeOfTheDestination: an observer need not look at the mirror itself.
func TestEventsTellTheModeOfTheDestination(t *testing.T) {
	for what, want := range map[string][]domain.Mode{
		"":     {"", domain.ModeWO, domain.ModeRW},
		"seal": {"", domain.ModeWO, domain.ModeERR, domain.ModeWO, domain.ModeRW},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newLiveFixture(t, 2, liveTree, memory.Config{})
			b.dropOnce(what)
			b.start(5 * time.Millisecond)
			defer b.clients.Stop()
			var modes []domain.Mode
			r := b.request()
			r.Observer = observe(func(e app.Event) { modes = append(modes, e.Mode) })
			_, err := app.New(nil).RebuildOnline(t.Context(), r)
			require.NoError(t, err)
			b.stop()
			require.Equal(t, want, slices.Compact(modes), what)
		})
	}
}

// slowFreezer takes a second to stop the clients, and another one to let them go on.
type slowFreezer struct{ ports.Freezer }

func (f slowFreezer) Freeze(ctx context.Context, limit time.Duration, work func(ctx context.Context) error) error {
	time.Sleep(time.Second)
	err := f.Freezer.Freeze(ctx, limit, work)
	time.Sleep(time.Second)
	return err
}

// TestFrozenIsWhatClientsNotice: the time in which they are stopped and let go on counts, not only
// that in which the engine works.
func TestFrozenIsWhatClientsNotice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		r := b.request()
		r.Freezer = slowFreezer{r.Freezer}
		report, err := app.New(nil).RebuildOnline(t.Context(), r)
		require.NoError(t, err)
		require.GreaterOrEqual(t, report.Online.Frozen, 2*time.Second)
		volume := app.VolumeRequest{Mirror: r.Mirror, Freezer: r.Freezer, Members: append(r.MoreSources, r.Source, r.Destination)}
		taken, err := app.New(nil).SnapshotVolume(t.Context(), volume, "daily")
		require.NoError(t, err)
		require.GreaterOrEqual(t, taken.Frozen, 2*time.Second)
		purged, err := app.New(nil).PurgeVolume(t.Context(), volume)
		require.NoError(t, err)
		require.Len(t, purged.Purged, 1)
		require.GreaterOrEqual(t, purged.Frozen, 2*time.Second)
	})
}
