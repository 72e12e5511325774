package app_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// requirePurgeAfterRebuild: the purge is refused because of a leftover of the destination, the
// next rebuild can delete that, and then the purge deletes the cuts.
func (b *liveFixture) requirePurgeAfterRebuild() {
	b.t.Helper()
	_, err := app.New(nil).PurgeVolume(b.t.Context(), b.volumeWithDestination())
	require.ErrorIs(b.t, err, app.ErrRefused)
	require.ErrorContains(b.t, err, "may read through a snapshot of the members of volume vol-1: rebuild replica "+copyName+" first")
	require.NotEmpty(b.t, cutsOf(list(b.t, b.members[0], b.names[0])))
	_, err = app.New(nil).RebuildOnline(b.t.Context(), b.request())
	require.NoError(b.t, err)
	purged, err := app.New(nil).PurgeVolume(b.t.Context(), b.volumeWithDestination())
	require.NoError(b.t, err)
	require.NotEmpty(b.t, purged.Purged)
	require.Empty(b.t, cutsOf(list(b.t, b.members[0], b.names[0])))
}

// An engine died after the cut, a user took a snapshot of the live head, and the destination's host
// restarted: that snapshot is degraded until it finds the cut again.
func TestPurgeIsRefusedUnderDegradedLeftover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		b.start(50 * time.Millisecond)
		defer b.clients.Stop()
		b.loseCut(0, b.request())
		b.requirePurgeAfterRebuild()
		b.stop()
		b.requireWhole()
	})
}

// An engine died after the cut, and the mirror dropped the live head, which still reads through it.
func TestPurgeIsRefusedUnderDroppedLiveHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		b.dieAt("copy")
		volume, err := b.mirror.Volume(t.Context())
		require.NoError(t, err)
		require.Len(t, volume.Members, 3)
		require.NoError(t, b.mirror.Leave(t.Context(), volume.Members[2].Head))
		b.requirePurgeAfterRebuild()
	})
}

// forgetful is a host that does not know its store without a listing, and cannot be listed once.
type forgetful struct {
	ports.Host

	listed bool
}

func (f *forgetful) List(ctx context.Context) (domain.Listing, error) {
	if !f.listed {
		f.listed = true
		return domain.Listing{}, ports.ErrUnavailable
	}
	return f.Host.List(ctx)
}

func (f *forgetful) Merge(ctx context.Context, snapshot string) error {
	return f.Host.(ports.Merger).Merge(ctx, snapshot)
}

// A replica whose lease cannot be asked for is not purged: somebody may hold it. Clients go on.
func TestPurgeIsNotMadeWithoutLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		b.rebuilt()
		require.NoError(t, b.mirror.Suspend(t.Context()))
		request := b.volumeOfAll()
		held := request.Members[1]
		request.Members[1].Host = &forgetful{Host: held.Host}
		engine := app.New(nil)
		release, err := engine.Hold(t.Context(), "the expansion of volume vol-1", held)
		require.NoError(t, err)
		defer release()
		_, err = engine.PurgeVolume(t.Context(), request)
		require.ErrorIs(t, err, ports.ErrUnavailable)
		require.Len(t, cutsOf(list(t, b.members[0], b.names[0])), 1)
		require.NoError(t, b.mirror.Trim(0, cluster))
		_, err = engine.PurgeVolume(t.Context(), request)
		require.ErrorContains(t, err, "the expansion of volume vol-1")
	})
}
