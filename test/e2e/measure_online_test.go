package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
)

// freezesMeasured is how many rebuilds under a live volume are measured.
const freezesMeasured = 20

// TestMeasureOnline measures freezes under a live volume with clients, and the time of the
// rebuild against that of the same tree offline.
func TestMeasureOnline(t *testing.T) {
	if !*measures {
		t.Skip("it measures, it does not test: run it with -measure")
	}
	var table strings.Builder
	columns := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(columns, "target\tfreeze ms, median\tworst\tclients ms, worst\tonline s, median\toffline s, median\tratio")
	if *measureSimulated {
		fabric := simtarget.NewFabric()
		measureOnline(t, columns, "simulated", func() *targettest.Target { return targettest.SimulatePolled(t, fabric, simtarget.Fork) })
	} else {
		for _, binary := range targettest.Binaries(t) {
			t.Run(flavour(binary), func(t *testing.T) {
				measureOnline(t, columns, flavour(binary), func() *targettest.Target { return targettest.Start(t, binary) })
			})
		}
	}
	require.NoError(t, columns.Flush())
	fmt.Print(table.String())
}

func measureOnline(t *testing.T, columns *tabwriter.Writer, name string, start func() *targettest.Target) {
	at := &liveTargets{home: start(), to: start(), members: []*targettest.Target{start(), start()}}
	var frozen, online, offline []time.Duration
	v := growLiveVolume(t, at, 2, true, func(p *place, replica string) {
		p.growTwo(t, replica, p.image, [2]string{"gold", "silver"}, 40) // a head without data, which offline gets no snapshot
	})
	engine := rebuild.New()
	forget := func() {
		require.NoError(t, v.destination.host.HideHead(t.Context(), liveTo))
		_, err := engine.DeleteReplica(t.Context(), v.request().Destination, nil)
		require.NoError(t, err)
	}
	for range freezesMeasured {
		report, err := engine.Rebuild(t.Context(), v.request().Request)
		require.NoError(t, err)
		offline = append(offline, report.Duration)
		forget()
	}
	v.startClients(t)
	for range freezesMeasured {
		report := v.rebuild(t)
		frozen, online = append(frozen, report.Online.Frozen), append(online, report.Duration)
		require.NoError(t, v.mirror.Leave(t.Context(), report.Destination.Head.UUID))
		forget()
	}
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	_, _ = fmt.Fprintf(columns, "%s\t%.1f\t%.1f\t%.1f\t%.2f\t%.2f\t%.2f\n", name, ms(median(frozen)), ms(slices.Max(frozen)),
		ms(v.stop(t).Longest), median(online).Seconds(), median(offline).Seconds(), median(online).Seconds()/median(offline).Seconds())
}
