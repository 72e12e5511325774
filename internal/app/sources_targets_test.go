package app_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/app"
)

// Two healthy replicas on a target each, and a third target that
// the lost one is rebuilt on, over JSON-RPC and NVMe/TCP. One of the two may refuse
// to copy, or die in the middle. Every byte is read back.
func TestThreeTargets(t *testing.T) {
	const snapshots, clusters = 6, 2
	for name, test := range map[string]struct {
		fails int // which source; -1: none
		fault simtarget.Fault
	}{
		"both serve":                     {fails: -1},
		"the first refuses to copy":      {0, simtarget.Fault{Refuse: &simtarget.Error{Code: -32602, Message: "Operation not supported"}}},
		"the second refuses to copy":     {1, simtarget.Fault{Refuse: &simtarget.Error{Code: -32602, Message: "Operation not supported"}}},
		"the first dies while it copies": {0, simtarget.Fault{After: simtarget.Kill}},
		"the second dies":                {1, simtarget.Fault{After: simtarget.Kill}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fabric := simtarget.NewFabric()
			var targets []*targettest.Target
			var hosts []*spdk.Host
			var sites []app.Site
			for i := range 3 {
				target := targettest.Simulate(t, fabric, simtarget.Fork)
				host := openTarget(t, target.Socket, target.NewStore(t, 100))
				replica := fmt.Sprintf("vol-1-r-%08d", i+1)
				built := newBuilderOn(t, onTarget(t, target, host), replica, "").makeImage(2)
				if i < 2 {
					built.build(fullChain(snapshots, clusters))
				}
				targets, hosts, sites = append(targets, target), append(hosts, host), append(sites, app.Site{Host: host, Replica: replica})
			}
			if test.fails >= 0 {
				var mu sync.Mutex
				begun := 0
				targets[test.fails].Simulated().Inject(func(r simtarget.Request) simtarget.Fault {
					mu.Lock()
					defer mu.Unlock()
					if r.Method != "bdev_lvol_start_shallow_copy" {
						return simtarget.Fault{}
					}
					if begun++; begun < 2 {
						return simtarget.Fault{}
					}
					return test.fault
				})
			}
			report, err := app.New(nil).Rebuild(t.Context(), app.Request{
				Source: sites[0], MoreSources: sites[1:2], Destination: sites[2], Views: true, Proof: true,
			})
			require.NoError(t, err)
			require.Empty(t, report.Violations)
			require.Equal(t, app.OutcomeComplete, report.Outcome)
			require.Len(t, report.DestinationViews, snapshots+1, "every view was read, and is the source's")
			copied := make(map[string]bool)
			for i, s := range report.Sources {
				require.Equal(t, i == test.fails, s.State == app.SourceLost, "%+v", s)
				for _, name := range s.Snapshots {
					copied[name] = true
				}
				if test.fails < 0 {
					require.NotEmpty(t, s.Snapshots)
				}
			}
			require.Len(t, copied, snapshots)
			for i, host := range hosts {
				if i == test.fails {
					continue // it is dead, or was given up
				}
				opened, err := host.Opened(t.Context())
				require.NoError(t, err)
				require.Empty(t, opened, "the run has closed what it opened on target %d", i)
			}
			if test.fault.After == simtarget.Kill {
				targets[test.fails].Restart(t) // for the test's own clean-up
			}
		})
	}
}
