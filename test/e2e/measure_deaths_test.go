package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/liveclient"
)

// death is that of the source that the copies come from: the times from it until clients go on,
// and until copies from the other member do.
type death struct{ clients, copies time.Duration }

// measureDeaths kills the target of a source in a copy, each time of another volume.
func measureDeaths(t *testing.T, name string, at *liveTargets) {
	var deaths []death
	crashed := 0
	for i := range upTo(*measureTimes, 6*time.Minute) {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			d, survived := measureDeath(t, at)
			if !survived {
				crashed++
			}
			deaths = append(deaths, d)
		})
	}
	clients, copies := make([]time.Duration, 0), make([]time.Duration, 0)
	for _, d := range deaths {
		clients, copies = append(clients, d.clients), append(copies, d.copies)
	}
	require.NotEmpty(t, deaths)
	tell(t, name, "deaths of a source\ttargets crashed\tclients go on s, median\tworst\tcopies go on s, median\tworst", func(row func(...any)) {
		row(fmt.Sprintf("%d of %d", len(deaths), *measureTimes), crashed,
			seconds(median(clients)), seconds(slices.Max(clients)), seconds(median(copies)), seconds(slices.Max(copies)))
	})
}

// measureDeath also checks that the rebuild ends whole. survived: no other target has ended.
func measureDeath(t *testing.T, at *liveTargets) (d death, survived bool) {
	dying := at.members[0]
	v := growLiveVolume(t, at, 2, true, func(p *place, replica string) { p.growSource(t, replica) })
	timed := v.timeClients()
	v.start(t, liveclient.Config{Longest: 4096, Pause: time.Millisecond, Reads: 50, Writes: 50})
	v.awaitWrites(t, 20)
	request := v.request()
	request.Bandwidth = []*rebuild.Bandwidth{rebuild.NewBandwidth(4 << 20)}
	var killed time.Time
	request.Observer = rebuild.ObserverFunc(func(e rebuild.Event) {
		switch {
		case e.Kind != rebuild.EventCopying:
		case killed.IsZero() && strings.HasPrefix(e.Source, liveMembers[0]):
			dying.Kill(t)
			killed = time.Now()
		case !killed.IsZero() && d.copies == 0 && strings.HasPrefix(e.Source, liveMembers[1]):
			d.copies = time.Since(killed)
		}
	})
	report := v.measured(t, request)
	require.False(t, killed.IsZero(), "no copy came from the source")
	v.awaitWrites(t, 20)
	var longest timedRequest
	for _, r := range timed.since(killed) {
		if r.took > longest.took {
			longest = r
		}
	}
	d.clients = longest.ended.Sub(killed)
	v.stop(t)
	require.Equal(t, rebuild.OutcomeComplete, report.Outcome)
	v.requireWhole(t)
	survived = true
	for _, target := range []*targettest.Target{at.home, at.to, at.members[1]} {
		survived = survived && target.Try("rpc_get_methods", nil, nil) == nil
	}
	return d, survived
}
