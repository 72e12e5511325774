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

// Lists name the user of a replica, commands that change the replica are refused with
// that name, and --in-use allows them, except for a delete that would hang the target.
func TestCommandsRefuseReplicasInUse(t *testing.T) {
	for _, flavour := range []simtarget.Flavour{simtarget.Fork, simtarget.Upstream} {
		for _, user := range []rebuild.User{{Kind: rebuild.UserExport}, {Kind: rebuild.UserRAID}, {Kind: rebuild.UserExport, NoDelete: true}} {
			t.Run(fmt.Sprint(flavour, " ", user.Kind, " ", user.NoDelete), func(t *testing.T) {
				t.Parallel()
				target := targettest.Simulate(t, simtarget.NewFabric(), flavour)
				host := hostOn(t, target)
				other := hostOn(t, target)
				from := fmt.Sprintf("unix://%s?lvs=%s&replica=v-r-1", target.Socket, other.name)
				at := fmt.Sprintf("unix://%s?lvs=%s&replica=v-r-2", target.Socket, host.name)
				run := func(status int, args ...string) string {
					t.Helper()
					told := engine(t, args...)
					require.Equal(t, status, told.status, "%v\n%s%s", args, told.stdout, told.stderr)
					return told.stdout + told.stderr
				}
				for _, address := range []string{from, at} {
					run(exitDone, "replica", "create", address, "--size", "4MiB", "--no-image")
					run(exitDone, "snapshot", "create", address, "s1")
				}
				run(exitDone, "snapshot", "create", from, "s2")
				head := func() rebuild.Lvol {
					store, err := host.List(t.Context())
					require.NoError(t, err)
					for _, l := range store.Lvols {
						if l.Name == "v-r-2" {
							return l
						}
					}
					return rebuild.Lvol{}
				}
				user, end := target.Use(t, head().UUID, user)
				for _, list := range [][]string{{"tree", at}, {"replica", "list", fmt.Sprintf("unix://%s?lvs=%s", target.Socket, host.name)}} {
					require.Contains(t, run(exitDone, list...), "in use: "+user.String())
				}
				var listed hostState
				require.NoError(t, json.Unmarshal([]byte(run(exitDone, "tree", at, "--output", "json")), &listed))
				require.Equal(t, &userState{user.Kind.String(), user.Name, user.NoDelete}, listed.Replicas[0].Head.UsedBy)
				require.Nil(t, listed.Replicas[0].Snapshots[0].UsedBy)

				before, err := host.List(t.Context())
				require.NoError(t, err)
				commands := []struct {
					args    []string
					deletes bool
				}{
					{[]string{"snapshot", "create", at, "s2"}, false},
					{[]string{"snapshot", "delete", at, "s2", "--confirm", "s2"}, false},
					{[]string{"plan", "--source", from, "--destination", at, "--no-image"}, true},
					{[]string{"snapshot", "revert", at, "s1", "--confirm", "s1"}, true},
					{[]string{"rebuild", "--source", from, "--destination", at, "--no-image"}, true},
					{[]string{"replica", "delete", at, "--confirm", "v-r-2"}, true},
				}
				for _, c := range commands {
					if c.args[1] != "delete" || c.args[0] != "snapshot" { // which is not there yet
						said := run(exitFailed, c.args...)
						require.Contains(t, said, user.Name)
						require.Contains(t, said, "is in use")
					}
				}
				after, err := host.List(t.Context())
				require.NoError(t, err)
				require.Equal(t, before, after)
				for _, c := range commands {
					status := exitDone
					if user.NoDelete && c.deletes {
						status = exitFailed
					}
					run(status, append(c.args, "--in-use")...)
					if c.args[1] == "revert" || c.args[0] == "rebuild" {
						// Nobody uses the new head yet.
						if status == exitDone {
							end()
							user, end = target.Use(t, head().UUID, rebuild.User{Kind: user.Kind, NoDelete: user.NoDelete})
						}
					}
				}
				require.False(t, target.Simulated().Hangs())
				end()
			})
		}
	}
}

// openedStore is an lvstore of a target.
type openedStore struct {
	*spdkhost.Host
	name string
}

func hostOn(t *testing.T, target *targettest.Target) openedStore {
	t.Helper()
	lvstore := target.NewStore(t, 64)
	host, err := spdkhost.Open(t.Context(), spdkhost.Config{Socket: target.Socket, Lvstore: lvstore})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, host.Close()) })
	return openedStore{host, lvstore}
}
