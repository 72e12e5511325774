package app_test

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// TestRunThatHidALeftoverIsNotRefused: it closes the way to a live head that a dead run has left, and
// finds only then that a member was not named. Refused means that nothing was changed.
func TestRunThatHidALeftoverIsNotRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		dead := false
		b.inject(func(_ int, c liveCall) memory.Fault {
			dead = dead || c.party == partyMember && c.Method == "snapshot"
			if dead {
				return memory.Fault{Before: ports.ErrCorrupt}
			}
			return memory.Fault{}
		})
		_, err := app.New(nil).RebuildOnline(t.Context(), b.request())
		require.Error(t, err)
		b.noFaults()
		shown := func() bool {
			in := list(t, b.to, copyName).InFlight
			require.Len(t, in, 1)
			return in[0].UsedBy.Kind == domain.UserExport
		}
		require.True(t, shown())
		r := b.request()
		r.MoreSources = nil
		report, err := app.New(nil).RebuildOnline(t.Context(), r)
		require.Error(t, err)
		require.False(t, shown())
		require.Equal(t, app.OutcomeFailed, report.Outcome)
		require.NotErrorIs(t, err, app.ErrRefused)
	})
}
