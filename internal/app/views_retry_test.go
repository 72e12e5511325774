package app_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// A rebuild whose work was done failed for one answer that did not come while it
// read the views back.
func TestViewsAreReadAgainAfterAPassingFailure(t *testing.T) {
	for _, method := range []string{"open", "read"} {
		t.Run(method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, request := newViewsFixture(t, memory.Fork)
				request.Views = true
				var most atomic.Uint64
				request.Observer = observe(func(e app.Event) {
					if e.Kind == app.EventReading {
						require.LessOrEqual(t, e.BytesDone, e.BytesTotal, "what is read again counts once")
						most.Store(e.BytesDone)
					}
				})
				failFirst(b.destination, method, 3, memory.Fault{Before: ports.ErrUnavailable})
				report, err := app.New(nil).Rebuild(t.Context(), request)
				require.NoError(t, err)
				require.Equal(t, app.OutcomeComplete, report.Outcome)
				require.Len(t, report.DestinationViews, len(report.Destination.Snapshots)+1)
				require.NotZero(t, most.Load())
			})
		})
	}
}

// A snapshot of the source that was deleted while views were read failed the rebuild.
func TestSnapshotDeletedDuringReadIsPlannedAgain(t *testing.T) {
	b, request := newViewsFixture(t, memory.Fork)
	request.Views = true
	gone := mustSnapshot(t, list(t, b.source, sourceName), "snap22").Lvol
	inject(b.source, on("open").once().does(func() { require.NoError(t, b.source.DeleteMerging(gone.UUID)) }))
	_, err := app.New(nil).Rebuild(t.Context(), request)
	require.NoError(t, err)
	require.NotContains(t, namesOn(t, b.destination), domain.SnapshotLvolName(copyName, "snap22"))
}

// An engine died while it read the views of
// a replica that it had made; that one is the source now. What somebody is at work on
// is left alone.
func TestLeftoverExportsOfSourceAreClosed(t *testing.T) {
	for _, lives := range []bool{false, true} {
		b, request := newViewsFixture(t, memory.Fork)
		head := list(t, b.source, sourceName).Head
		_, err := b.source.Open(t.Context(), ports.Run{Replica: sourceName, ID: "0badcafe"}, head.UUID)
		require.NoError(t, err)
		if lives {
			release, err := b.source.Claim(t.Context(), "run 0badcafe")
			require.NoError(t, err)
			t.Cleanup(release)
		}
		_, err = app.New(nil).Rebuild(t.Context(), request)
		if lives {
			require.ErrorIs(t, err, ports.ErrBusy)
			continue
		}
		require.NoError(t, err)
	}
}
