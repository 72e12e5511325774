package app_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
)

// onDelete does something to an lvol in the moment in which it is looked at before it
// is deleted, once.
func onDelete(host *memory.Host, uuid string, do func()) {
	inject(host, on("look").ofUUID(uuid).once().does(do))
}

// A delete compared names alone: a head that was written to since it was listed was
// deleted without a word. A revert did not look at all.
func TestWrittenHeadIsNotDeleted(t *testing.T) {
	ctx := context.Background()
	for what, do := range map[string]func(at app.Site) error{
		"delete replica": func(at app.Site) error { _, err := app.New(nil).DeleteReplica(ctx, at, nil); return err },
		"revert": func(at app.Site) error {
			_, err := app.New(nil).Revert(ctx, app.RevertRequest{Replica: at, Snapshot: "snap12"})
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			b, _, at := newTwins(t, memory.Fork)
			head := list(t, b.destination, copyName).Head
			onDelete(b.destination, head.UUID, func() {
				require.NoError(t, b.destination.WriteAt(head.UUID, filled(99), 0))
			})
			err := do(at)
			require.ErrorContains(t, err, "lvol vol-1-r-4e5f6a7b has 1 clusters of its own now, 0 when it was listed")
			after := list(t, b.destination, copyName)
			require.Equal(t, head.UUID, after.Head.UUID)
			require.Empty(t, after.InFlight)
			require.NoError(t, do(at), "asked again, by somebody who may know")
		})
	}
}

// A rebuild plans again: what it deletes then, its plan has listed.
func TestRebuildListsWrittenHeadAgain(t *testing.T) {
	b, request := newPlainFixture(t)
	request.Parallel = 1
	newBuilder(t, b.destination, copyName, "").build(fieldChain(1, 90))
	head := list(t, b.destination, copyName).Head
	looked := on("look").ofUUID(head.UUID).once().does(func() {
		require.NoError(t, b.destination.WriteAt(head.UUID, filled(99), 0))
	})
	inject(b.destination, looked)
	var again []string
	request.Observer = observe(func(e app.Event) {
		if e.Kind == app.EventAgain {
			again = append(again, e.Text)
		}
	})
	_, err := app.New(nil).Rebuild(context.Background(), request)
	require.NoError(t, err)
	require.Len(t, again, 1)
	require.Contains(t, again[0], "lvol vol-1-r-4e5f6a7b has 1 clusters of its own now, 0 when it was listed")
	require.Equal(t, 2, looked.calls())
	requireEqualViews(t, b, sourceName, copyName, true)
}

// A snapshot that merged with another one, or was replaced, since it was listed.
func TestSnapshotThatChangedIsNotDeletedUnseen(t *testing.T) {
	b, _, at := newTwins(t, memory.Fork)
	below, above := mustSnapshot(t, list(t, b.destination, copyName), "snap12"), mustSnapshot(t, list(t, b.destination, copyName), "snap13")
	onDelete(b.destination, above.Lvol.UUID, func() { require.NoError(t, b.destination.DeleteMerging(below.Lvol.UUID)) })
	_, err := app.New(nil).DeleteSnapshot(context.Background(), at, "snap13")
	require.ErrorContains(t, err, "has 2 clusters of its own now, 1 when it was listed")
	_, found := list(t, b.destination, copyName).Snapshot("snap13")
	require.True(t, found)
}
