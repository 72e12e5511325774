package app_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
)

// longhorn/longhorn#5709: a rebuild was sent to the wrong replica, a whole one of
// another volume, which was lost.
func TestField_5709_OtherVolumesAreNotOverwritten(t *testing.T) {
	const wrong = "vol-2-r-0a1b2c3d"
	for _, flavour := range []memory.Flavour{memory.Fork, memory.Upstream} {
		g := newMultiSource(t, flavour, []memory.Flavour{flavour}, fieldTreeWithData)
		newBuilder(t, g.destination, wrong, "").makeImage(4).build("image\n daily 0=1 1=1\n  head 2=7")
		g.request.Destination.Replica = wrong
		source, destination := contents(t, g.sources[0]), contents(t, g.destination)

		report, err := app.New(nil).Rebuild(t.Context(), g.request)
		require.ErrorIs(t, err, app.ErrRefused)
		require.ErrorContains(t, err, "head (1 cluster of its own), snapshot daily (2 clusters of its own)")
		var loss *domain.LossRefusal
		require.ErrorAs(t, err, &loss)
		require.Equal(t, wrong, loss.Replica)
		require.Equal(t, app.OutcomeRefused, report.Outcome)
		require.Empty(t, report.Deleted)
		require.Equal(t, source, contents(t, g.sources[0]), "the source's head is not frozen")
		require.Equal(t, destination, contents(t, g.destination))

		g.request.Options.Overwrite = wrong
		report, err = app.New(nil).Rebuild(t.Context(), g.request)
		require.NoError(t, err)
		require.Equal(t, []domain.Deletion{{Name: wrong, Clusters: 1}, {Name: wrong + "-snap-daily", Clusters: 2}}, report.Deleted)
		g.request.Options.Overwrite = ""
		if flavour == memory.Fork { // what is proven is not lost
			_, err = app.New(nil).Rebuild(t.Context(), g.request)
			require.NoError(t, err)
		}
	}
}

func TestShrinkingHeadNeedsConfirmation(t *testing.T) {
	g := newMultiSource(t, memory.Fork, []memory.Flavour{memory.Fork}, fieldTreeWithData)
	newBuilder(t, g.destination, copyName, "").makeImage(4).build("clusters 9\nimage\n head 8=7")
	destination := contents(t, g.destination)
	_, err := app.New(nil).Rebuild(t.Context(), g.request)
	require.ErrorIs(t, err, app.ErrRefused)
	require.ErrorContains(t, err, "the head of replica vol-1-r-4e5f6a7b on lvstore disk-9 would shrink from 36864 to the 32768 bytes of source vol-1-r-00000011 on lvstore disk-1, and its data would be deleted: head (1 cluster of its own)")
	require.Equal(t, destination, contents(t, g.destination))
	g.request.Options.Overwrite = copyName
	report, err := app.New(nil).Rebuild(t.Context(), g.request)
	require.NoError(t, err)
	require.Contains(t, report.Deleted, domain.Deletion{Name: copyName, Clusters: 1})
	g.requireEqual(0)
}
