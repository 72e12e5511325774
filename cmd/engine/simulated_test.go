package main

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/spdkhost"
)

// On simulated targets, over their sockets: commands create a replica, it loses its
// image, the audit finds it and the repair restores it. The image is smaller than the
// volume.
func TestField_10909_CommandsOverSockets(t *testing.T) {
	for _, flavour := range []simtarget.Flavour{simtarget.Fork, simtarget.Upstream} {
		t.Run(flavour.String(), func(t *testing.T) {
			t.Parallel()
			const size = 8 * targettest.ClusterSize
			target := targettest.Simulate(t, simtarget.NewFabric(), flavour)
			lvstore := target.NewStore(t, 64)
			host, err := spdkhost.Open(t.Context(), spdkhost.Config{Socket: target.Socket, Lvstore: lvstore})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, host.Close()) })
			replica := func() rebuild.Replica {
				store, err := host.List(t.Context())
				require.NoError(t, err)
				r, err := rebuild.NewReplica(store, "v-r-1")
				require.NoError(t, err)
				return r
			}
			view := func(l rebuild.Lvol) []byte {
				p := make([]byte, l.Size)
				target.Read(t, l.UUID, p, 0)
				return p
			}
			store := replica().Store
			filling, err := host.Create(t.Context(), rebuild.ImageInFlightLvolName("00000001"), 2*targettest.ClusterSize)
			require.NoError(t, err)
			for i := range uint64(2) {
				target.Write(t, filling, filled(byte(200+i)), i*targettest.ClusterSize)
			}
			_, err = host.Seal(t.Context(), filling, rebuild.ImageLvolName("base", store.UUID), rebuild.SealRecord{Image: &rebuild.ImageRecord{}})
			require.NoError(t, err)

			at := fmt.Sprintf("unix://%s?lvs=%s&replica=v-r-1", target.Socket, lvstore)
			do := func(status int, args ...string) map[string]any {
				t.Helper()
				told := engine(t, append(args, "--output", "json")...)
				require.Equal(t, status, told.status, told.stdout+told.stderr)
				var object map[string]any
				require.NoError(t, json.Unmarshal([]byte(told.stdout), &object))
				return object
			}
			do(exitDone, "replica", "create", at, "--size", fmt.Sprint(size), "--image", "base")
			for i, name := range []string{"s1", "s2", "s3"} {
				target.Write(t, replica().Head.UUID, filled(byte(i+1)), uint64(i+1)*targettest.ClusterSize)
				do(exitDone, "snapshot", "create", at, name)
			}
			do(exitDone, "snapshot", "revert", at, "s1", "--confirm", "s1")
			do(exitFailed, "snapshot", "delete", at, "s1", "--confirm", "s1")
			want := view(*replica().Head)
			require.Equal(t, byte(200), want[0], "the image")
			require.Equal(t, byte(1), want[targettest.ClusterSize], "the snapshot")
			require.Equal(t, byte(0), want[2*targettest.ClusterSize], "what was reverted")
			do(exitDone, "snapshot", "delete", at, "s2", "--confirm", "s2")
			do(exitDone, "audit", at, "--image", "base")

			ancestor, ok := replica().Snapshot("s1")
			require.True(t, ok)
			require.NoError(t, host.Graft(t.Context(), ancestor.Lvol.UUID, ""))
			require.NotEqual(t, want, view(*replica().Head))
			do(exitFailed, "audit", at, "--image", "base")
			require.EqualValues(t, 0, do(exitDone, "repair", at, "--image", "base")["copiedBytes"])
			require.Equal(t, want, view(*replica().Head))
			require.Empty(t, replica().InFlight, "no spacer is left")
			do(exitDone, "audit", at)

			do(exitDone, "replica", "delete", at, "--confirm", "v-r-1")
			left := replica()
			require.False(t, left.Exists())
			require.Len(t, left.Store.Lvols, 1, "the image stays")
		})
	}
}

func filled(b byte) []byte {
	p := make([]byte, targettest.ClusterSize)
	for i := range p {
		p[i] = b
	}
	return p
}
