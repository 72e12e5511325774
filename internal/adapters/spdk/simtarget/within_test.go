package simtarget_test

import (
	"encoding/json"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
)

// A fabric of targets within the process lives in a bubble: nothing of it waits for
// the machine, and time is virtual.
func TestTargetsWithinTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fabric := simtarget.NewFabric()
		file := newDiskFile(t, 66)
		dial := func(name string) *client {
			conn, err := fabric.Dial(t.Context(), name)
			require.NoError(t, err)
			t.Cleanup(func() { conn.Close() })
			return &client{t: t, conn: conn, in: json.NewDecoder(conn)}
		}
		_, err := fabric.Dial(t.Context(), "a")
		require.ErrorIs(t, err, syscall.ECONNREFUSED)

		config := simtarget.Config{Socket: "a", Within: true}
		a := start(t, fabric, config)
		_, err = os.Stat("a")
		require.ErrorIs(t, err, os.ErrNotExist, "it is no file")
		_, err = fabric.Start(config)
		require.ErrorContains(t, err, "somebody listens on it already")
		c := dial("a")
		c.newStore(file)
		c.create("lvol", 1)

		// A port that the machine has in use is free here.
		taken, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer taken.Close()
		_, port, err := net.SplitHostPort(taken.Addr().String())
		require.NoError(t, err)
		c.call("nvmf_create_transport", map[string]any{"trtype": "TCP"})
		c.call("nvmf_create_subsystem", map[string]any{"nqn": "nqn.2023-01.io.longhorn.spdk:a", "allow_any_host": true})
		c.call("nvmf_subsystem_add_listener", map[string]any{
			"nqn": "nqn.2023-01.io.longhorn.spdk:a", "listen_address": map[string]any{"trtype": "TCP", "adrfam": "IPv4", "traddr": "127.0.0.1", "trsvcid": port},
		})
		start(t, fabric, simtarget.Config{Socket: "b", Within: true})
		dial("b").call("bdev_nvme_attach_controller", map[string]any{
			"name": "n", "trtype": "TCP", "adrfam": "IPv4", "traddr": "127.0.0.1", "trsvcid": port, "subnqn": "nqn.2023-01.io.longhorn.spdk:a",
		})

		a.Kill()
		c.closed()
		_, err = fabric.Dial(t.Context(), "a")
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		start(t, fabric, config)
		c = dial("a")
		c.newDisk(file)
		require.Len(t, c.lvols(), 1)
		require.Zero(t, time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)))
	})
}
