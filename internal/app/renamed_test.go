package app_test

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// What was to be deleted when it was planned may be somebody else's by now: the name
// says so, and what has the UUID but another name stays.
func TestLeftoverRenamedMeanwhileStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, request := newDamagedFixture(t, memory.Fork, memory.Fork)
		uuid, err := b.destination.Create(t.Context(), domain.InFlightLvolName(copyName, "0badf00d"), 8*cluster)
		require.NoError(t, err)
		var once sync.Once
		request.Observer = observe(func(e app.Event) {
			if e.Kind == app.EventBegan { // the head is deleted, to begin with
				once.Do(func() { require.NoError(t, b.destination.Rename(t.Context(), uuid, "vol-77")) })
			}
		})
		_, err = app.New(nil).Rebuild(t.Context(), request)
		require.NoError(t, err)
		requireEqualViews(t, b, sourceName, copyName, true)
		require.Contains(t, namesOn(t, b.destination), "vol-77")
	})
}

// A seal whose answer was lost is not taken for done where the snapshot hangs on
// something else by now: it is planned again, before anything is sealed on it.
func TestLostSealUnderOtherParentIsNotAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, request := newPlainFixture(t)
		request.Parallel = 1
		again := 0
		lost := on("seal").of("snap21").once().answers(ports.ErrUnavailable)
		onIt := on("seal").after(lost).where(func(c memory.Call) bool { return again == 0 && !strings.HasSuffix(c.Name, "snap21") })
		inject(b.destination, lost, onIt)
		request.Observer = observe(func(e app.Event) {
			switch e.Kind {
			case app.EventRetry:
				snapshot, found := list(t, b.destination, copyName).Snapshot("snap21")
				require.True(t, found)
				require.NoError(t, b.destination.Graft(t.Context(), snapshot.Lvol.UUID, ""))
			case app.EventAgain:
				again++
			}
		})
		_, err := app.New(nil).Rebuild(t.Context(), request)
		require.NoError(t, err)
		require.Positive(t, again)
		require.Zero(t, onIt.calls())
		requireEqualViews(t, b, sourceName, copyName, true)
	})
}
