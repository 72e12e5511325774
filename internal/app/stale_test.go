package app_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/ports"
)

// staleSources are replicas that lack what another one of the volume has.
var staleSources = map[string]struct {
	tree string
	says string
}{
	"it is empty": {
		"image\n head",
		"vol-1-r-00000012 on lvstore disk-2 has 8 clusters of its own, and vol-1-r-00000011 on lvstore disk-1 has none; only vol-1-r-00000012 on lvstore disk-2 has snapshots snap1, snap2 (5 clusters of its own)",
	},
	"it lacks the newest snapshot": {
		"image\n snap1 0=1 1=1\n  head 0=9",
		"only vol-1-r-00000012 on lvstore disk-2 has snapshot snap2 (3 clusters of its own)",
	},
	"it missed an expansion": {
		twoSnapshots(6),
		"vol-1-r-00000012 on lvstore disk-2 has 32768 bytes, and vol-1-r-00000011 on lvstore disk-1 24576",
	},
}

// twoSnapshots is a tree of two, and a head of that many clusters with data.
func twoSnapshots(clusters int) string {
	return fmt.Sprintf(`
clusters 6
image
  snap1 0=1 1=1
    snap2 1=2 2=2 3=2
clusters %d
      head 3=3 4=3 5=3
`, clusters)
}

// newStaleSources makes two sources, the first of which lacks something.
func newStaleSources(t tester, tree string, flavour memory.Flavour) *multiSource {
	g := newMultiSource(t, flavour, []memory.Flavour{flavour, flavour}, tree, twoSnapshots(8))
	makeImage(t, g.destination, 4)
	return g
}

// longhorn/longhorn#7425, #8659: an empty replica that had failed became the
// volume's truth. LINBIT/linstor-server#28, #216: an old one did.
func TestField_7425_8659_StaleSourceIsRefused(t *testing.T) {
	for what, c := range staleSources {
		for _, flavour := range []memory.Flavour{memory.Fork, memory.Upstream} {
			t.Run(what, func(t *testing.T) {
				g := newStaleSources(t, c.tree, flavour)
				before, left := contents(t, g.sources[0]), contents(t, g.destination)
				plan, err := app.New(nil).Plan(t.Context(), g.request)
				require.ErrorIs(t, err, app.ErrRefused)
				require.ErrorContains(t, err, c.says)
				require.Contains(t, strings.Join(plan.Warnings, "; "), c.says)

				report, err := app.New(nil).Rebuild(t.Context(), g.request)
				require.ErrorIs(t, err, app.ErrRefused)
				require.ErrorContains(t, err, c.says)
				require.Equal(t, app.OutcomeRefused, report.Outcome)
				require.Contains(t, strings.Join(report.Warnings, "; "), c.says)
				require.Equal(t, before, contents(t, g.sources[0]), "the source's head is not frozen")
				require.Equal(t, left, contents(t, g.destination))

				right := g.request
				right.RightSource = g.builders[1].replica
				report, err = app.New(nil).Rebuild(t.Context(), right)
				require.NoError(t, err)
				require.Equal(t, []app.SourceState{app.SourceSecondary, app.SourcePrimary}, []app.SourceState{report.Sources[0].State, report.Sources[1].State})
				g.requireEqual(1)

				right.RightSource = g.builders[0].replica // and so it goes, if that is what is asked for
				right.Destination.Replica = "vol-1-r-00000014"
				report, err = app.New(nil).Rebuild(t.Context(), right)
				require.NoError(t, err)
				require.Contains(t, strings.Join(report.Warnings, "; "), c.says)
				requireEqualViews(t, &fixture{t: t, source: g.sources[0], destination: g.destination}, g.builders[0].replica, "vol-1-r-00000014", true)
			})
		}
	}
}

func TestOrderOfEqualSourcesDoesNotMatter(t *testing.T) {
	g := newStaleSources(t, staleSources["it lacks the newest snapshot"].tree, memory.Fork)
	g.request.Source, g.request.MoreSources[0] = g.request.MoreSources[0], g.request.Source
	_, err := app.New(nil).Rebuild(t.Context(), g.request)
	require.NoError(t, err, "the first one has all that the other one has")
	g.requireEqual(1)
}

// What only a source had that was lost in the middle is not forgotten.
func TestStaleSourceDoesNotTakeOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newStaleSources(t, staleSources["it lacks the newest snapshot"].tree, memory.Fork)
		g.request.Source, g.request.MoreSources[0] = g.request.MoreSources[0], g.request.Source
		inject(g.sources[1], on("copy").fails(ports.ErrUnavailable).does(func() { die(g.sources[1], 1, memory.Fault{Before: errNoAnswer}) }),
			on("").takes(time.Millisecond))
		report, err := app.New(nil).Rebuild(t.Context(), g.request)
		require.ErrorContains(t, err, "only vol-1-r-00000012 on lvstore disk-2 has snapshot snap2")
		require.Equal(t, app.OutcomeFailed, report.Outcome)
		require.Nil(t, list(t, g.destination, copyName).Head)

		g.sources[1].Inject(nil)
		_, err = app.New(nil).Rebuild(t.Context(), g.request)
		require.NoError(t, err)
		g.requireEqual(1)
	})
}

func TestRightSourceIsUsedOrNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newMultiSource(t, memory.Fork, forks, fieldTreeWithData)
		makeImage(t, g.destination, 4)
		for name, says := range map[string]string{
			"vol-1-r-00000077": "is not among the sources: vol-1-r-00000011, vol-1-r-00000012",
			"vol-1-r-00000012": "source vol-1-r-00000012, given as the right one, cannot be used: replica vol-1-r-00000012 on lvstore disk-2 has no head",
		} {
			if name == "vol-1-r-00000012" {
				g.deleteHead(1)
			}
			g.request.RightSource = name
			_, err := app.New(nil).Rebuild(t.Context(), g.request)
			require.ErrorIs(t, err, app.ErrRefused)
			require.ErrorContains(t, err, says)
		}
		die(g.sources[1], 1, memory.Fault{Before: errNoAnswer})
		g.request.RightSource = "vol-1-r-00000012"
		_, err := app.New(nil).Rebuild(t.Context(), g.request)
		require.ErrorContains(t, err, "source vol-1-r-00000012, given as the right one, cannot be used: list the host of replica vol-1-r-00000012")
		require.NotErrorIs(t, err, app.ErrRefused, "another time it may answer")

		g = newMultiSource(t, memory.Fork, forks, fieldTreeWithData)
		g.request.MoreSources[0].Replica = g.request.Source.Replica
		g.request.RightSource = g.request.Source.Replica
		_, err = app.New(nil).Rebuild(context.Background(), g.request)
		require.ErrorContains(t, err, "2 sources are named vol-1-r-00000011")
	})
}

// longhorn/longhorn#6078, LINBIT/linstor-server#259: one replica has another
// size, and nothing says so.
func TestField_6078_PlanNamesReplicaOfOtherSize(t *testing.T) {
	g := newStaleSources(t, staleSources["it missed an expansion"].tree, memory.Fork)
	g.request.RightSource = g.builders[1].replica
	plan, err := app.New(nil).Plan(t.Context(), g.request)
	require.NoError(t, err)
	const says = "source vol-1-r-00000011 on lvstore disk-1 has another size: 24576 bytes instead of the 32768 of vol-1-r-00000012 on lvstore disk-2"
	require.Contains(t, plan.Warnings, says)
	report, err := app.New(nil).Rebuild(t.Context(), g.request)
	require.NoError(t, err)
	require.Contains(t, report.Warnings, says)
}

// Only the primary's head is frozen: that the others have no such snapshot is no
// damage, and an audit right after a rebuild says so.
func TestAuditAfterRebuildFindsNothing(t *testing.T) {
	for _, flavour := range []memory.Flavour{memory.Fork, memory.Upstream} {
		g := newMultiSource(t, flavour, []memory.Flavour{flavour, flavour}, fieldTreeWithData)
		makeImage(t, g.destination, 4)
		engine := app.New(nil)
		_, err := engine.Rebuild(t.Context(), g.request)
		require.NoError(t, err)
		sites := []app.Site{g.request.Source, g.request.MoreSources[0], g.request.Destination}
		report, err := engine.Audit(t.Context(), app.AuditRequest{Sites: sites, Base: g.request.Base})
		require.NoError(t, err)
		require.False(t, report.Wrong(), "%v", report.Volumes[0].Differences)
		require.Len(t, report.Volumes[0].Notices, 1)
		require.Contains(t, report.Volumes[0].Notices[0], "only vol-1-r-00000011 on disk-1, vol-1-r-4e5f6a7b on disk-9 has system snapshot rebuild-")

		head := list(t, g.sources[1], g.builders[1].replica).Head // and what is damage is found
		require.NoError(t, g.sources[1].Delete(t.Context(), head.UUID))
		g.builders[1].writable(g.builders[1].replica, head.Parent, 8)
		report, err = engine.Audit(t.Context(), app.AuditRequest{Sites: sites, Base: g.request.Base})
		require.NoError(t, err)
		require.True(t, report.Wrong())
	}
}

// A source of another volume serves nothing, and knows nothing of the image, also
// where the right one is named.
func TestSourceOfAnotherVolumeServesNothing(t *testing.T) {
	g := newMultiSource(t, memory.Fork, forks, fieldTreeWithData)
	const wrong = "vol-2-r-0a1b2c3d"
	newBuilder(t, g.sources[1], wrong, g.builders[1].image).build(fieldTreeWithData)
	g.graft(0, "snap11", "") // it does not tell the image
	makeImage(t, g.destination, 4)
	g.request.MoreSources[0].Replica = wrong
	_, err := app.New(nil).Rebuild(t.Context(), g.request)
	require.ErrorIs(t, err, app.ErrRefused)
	g.request.RightSource = g.request.Source.Replica
	_, err = app.New(nil).Rebuild(t.Context(), g.request)
	require.ErrorContains(t, err, "the volume's base is not known")
	g.graft(0, "snap11", g.builders[0].image)
	report, err := app.New(nil).Rebuild(t.Context(), g.request)
	require.NoError(t, err)
	require.Equal(t, app.SourcePassedOver, report.Sources[1].State)
	require.Contains(t, report.Sources[1].Reason, "replica vol-2-r-0a1b2c3d on lvstore disk-2 is named as a replica of another volume")
	g.requireEqual(0)
}
