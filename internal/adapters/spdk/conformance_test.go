package spdk_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"

	"github.com/rootgraft/rebuild/internal/adapters/spdk"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/ports/porttest"
)

// storeClusters is enough for every test, and small enough that one can fill
// the store.
const storeClusters = 64

// TestRealTarget runs the contract against real targets: within one of each
// kind, and between any two that SPDK_TGT names. Most of it is waiting for targets
// that look at their sockets every 4 ms, so that several ways fit beside each other.
func TestRealTarget(t *testing.T) {
	t.Parallel()
	name := func(binary string) string { return filepath.Base(filepath.Dir(binary)) }
	for _, from := range targettest.Binaries(t) {
		t.Run("within one "+name(from), func(t *testing.T) {
			t.Parallel()
			conform(t, targettest.Start(t, from))
		})
		for _, to := range targettest.Binaries(t) {
			t.Run(name(from)+" to "+name(to), func(t *testing.T) {
				t.Parallel()
				conform(t, targettest.Start(t, from), targettest.Start(t, to))
			})
		}
	}
}

// TestSimulatedTarget runs the contract against simulated targets in the same ways. The
// race detector makes that ten times as long, and sees in two of them what it would
// see in all.
func TestSimulatedTarget(t *testing.T) {
	t.Parallel()
	for _, from := range flavours {
		t.Run("within one "+from.String(), func(t *testing.T) {
			once(t, from == simtarget.Upstream)
			t.Parallel()
			conform(t, targettest.Simulate(t, simtarget.NewFabric(), from))
		})
		for _, to := range flavours {
			t.Run(from.String()+" to "+to.String(), func(t *testing.T) {
				once(t, from == simtarget.Fork && to == simtarget.Upstream)
				t.Parallel()
				fabric := simtarget.NewFabric()
				conform(t, targettest.Simulate(t, fabric, from), targettest.Simulate(t, fabric, to))
			})
		}
	}
}

func once(t *testing.T, underTheDetector bool) {
	t.Helper()
	if spdk.RaceDetector && !underTheDetector {
		t.Skip("under the race detector two of the six ways are enough; make test runs all of them without it")
	}
}

var flavours = []simtarget.Flavour{simtarget.Fork, simtarget.Upstream}

// needsVoidAddresses are tests that copy to an address which was withdrawn, while
// the lvol is still there.
var needsVoidAddresses = map[string]bool{
	"an_address_is_invalid_after_Withdraw":           true,
	"releasing_a_run_of_the_replica_ends_its_copies": true,
}

// needsOwnTargets are tests in which one host dies, or in which a way leads from one
// target to another.
var needsOwnTargets = map[string]bool{
	"releasing_a_run_closes_its_ways,_and_takes_lvols_off_them":  true,
	"the_way_of_a_head_outlives_its_run":                         true,
	"reads_go_on_through_the_other_way_when_a_host_dies":         true,
	"after_a_restart_it_is_degraded_until_it_is_connected_again": true,
}

func conform(t *testing.T, targets ...*targettest.Target) {
	porttest.Run(t, porttest.Harness{NewHosts: func(t *testing.T, n int) []porttest.Instance {
		if n == 1 && len(targets) > 1 {
			t.Skip("it is about one host: within one target of each kind it is run")
		}
		instances := make([]porttest.Instance, n)
		for i := range instances {
			target := targets[i%len(targets)]
			if n > len(targets) && needsVoidAddresses[filepath.Base(t.Name())] {
				t.Skip("within one target the lvol itself is the address: its UUID is never another's, but nothing voids it while it is there")
			}
			if n > len(targets) && needsOwnTargets[filepath.Base(t.Name())] {
				t.Skip("its hosts need targets of their own: within one target the lvol itself is shown")
			}
			store := target.NewStore(t, storeClusters)
			host, err := spdk.Open(t.Context(), spdk.Config{Socket: target.Socket, Lvstore: store, Logger: zaptest.NewLogger(t)})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, host.Close()) })
			clone := func(t *testing.T, name string, content []byte) string {
				return target.CloneExternal(t, store, name, content)
			}
			instances[i] = porttest.Instance{Host: host, Write: target.Write, Read: target.Read, CloneExternal: clone, Restart: target.Restart, Use: target.Use}
		}
		return instances
	}})
}
