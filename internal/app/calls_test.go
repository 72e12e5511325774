package app_test

import (
	"fmt"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmf"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// The budget of JSON-RPC calls, polls apart.
const (
	callsPerSnapshot = 12
	xattrsOfSnapshot = 2 // on the fork
	callsPerRebuild  = 21
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
	const short, long = 4, 20
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
	const clusters = 2
	fabric := simtarget.NewFabric()
	from := targettest.Simulate(t, fabric, flavour)
	to := from
	if !within {
		to = targettest.Simulate(t, fabric, flavour)
	}
	source, destination := from.NewStore(t, 8*n+16), to.NewStore(t, 8*n+16)
	grown := openTarget(t, from.Socket, source)
	image := imageOnTarget(t, from, grown)
	parent := image
	for i := range n {
		l, err := grown.Create(t.Context(), domain.InFlightLvolName(sourceName, "00000001"), clusters*targettest.ClusterSize)
		require.NoError(t, err)
		from.Write(t, l, make([]byte, targettest.ClusterSize), 0)
		require.NoError(t, grown.Graft(t.Context(), l, parent))
		parent, err = grown.Seal(t.Context(), l, domain.SnapshotLvolName(sourceName, fmt.Sprint("s", i)), ports.SealRecord{Attributes: minute(i)})
		require.NoError(t, err)
	}
	_, err := grown.Clone(t.Context(), parent, sourceName, clusters*targettest.ClusterSize, imageName)
	require.NoError(t, err)
	imageOnTarget(t, to, openTarget(t, to.Socket, destination))

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

func imageOnTarget(t *testing.T, target *targettest.Target, host *spdk.Host) string {
	t.Helper()
	store, err := host.List(t.Context())
	require.NoError(t, err)
	l, err := host.Create(t.Context(), domain.ImageInFlightLvolName("00000001"), 2*targettest.ClusterSize)
	require.NoError(t, err)
	target.Write(t, l, make([]byte, targettest.ClusterSize), 0)
	image, err := host.Seal(t.Context(), l, domain.ImageLvolName(imageName, store.UUID), ports.SealRecord{Image: &domain.ImageRecord{UUID: "8f5fd5be", Checksum: "sha512"}})
	require.NoError(t, err)
	return image
}
