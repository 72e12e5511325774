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

// A target hides what is deleted while it is being copied, and keeps its clusters,
// until a restart (rule 5). So a deletion is refused until the rebuild has ended.
func TestCopiedSnapshotIsNotDeleted(t *testing.T) {
	for name, remove := range map[string]func(e *app.Engine, at app.Site) error{
		"a snapshot": func(e *app.Engine, at app.Site) error {
			_, err := e.DeleteSnapshot(context.Background(), at, "snap31")
			return err
		},
		"the replica": func(e *app.Engine, at app.Site) error {
			_, err := e.DeleteReplica(context.Background(), at, nil)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, request := newPlainFixture(t)
				leaf := domain.SnapshotLvolName(sourceName, "snap31")
				head := list(t, b.source, sourceName).Head.UUID
				require.NoError(t, b.source.Delete(t.Context(), head))
				// A head that hangs elsewhere leaves snap31 a leaf, which nothing keeps.
				parent := list(t, b.source, sourceName).Snapshots[0].Lvol.UUID
				_, err := b.source.Clone(t.Context(), parent, sourceName, 8*cluster, "")
				require.NoError(t, err)

				engine := app.New(nil)
				removed := make(chan error, 1)
				inject(b.source, on("copy").of(leaf).takes(time.Minute).does(func() {
					go func() { removed <- remove(engine, request.Source) }()
				}))
				_, err = engine.Rebuild(t.Context(), request)
				require.NoError(t, err)
				err = <-removed
				require.ErrorIs(t, err, app.ErrRefused)
				require.ErrorContains(t, err, "in use by the rebuild of replica "+copyName)
				requireEqualViews(t, b, sourceName, copyName, true)
				require.NoError(t, remove(engine, request.Source), "it has ended")
				b.source.Inject(nil)
				b.source.Restart()
				_, found := list(t, b.source, sourceName).Snapshot("snap31")
				require.False(t, found, "it was hidden, not deleted")
			})
		})
	}
}
