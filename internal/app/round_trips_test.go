package app_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmf"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/app"
)

// SPDK looks at its socket this often. A call that is sent upon an answer takes a round
// trip of two looks: it is read at the one, and answered at the next.
const (
	lookAtSocket = 4 * time.Millisecond
	roundTrip    = 2 * lookAtSocket
)

// TestRebuildKeepsItsBudgetOfRoundTrips counts the round trips that a rebuild has to
// wait for one after the other, where nothing else takes time: a chain on an image of
// another size, on targets in virtual time. A snapshot is worth two of them, a graft and
// a seal; the rest is the run's beginning and end.
func TestRebuildKeepsItsBudgetOfRoundTrips(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		flavour   simtarget.Flavour
		within    bool // one target
		snapshots int
		besides   int // two a snapshot
	}{
		{simtarget.Fork, true, 1, 16},
		{simtarget.Fork, true, 12, 16},
		{simtarget.Fork, false, 1, 20},
		{simtarget.Upstream, true, 1, 14},
		{simtarget.Upstream, true, 12, 14},
		{simtarget.Upstream, false, 1, 18},
	} {
		t.Run(fmt.Sprintf("%s, within one target: %v, %d snapshots", c.flavour, c.within, c.snapshots), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				took := timeRebuild(t, c.flavour, c.within, c.snapshots)
				t.Logf("%.1f round trips", took.Seconds()/roundTrip.Seconds())
				require.LessOrEqual(t, took, time.Duration(2*c.snapshots+c.besides)*roundTrip)
			})
		})
	}
}

func timeRebuild(t *testing.T, flavour simtarget.Flavour, within bool, snapshots int) time.Duration {
	t.Helper()
	dir, err := os.MkdirTemp("", "trips")
	require.NoError(t, err)
	defer func() { require.NoError(t, os.RemoveAll(dir)) }()
	fabric := simtarget.NewFabric()
	disk := func(name string) string {
		file := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(file, nil, 0o600))
		require.NoError(t, os.Truncate(file, int64(8*snapshots+64)*targetCluster))
		return file
	}
	target := func(name string) *machine {
		m := &machine{t: t, fabric: fabric, side: name, disk: disk(name), config: simtarget.Config{
			Socket: name, Within: true, Flavour: flavour, Poll: lookAtSocket,
		}}
		m.start()
		return m
	}
	from := target("from")
	defer from.current().Kill()
	to := from
	if !within {
		to = target("to")
		defer to.current().Kill()
	}
	open := func(m *machine, lvstore string) *spdk.Host {
		host, err := spdk.Open(t.Context(), spdk.Config{
			Socket: m.side, Lvstore: lvstore, Dial: func(ctx context.Context, socket string) (net.Conn, error) { return fabric.Dial(ctx, socket) },
			Listen: nvmf.Listen{Address: "127.0.0.1", First: 20001, Last: 20004},
		})
		require.NoError(t, err)
		return host
	}
	onTarget := func(m *machine, lvstore, replica string) *builder {
		m.call("bdev_aio_create", map[string]any{"name": lvstore, "filename": disk(lvstore), "block_size": 4096})
		m.call("bdev_lvol_create_lvstore", map[string]any{"bdev_name": lvstore, "lvs_name": lvstore, "cluster_sz": targetCluster})
		return newBuilderOn(t, builtHost{open(m, lvstore), targetCluster, func(uuid string, at int, b byte) {
			content := make([]byte, targetCluster)
			content[0] = b
			require.NoError(t, m.current().WriteAt(uuid, content, uint64(at)*targetCluster))
		}}, replica, "")
	}
	source, destination := onTarget(from, "source", sourceName), onTarget(to, "destination", copyName)
	defer func() {
		require.NoError(t, source.Host.(*spdk.Host).Close())
		require.NoError(t, destination.Host.(*spdk.Host).Close())
	}()
	source.makeImage(worldClusters / 2).build(chain(snapshots, worldClusters, 0))
	destination.makeImage(worldClusters / 2)

	// Hosts that know nothing yet, as in a new process.
	fresh, other := open(from, "source"), open(to, "destination")
	defer func() {
		require.NoError(t, fresh.Close())
		require.NoError(t, other.Close())
	}()
	began := time.Now()
	report, err := app.New(nil).Rebuild(t.Context(), app.Request{
		Source: app.Site{Host: fresh, Replica: sourceName}, Destination: app.Site{Host: other, Replica: copyName},
	})
	took := time.Since(began)
	require.NoError(t, err)
	require.Empty(t, report.Violations)
	return took
}
