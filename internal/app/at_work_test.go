package app_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
)

// onReplica are the verbs that change one replica.
func onReplica(ctx context.Context, engine *app.Engine, at app.Site) map[string]func() error {
	return map[string]func() error{
		"create a snapshot": func() error { _, err := engine.CreateSnapshot(ctx, at, "more"); return err },
		"delete a snapshot": func() error { _, err := engine.DeleteSnapshot(ctx, at, "snap3"); return err },
		"revert": func() error {
			_, err := engine.Revert(ctx, app.RevertRequest{Replica: at, Snapshot: "snap1"})
			return err
		},
		"repair":             func() error { _, err := engine.Repair(ctx, app.RepairRequest{Replica: at}); return err },
		"create the replica": func() error { _, err := engine.CreateReplica(ctx, at, 8*cluster, domain.NoBase()); return err },
		"delete the replica": func() error { _, err := engine.DeleteReplica(ctx, at, nil); return err },
		"hold":               func() error { return hold(ctx, engine, at) },
	}
}

func hold(ctx context.Context, engine *app.Engine, replicas ...app.Site) error {
	release, err := engine.Hold(ctx, "the expansion of volume vol-1", replicas...)
	if err == nil {
		release()
	}
	return err
}

// onVolume are the verbs that change the whole volume.
func (b *liveFixture) onVolume(ctx context.Context, engine *app.Engine) map[string]func() error {
	return map[string]func() error{
		"rebuild again": func() error {
			r := b.request()
			r.Source, r.MoreSources = r.MoreSources[0], []app.Site{r.Source}
			_, err := engine.RebuildOnline(ctx, r)
			return err
		},
		"rebuild offline": func() error { _, err := engine.Rebuild(ctx, b.request().Request); return err },
		"create the volume": func() error {
			_, err := engine.CreateVolume(ctx, b.volumeWithDestination(), 8*cluster)
			return err
		},
		"delete the volume": func() error {
			_, err := engine.DeleteVolume(ctx, b.volumeWithDestination(), true)
			return err
		},
		"purge the volume": func() error {
			_, err := engine.PurgeVolume(ctx, b.volumeWithDestination())
			return err
		},
		"hold all": func() error { return hold(ctx, engine, b.volumeWithDestination().Members...) },
	}
}

// What changes a replica is refused while a rebuild reads or writes it, by the same process or
// by another one, and the refusal says who is at work.
func TestChangesAreRefusedDuringOnlineRebuild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		engine := app.New(nil)
		source := app.Site{Host: b.members[1], Replica: b.names[1], AllowInUse: true}
		destination := app.Site{Host: b.to, Replica: copyName, AllowInUse: true}
		asked := 0
		b.duringFirstCopy(func() {
			ctx := context.WithoutCancel(t.Context())
			for process, e := range map[string]*app.Engine{"this process": engine, "another process": app.New(nil)} {
				for where, verbs := range map[string]map[string]func() error{
					"source": onReplica(ctx, e, source), "destination": onReplica(ctx, e, destination), "volume": b.onVolume(ctx, e),
				} {
					for verb, do := range verbs {
						what := fmt.Sprintf("%s: %s, by %s", where, verb, process)
						err := do()
						require.ErrorIs(t, err, app.ErrRefused, what)
						require.ErrorIs(t, err, app.ErrAtWork, what)
						require.ErrorContains(t, err, "a rebuild is at work: replica ", what)
						require.ErrorContains(t, err, "is in use by the rebuild of replica "+copyName+" on lvstore disk-b", what)
						asked++
					}
				}
			}
		})
		_, err := engine.RebuildOnline(t.Context(), b.request())
		require.NoError(t, err)
		require.Equal(t, 2*(7+7+6), asked)
		b.requireWhole()
	})
}

// longhorn/longhorn#5169: an expansion while a replica was rebuilt faulted the volume's
// members. It is refused with who is at work, and nothing else happens.
func TestField_5169_ExpansionIsRefusedDuringRebuild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		b.start(0)
		engine := app.New(nil)
		var refusal error
		b.duringFirstCopy(func() { refusal = hold(t.Context(), engine, b.volumeWithDestination().Members...) })
		_, err := engine.RebuildOnline(t.Context(), b.request())
		b.stop()
		require.NoError(t, err)
		require.ErrorIs(t, refusal, app.ErrAtWork)
		b.requireWhole()
	})
}

// longhorn/longhorn#8513: after an expansion during a rebuild, no later one succeeded. A
// rebuild that has ended in any way blocks none, and no rebuild begins during one.
func TestField_8513_EndedRebuildBlocksNoExpansion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		engine, all := app.New(nil), b.volumeWithDestination().Members
		ctx, cancel := context.WithCancelCause(t.Context())
		b.duringFirstCopy(func() {
			require.ErrorIs(t, hold(t.Context(), engine, all...), app.ErrAtWork)
			cancel(errors.New("cancelled by its owner"))
		})
		_, err := engine.RebuildOnline(ctx, b.request())
		require.ErrorContains(t, err, "cancelled by its owner")

		release, err := engine.Hold(t.Context(), "the expansion of volume vol-1", all...)
		require.NoError(t, err)
		for _, e := range []*app.Engine{engine, app.New(nil)} {
			_, err = e.RebuildOnline(t.Context(), b.request())
			require.ErrorIs(t, err, app.ErrRefused)
			require.NotErrorIs(t, err, app.ErrAtWork)
			require.ErrorContains(t, err, "is in use by the expansion of volume vol-1")
		}
		release()
		_, err = engine.RebuildOnline(t.Context(), b.request())
		require.NoError(t, err)
		b.requireWhole()
	})
}
