package app_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
)

// TestLackOfSpaceUnderALiveVolumeIsTold: after the cut, clients that overwrite the volume fill the members' stores, too.
func TestLackOfSpaceUnderALiveVolumeIsTold(t *testing.T) {
	for clusters, want := range map[uint64][]string{
		14: {},
		13: {
			"the rebuild and clients that write meanwhile can take 8 clusters of lvstore disk-a1, but 7 are free:",
			"the rebuild and clients that write meanwhile can take 8 clusters of lvstore disk-a2, but 7 are free:",
			"the rebuild and clients that write meanwhile can take 14 clusters of lvstore disk-b, but 13 are free:",
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newLiveFixture(t, 2, liveTree, memory.Config{TotalClusters: clusters})
			plan, err := app.New(nil).PlanOnline(t.Context(), b.request())
			require.NoError(t, err)
			report, err := app.New(nil).RebuildOnline(t.Context(), b.request())
			require.NoError(t, err)
			require.Equal(t, plan.Warnings, report.Warnings, "also after the plan that follows the cut")
			require.Len(t, report.Warnings, len(want))
			for i, text := range want {
				require.True(t, strings.HasPrefix(report.Warnings[i], text), "%q", report.Warnings)
			}
		})
	}
}
