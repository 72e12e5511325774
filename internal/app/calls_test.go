package app_test

import (
	"bytes"
	"fmt"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmf"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/app"
)

// The budget of JSON-RPC calls, polls apart.
const (
	callsPerSnapshot = 12
	xattrsOfSnapshot = 2  // on the fork
	callsPerRebuild  = 22 // one of them looks for lvols that read through a controller before it is detached
	callsPerListing  = 3
	listings         = 4 // each host before and after; the head is looked at by itself
	xattrsOfRebuild  = 9 // on the fork: three of the image on each host, the record of a head whenever it is seen
	tripsWhenNothing = 8 // round trips of a rebuild that has nothing to do
)

// What a snapshot costs is the
// difference between a long chain and a short one, the rest is the rebuild's.
// Neither depends on time.
func TestRebuildKeepsItsBudgetOfCalls(t *testing.T) {
	t.Parallel()
	const short, long = 4, 12
	for _, flavour := range []simtarget.Flavour{simtarget.Fork, simtarget.Upstream} {
		for _, within := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, within one target: %v", flavour, within), func(t *testing.T) {
				t.Parallel()
				few, _ := countOnTargets(t, flavour, within, short)
				many, again := countOnTargets(t, flavour, within, long)
				perSnapshot, fixed := callsPerSnapshot, callsPerRebuild+listings*callsPerListing
				if flavour == simtarget.Fork {
					perSnapshot, fixed = perSnapshot+xattrsOfSnapshot, fixed+xattrsOfRebuild
				}
				t.Logf("%.2f calls a snapshot, %d a rebuild", float64(many.Calls()-few.Calls())/(long-short),
					few.Calls()-(many.Calls()-few.Calls())*short/(long-short))
				require.LessOrEqual(t, many.Calls()-few.Calls(), perSnapshot*(long-short), "of %d snapshots: %v, of %d: %v", long, many.ByMethod, short, few.ByMethod)
				require.LessOrEqual(t, few.Calls()-(many.Calls()-few.Calls())*short/(long-short), fixed, "besides %d snapshots: %v", short, few.ByMethod)
				if flavour == simtarget.Fork {
					require.LessOrEqual(t, again.Trips, tripsWhenNothing, "%v", again.ByMethod)
				}
			})
		}
	}
}

// countOnTargets counts the calls of a rebuild of a chain, and of one that has
// nothing to do, by hosts that know nothing yet.
func countOnTargets(t *testing.T, flavour simtarget.Flavour, within bool, n int) (first, again targettest.Seen) {
	t.Helper()
	fabric := simtarget.NewFabric()
	from := targettest.Simulate(t, fabric, flavour)
	to := from
	if !within {
		to = targettest.Simulate(t, fabric, flavour)
	}
	source, destination := from.NewStore(t, 8*n+16), to.NewStore(t, 8*n+16)
	newBuilderOn(t, onTarget(t, from, openTarget(t, from.Socket, source)), sourceName, "").makeImage(2).build(chain(n, 2, 1))
	newBuilderOn(t, onTarget(t, to, openTarget(t, to.Socket, destination)), copyName, "").makeImage(2)

	tally := targettest.NewTally()
	request := app.Request{
		Source:      app.Site{Host: openTarget(t, tally.Proxy(t, from.Socket), source), Replica: sourceName},
		Destination: app.Site{Host: openTarget(t, tally.Proxy(t, to.Socket), destination), Replica: copyName},
	}
	rebuild := func() targettest.Seen {
		tally.Take()
		report, err := app.New(nil).Rebuild(t.Context(), request)
		require.NoError(t, err)
		require.Empty(t, report.Violations)
		return tally.Take()
	}
	first = rebuild()
	rebuild() // computes the checksums
	return first, rebuild()
}

func openTarget(t *testing.T, socket, store string) *spdk.Host {
	t.Helper()
	// A port that another process has costs a call, so a free one comes first.
	probe, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := uint16(probe.Addr().(*net.TCPAddr).Port)
	require.NoError(t, probe.Close())
	host, err := spdk.Open(t.Context(), spdk.Config{
		Socket: socket, Lvstore: store, Listen: nvmf.Listen{Address: "127.0.0.1", First: port, Last: port},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, host.Close()) })
	return host
}

// onTarget is a target that replicas are built on.
func onTarget(t *testing.T, target *targettest.Target, host *spdk.Host) builtHost {
	return builtHost{host, targettest.ClusterSize, func(uuid string, at int, b byte) {
		target.Write(t, uuid, bytes.Repeat([]byte{b}, targettest.ClusterSize), uint64(at)*targettest.ClusterSize)
	}}
}
