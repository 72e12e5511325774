package app_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

func TestHealthySourceIsPreferredToHurtOne(t *testing.T) {
	for _, hurt := range []int{0, 1} {
		g := newMultiSource(t, memory.Fork, forks, fieldTreeWithData)
		makeImage(t, g.destination, 4)
		require.NoError(t, g.sources[hurt].Graft(t.Context(), g.builders[hurt].uuids["snap11"], ""))
		g.request.Options.AcceptHurtSource = true // even then
		served := copies(g.sources[hurt], 0)
		before := contents(t, g.sources[hurt])
		report, err := app.New(nil).Rebuild(t.Context(), g.request)
		require.NoError(t, err)
		require.Empty(t, served.bySnapshot())
		require.Equal(t, before, contents(t, g.sources[hurt]), "not even its head is frozen")
		require.Equal(t, app.SourcePassedOver, report.Sources[hurt].State)
		require.Contains(t, strings.Join(report.Warnings, "\n"), "lost backing image base")
		g.requireEqual(1 - hurt)
	}
	// Rule 15 decides on what is hurt alone.
	g := newMultiSource(t, memory.Fork, forks, fieldTreeWithData)
	for i, p := range g.builders {
		require.NoError(t, g.sources[i].Graft(t.Context(), p.uuids["snap11"], ""))
	}
	makeImage(t, g.destination, 4)
	g.request.Base = domain.ImageBase(imageName)
	_, err := app.New(nil).Rebuild(t.Context(), g.request)
	require.ErrorIs(t, err, app.ErrRefused)
	require.ErrorContains(t, err, "accept a hurt source")
	g.request.Options.AcceptHurtSource = true
	report, err := app.New(nil).Rebuild(t.Context(), g.request)
	require.NoError(t, err)
	require.Equal(t, []app.SourceState{app.SourcePrimary, app.SourcePassedOver}, []app.SourceState{report.Sources[0].State, report.Sources[1].State})
}

func TestIncompleteSourceIsPassedOver(t *testing.T) {
	for what, spoil := range map[string]struct {
		do  func(g *multiSource)
		say string
	}{
		"it has no head":       {func(g *multiSource) { g.deleteHead(0) }, "has no head"},
		"it is not there":      {func(g *multiSource) { g.request.Source.Replica = "vol-1-r-00000077" }, "replica vol-1-r-00000077 not found"},
		"it hangs in pieces":   {func(g *multiSource) { g.graft(0, "snap31", g.builders[0].image) }, "two ancestors"},
		"its host is silent":   {func(g *multiSource) { die(g.sources[0], 1, memory.Fault{Before: errNoAnswer}) }, "list the host of replica vol-1-r-00000011"},
		"its host is no store": {func(g *multiSource) { die(g.sources[0], 1, memory.Fault{Before: ports.ErrInvalid}) }, "list the host of replica vol-1-r-00000011"},
	} {
		t.Run(what, func(t *testing.T) {
			g := newMultiSource(t, memory.Fork, forks, fieldTreeWithData)
			makeImage(t, g.destination, 4)
			spoil.do(g)
			plan, err := app.New(nil).Plan(t.Context(), g.request)
			require.NoError(t, err)
			require.Contains(t, strings.Join(plan.Warnings, "\n"), spoil.say)
			report, err := app.New(nil).Rebuild(t.Context(), g.request)
			require.NoError(t, err)
			require.Contains(t, strings.Join(report.Warnings, "\n"), spoil.say)
			require.Contains(t, report.Sources[0].Reason, spoil.say)
			require.Equal(t, app.SourcePrimary, report.Sources[1].State)
			g.requireEqual(1)
		})
	}
}

func TestErrorListsEveryUnusableSource(t *testing.T) {
	g := newMultiSource(t, memory.Fork, forks, fieldTreeWithData)
	g.deleteHead(0)
	g.request.MoreSources[0].Replica = "vol-1-r-00000077"
	_, err := app.New(nil).Rebuild(t.Context(), g.request)
	require.ErrorIs(t, err, app.ErrRefused)
	require.ErrorContains(t, err, "none of the 2 sources can be used: replica vol-1-r-00000011 on lvstore disk-1 has no head")
	require.ErrorContains(t, err, "replica vol-1-r-00000077 not found on lvstore disk-2")
	require.NotContains(t, err.Error(), "\n")

	synctest.Test(t, func(t *testing.T) {
		g := newMultiSource(t, memory.Fork, forks, fieldTreeWithData)
		g.deleteHead(0)
		die(g.sources[1], 1, memory.Fault{Before: ports.ErrUnavailable})
		report, err := app.New(nil).Rebuild(t.Context(), g.request)
		require.ErrorIs(t, err, ports.ErrUnavailable)
		require.NotErrorIs(t, err, app.ErrRefused)
		require.Equal(t, app.OutcomeFailed, report.Outcome)
		require.ErrorContains(t, err, "has no head")
		require.ErrorContains(t, err, "list the host of replica vol-1-r-00000012")
		require.NotContains(t, err.Error(), "\n")
	})
}

func TestDuplicateSourcesAreRefused(t *testing.T) {
	g := newMultiSource(t, memory.Fork, forks, fieldTreeWithData)
	g.request.MoreSources = append(g.request.MoreSources, g.request.Source)
	_, err := app.New(nil).Rebuild(t.Context(), g.request)
	require.ErrorIs(t, err, app.ErrRefused)
	require.ErrorContains(t, err, "given as a source twice")

	g = newMultiSource(t, memory.Fork, forks, fieldTreeWithData)
	g.request.Destination = g.request.MoreSources[0]
	_, err = app.New(nil).Rebuild(t.Context(), g.request)
	require.ErrorIs(t, err, app.ErrRefused)
	require.ErrorContains(t, err, "both source and destination")

	g.request.MoreSources[0].Host = nil
	_, err = app.New(nil).Rebuild(t.Context(), g.request)
	require.ErrorIs(t, err, app.ErrRefused)
}

// One lost answer does not cost a source.
func TestSilentSourceIsRetried(t *testing.T) {
	for at := range 2 {
		synctest.Test(t, func(t *testing.T) {
			g := newMultiSource(t, memory.Fork, forks, wide(4, 4))
			makeImage(t, g.destination, 4)
			failFirst(g.sources[at], "list", 1, memory.Fault{After: ports.ErrUnavailable})
			report, err := app.New(nil).Rebuild(t.Context(), g.request)
			require.NoError(t, err)
			require.Empty(t, report.Warnings)
			require.Equal(t, app.SourcePrimary, report.Sources[0].State)
			require.Equal(t, app.SourceSecondary, report.Sources[1].State)
		})
	}
}

// Which image the volume has, any of its replicas may know. Two that disagree are
// refused.
func TestAnySourceMayNameTheImage(t *testing.T) {
	g := newMultiSource(t, memory.Fork, forks, withoutImage(fieldTree(10)))
	_, err := app.New(nil).Rebuild(t.Context(), g.request)
	require.ErrorIs(t, err, app.ErrRefused)
	require.ErrorContains(t, err, "is not known")
	require.NoError(t, g.sources[1].Record(t.Context(), list(t, g.sources[1], "vol-1-r-00000012").Head.UUID, domain.RecordNoBase))
	_, err = app.New(nil).Rebuild(t.Context(), g.request)
	require.NoError(t, err)
	requireEqualViews(t, &fixture{t: t, source: g.sources[0], destination: g.destination}, nthSource(0), copyName, false)

	g = newMultiSource(t, memory.Fork, forks, fieldTreeWithData)
	require.NoError(t, g.sources[1].Record(t.Context(), list(t, g.sources[1], "vol-1-r-00000012").Head.UUID, "another"))
	_, err = app.New(nil).Rebuild(t.Context(), g.request)
	require.ErrorIs(t, err, app.ErrRefused)
	require.ErrorContains(t, err, "backing image another")
}
