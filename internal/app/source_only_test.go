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

// readOnlySource shows no more of a host than a ports.Source has to have.
type readOnlySource struct{ host *memory.Host }

func (s readOnlySource) List(ctx context.Context) (domain.Listing, error) { return s.host.List(ctx) }

func (s readOnlySource) Look(ctx context.Context, uuid string) (domain.Lvol, error) {
	return s.host.Look(ctx, uuid)
}

func (s readOnlySource) Peer(ctx context.Context) (ports.Peer, error) { return s.host.Peer(ctx) }

func (s readOnlySource) Copy(ctx context.Context, run ports.Run, snapshot string, to ports.Address, progress ports.Progress) error {
	return s.host.Copy(ctx, run, snapshot, to, progress)
}

func (s readOnlySource) Release(ctx context.Context, run ports.Run) error {
	return s.host.Release(ctx, run)
}

// freezingSource takes snapshots, too.
type freezingSource struct{ readOnlySource }

func (s freezingSource) Snapshot(ctx context.Context, uuid, name string, attributes domain.Attributes) (string, error) {
	return s.host.Snapshot(ctx, uuid, name, attributes)
}

func newSourceOnlyBench(t *testing.T) (*fixture, *builder, app.Request) {
	b := newFixture(t, memory.Config{}, memory.Config{})
	p := newBuilder(t, b.source, sourceName, makeImage(t, b.source, 4))
	p.build(fieldTree(1))
	return b, p, app.Request{
		Source:      app.Site{Host: ports.SourceOnly(readOnlySource{b.source}), Replica: sourceName},
		Destination: app.Site{Host: b.destination, Replica: copyName},
	}
}

func TestSmallSourceIsEnough(t *testing.T) {
	b, _, request := newSourceOnlyBench(t)
	_, err := app.New(nil).Rebuild(t.Context(), request)
	require.NoError(t, err)
	requireEqualViews(t, b, sourceName, copyName, true)
}

func TestSmallSourceServesBesideAnother(t *testing.T) {
	b, _, request := newSourceOnlyBench(t)
	request.MoreSources = []app.Site{{Host: b.source, Replica: sourceName}}
	request.Source.Replica = "vol-1-r-00000077" // it is not there, so the other one is the primary
	report, err := app.New(nil).Rebuild(t.Context(), request)
	require.NoError(t, err)
	require.Equal(t, app.SourcePassedOver, report.Sources[0].State)
	requireEqualViews(t, b, sourceName, copyName, true)
}

func TestHeadIsFrozenOnlyIfSourceCan(t *testing.T) {
	b, p, request := newSourceOnlyBench(t)
	p.write(list(t, b.source, sourceName).Head.UUID, 3, 77)
	before := contents(t, b.destination)
	engine := app.New(nil)
	report, err := engine.Rebuild(t.Context(), request)
	require.ErrorIs(t, err, app.ErrRefused)
	require.ErrorContains(t, err, "the head of replica "+sourceName+" on lvstore disk-1 has 1 clusters of its own")
	require.ErrorContains(t, err, "take a snapshot of the replica there first")
	require.Equal(t, app.OutcomeRefused, report.Outcome)
	require.Equal(t, before, contents(t, b.destination))

	request.Source.Host = ports.SourceOnly(freezingSource{readOnlySource{b.source}})
	_, err = engine.Rebuild(t.Context(), request)
	require.NoError(t, err)
	requireEqualViews(t, b, sourceName, copyName, true)
}

// What would change a host that can only be a source is refused, by every use case.
func TestSourceOnlyHostIsNeverChanged(t *testing.T) {
	b, _, request := newSourceOnlyBench(t)
	before := contents(t, b.source)
	engine, only := app.New(nil), app.Site{Host: ports.SourceOnly(freezingSource{readOnlySource{b.source}}), Replica: sourceName}
	for name, change := range replicaChanges(engine, only, app.Site{Host: b.destination, Replica: copyName}) {
		require.ErrorIs(t, change(), app.ErrRefused, name)
	}
	request.Source, request.Destination = app.Site{Host: b.destination, Replica: copyName}, only
	_, err := engine.Rebuild(t.Context(), request)
	require.ErrorIs(t, err, app.ErrRefused)
	require.ErrorContains(t, err, "can only be a source")
	_, err = engine.CreateReplica(t.Context(), app.Site{Host: only.Host, Replica: "vol-2-r-0a1b2c3d"}, 4*cluster, domain.NoBase())
	require.ErrorIs(t, err, app.ErrRefused)
	_, err = engine.DeleteImage(t.Context(), only.Host, imageName)
	require.Error(t, err)
	require.Equal(t, before, contents(t, b.source))
}

// A source that implements more is asked for it, through all wrappers.
func TestSourceOnlyHasWhatItsSourceHas(t *testing.T) {
	b, _, _ := newSourceOnlyBench(t)
	_, ok := ports.As[ports.Prover](ports.SourceOnly(b.source))
	require.True(t, ok)
	_, ok = ports.As[ports.Prover](ports.SourceOnly(readOnlySource{b.source}))
	require.False(t, ok)
	_, ok = ports.As[ports.Snapshotter](ports.SourceOnly(readOnlySource{b.source}))
	require.False(t, ok)
}

type sliceSource struct {
	readOnlySource
	tags []string
}

func TestUncomparableSourceOfSourceOnly(t *testing.T) {
	uncomparable := func(b *fixture) ports.Host {
		return ports.SourceOnly(sliceSource{readOnlySource{b.source}, []string{"a"}})
	}
	t.Run("submit", func(t *testing.T) {
		b, _, request := newSourceOnlyBench(t)
		request.Source.Host = uncomparable(b)
		var err error
		require.NotPanics(t, func() { _, err = app.NewQueue(app.New(nil), app.Limits{}).Submit(t.Context(), request) })
		require.ErrorIs(t, err, app.ErrRefused)
	})
	t.Run("end", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b, _, request := newSourceOnlyBench(t)
			request.Source.Host = uncomparable(b)
			engine := app.New(nil)
			slowCopies(b.source)
			rebuild := begin(engine, request, time.Minute)
			found, panics := 0, false
			func() {
				defer func() { panics = recover() != nil }()
				found = engine.EndRebuilds(app.Using{Host: request.Source.Host}, errDiskGone)
			}()
			require.NoError(t, (<-rebuild).err)
			require.False(t, panics)
			require.Zero(t, found)
		})
	})
	t.Run("forget", func(t *testing.T) {
		b, _, _ := newSourceOnlyBench(t)
		q := app.NewQueue(app.New(nil), app.Limits{})
		require.NotPanics(t, func() { require.Zero(t, q.ForgetHost(uncomparable(b), nil)) })
	})
}

func TestSourceOnlyRefusesTheDeletionOfAnImage(t *testing.T) {
	b := newFixture(t, memory.Config{}, memory.Config{})
	makeImage(t, b.source, 4)
	released := on("release")
	inject(b.source, released)
	_, err := app.New(nil).DeleteImage(t.Context(), ports.SourceOnly(readOnlySource{b.source}), imageName)
	require.ErrorIs(t, err, app.ErrRefused)
	require.Zero(t, released.calls())
}

func TestSmallSourceServesBesideAPrimaryThatIsFrozen(t *testing.T) {
	g := newMultiSource(t, memory.Fork, []memory.Flavour{memory.Fork, memory.Fork}, "image\n snap11 0=10\n  snap12 0=11\n   head 1=7")
	g.request.MoreSources[0].Host = ports.SourceOnly(readOnlySource{g.sources[1]})
	report, err := app.New(nil).Rebuild(t.Context(), g.request)
	require.NoError(t, err)
	require.Equal(t, app.SourceSecondary, report.Sources[1].State, report.Sources[1].Reason)
}
