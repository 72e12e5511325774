package app_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/ports"
)

const notAmong = "which is not among the sources that can be used"

// TestMemberThatRefusesTheCut: its error is the rebuild's, at once. The mirror keeps it.
func TestMemberThatRefusesTheCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		b.inject(func(_ int, c liveCall) memory.Fault {
			if c.Method == "snapshot" && c.party > partyMember {
				return memory.Fault{Before: ports.ErrNoSpace}
			}
			return memory.Fault{}
		})
		began := time.Now()
		report, err := app.New(nil).RebuildOnline(t.Context(), b.request())
		require.ErrorIs(t, err, ports.ErrNoSpace)
		require.ErrorContains(t, err, "the volume was not cut: snapshot lvol "+b.names[1]+"-snap-rebuild-cut-")
		require.ErrorContains(t, err, " on lvstore disk-"+b.names[1][len(b.names[1])-2:]+": ")
		require.Equal(t, app.OutcomeFailed, report.Outcome)
		require.Less(t, time.Since(began), time.Second)
	})
}

// TestUnlistedMemberIsTold: the refusal has the reason of a source that was named and does not answer.
func TestUnlistedMemberIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		b.inject(func(_ int, c liveCall) memory.Fault {
			if c.Method == "list" && c.party > partyMember {
				return memory.Fault{Before: ports.ErrUnavailable}
			}
			return memory.Fault{}
		})
		_, err := app.New(nil).PlanOnline(t.Context(), b.request())
		require.ErrorIs(t, err, app.ErrRefused)
		require.ErrorContains(t, err, notAmong+": list the host of replica "+b.names[1]+": ")
		require.ErrorContains(t, err, "; if the member is another replica, name that, too")
		_, err = app.New(nil).RebuildOnline(t.Context(), b.request())
		require.ErrorContains(t, err, notAmong+": list the host of replica "+b.names[1]+": ")
	})
}

// TestSecondRebuildOfAVolume is refused while the first one copies: by the name of the first one,
// and by its replica if that is given as a source.
func TestSecondRebuildOfAVolume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		second := b.request()
		second.Destination.Replica = "vol-1-r-5e5e5e5e"
		given := second
		given.MoreSources = append(given.MoreSources, b.request().Destination)
		engine := app.New(nil)
		var other sync.WaitGroup
		var once sync.Once
		var errs [4]error
		b.inject(func(_ int, c liveCall) memory.Fault {
			if c.Method == "copy" {
				once.Do(func() {
					other.Go(func() {
						_, errs[0] = engine.RebuildOnline(t.Context(), second)
						_, errs[1] = engine.RebuildOnline(t.Context(), given)
						_, errs[2] = engine.PlanOnline(t.Context(), second)
						_, errs[3] = engine.PlanOnline(t.Context(), given)
					})
				})
			}
			return memory.Fault{Delay: 50 * time.Millisecond}
		})
		_, first := engine.RebuildOnline(t.Context(), b.request())
		require.NoError(t, first)
		other.Wait()
		for i, says := range []string{
			notAmong + ": a rebuild is at work, the rebuild of replica " + copyName + " on lvstore disk-b (process ",
			notAmong + ": a rebuild is at work: replica " + copyName + " on lvstore disk-b is in use by the rebuild of replica " + copyName,
			notAmong + ", since it is half-built: a rebuild is at work, or was interrupted",
			notAmong + ", since it is half-built: a rebuild is at work, or was interrupted",
		} {
			require.ErrorIs(t, errs[i], app.ErrRefused)
			require.ErrorIs(t, errs[i], app.ErrAtWork)
			require.ErrorContains(t, errs[i], says)
		}
	})
}
