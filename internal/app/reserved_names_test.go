package app_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
)

// A clone that Longhorn was making passed for a replica: a rebuild onto it and a
// delete of it were carried out.
func TestReservedLvolIsNeverAReplica(t *testing.T) {
	for _, name := range []string{"vol-1-r-4e5f6a7b-cloning", "vol-1-r-4e5f6a7b-cloning-tmp", "vol-1-clone-ep-1", "vol-1-tmp-head", "shard-vol-1-0", "vol-1-r-4e5f6a7b-expired-7"} {
		t.Run(name, func(t *testing.T) {
			b, request := newPlainFixture(t)
			newBuilder(t, b.destination, name, "").writable(name, "", 8)
			before, source := contents(t, b.destination), contents(t, b.source)
			ctx, engine, at := context.Background(), app.New(nil), app.Site{Host: b.destination, Replica: name}
			onto, from := request, request
			onto.Destination, from.Source = at, at
			for what, do := range map[string]func() error{
				"rebuild onto it":  func() error { _, err := engine.Rebuild(ctx, onto); return err },
				"rebuild from it":  func() error { _, err := engine.Rebuild(ctx, from); return err },
				"create":           func() error { _, err := engine.CreateReplica(ctx, at, cluster, domain.NoBase()); return err },
				"delete":           func() error { _, err := engine.DeleteReplica(ctx, at, nil); return err },
				"create snapshot":  func() error { _, err := engine.CreateSnapshot(ctx, at, "s"); return err },
				"delete snapshot":  func() error { _, err := engine.DeleteSnapshot(ctx, at, "s"); return err },
				"revert":           func() error { _, err := engine.Revert(ctx, app.RevertRequest{Replica: at, Snapshot: "s"}); return err },
				"repair":           func() error { _, err := engine.Repair(ctx, app.RepairRequest{Replica: at}); return err },
				"look":             func() error { _, err := engine.Replica(ctx, at); return err },
				"plan its removal": func() error { _, err := engine.PlanReplicaRemoval(ctx, at); return err },
			} {
				err := do()
				require.ErrorIs(t, err, app.ErrRefused, what)
				require.ErrorContains(t, err, "Longhorn reserves", what)
			}
			survey, err := engine.Survey(ctx, b.destination)
			require.NoError(t, err)
			require.Empty(t, survey.Replicas)
			require.Len(t, survey.Others, 1)
			removed, err := engine.RemoveGarbage(ctx, b.destination)
			require.NoError(t, err)
			require.Empty(t, removed.Lvols)
			require.Equal(t, before, contents(t, b.destination))
			require.Equal(t, source, contents(t, b.source))
		})
	}
}
