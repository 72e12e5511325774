package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
)

// A rebuild of a replica that may be Longhorn's warns of the snapshot that it took of the
// source's head. Deleted on both sides, it merges into the heads: the source is as
// before, lvol by lvol, and both heads have the same data.
func TestSystemSnapshotCanBeDeletedAgain(t *testing.T) {
	for _, flavour := range []simtarget.Flavour{simtarget.Fork, simtarget.Upstream} {
		t.Run(flavour.String(), func(t *testing.T) {
			t.Parallel()
			target := targettest.Simulate(t, simtarget.NewFabric(), flavour)
			from, to := hostOn(t, target), hostOn(t, target)
			const healthy, lost = "vol-1-r-1b2c3d4e", "vol-1-r-2c3d4e5f"
			a := fmt.Sprintf("unix://%s?lvs=%s&replica=%s", target.Socket, from.name, healthy)
			b := fmt.Sprintf("unix://%s?lvs=%s&replica=%s", target.Socket, to.name, lost)
			do := func(args ...string) ran {
				t.Helper()
				told := engine(t, args...)
				require.Equal(t, exitDone, told.status, "%v\n%s%s", args, told.stdout, told.stderr)
				return told
			}
			do("replica", "create", a, "--size", "4MiB", "--no-image")
			do("snapshot", "create", a, "s1")
			head := func(host openedStore, replica string) rebuild.Lvol {
				store, err := host.List(t.Context())
				require.NoError(t, err)
				r, err := rebuild.NewReplica(store, replica)
				require.NoError(t, err)
				return *r.Head
			}
			view := func(l rebuild.Lvol) []byte {
				p := make([]byte, l.Size)
				target.Read(t, l.UUID, p, 0)
				return p
			}
			target.Write(t, head(from, healthy).UUID, filled(7), 2*targettest.ClusterSize)
			before, err := from.List(t.Context())
			require.NoError(t, err)
			want := view(head(from, healthy))

			told := do("rebuild", "--source", a, "--destination", b, "--no-image", "--output", "json")
			var printed result
			require.NoError(t, json.Unmarshal([]byte(told.stdout), &printed))
			taken := ""
			for _, s := range printed.Source.Snapshots {
				if strings.HasPrefix(s.Name, "rebuild-") {
					taken = s.Name
				}
			}
			require.NotEmpty(t, taken)
			if flavour == simtarget.Fork {
				require.Contains(t, printed.Warnings, fmt.Sprintf("the head of replica %s on lvstore %s gets snapshot %s: if Longhorn's engine knows the replica, it refuses the replica until its server is restarted or the snapshot is deleted again on both sides", healthy, from.name, taken))
			} else {
				require.Empty(t, printed.Warnings)
			}
			for _, at := range []string{a, b} {
				do("snapshot", "delete", at, taken, "--confirm", taken)
			}
			after, err := from.List(t.Context())
			require.NoError(t, err)
			require.Equal(t, before, after)
			do("audit", a, b, "--no-image")
			for _, l := range []rebuild.Lvol{head(from, healthy), head(to, lost)} {
				require.EqualValues(t, 1, l.Own.Count)
				require.Equal(t, want, view(l))
			}
		})
	}
}
