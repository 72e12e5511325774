package simtarget_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
)

// on is a fault of the n-th call of a method.
func on(method string, n int, fault simtarget.Fault) func(simtarget.Request) simtarget.Fault {
	return func(r simtarget.Request) simtarget.Fault {
		if r.Method == method && r.N == n {
			return fault
		}
		return simtarget.Fault{}
	}
}

const create = "bdev_lvol_create"

// A fault befalls the second of three creates.
func TestFaults(t *testing.T) {
	refusal := simtarget.Error{Code: -32602, Message: "Device or resource busy"}
	for name, test := range map[string]struct {
		fault   simtarget.Fault
		sees    func(t *testing.T, c *client)
		created bool // it took effect
		dies    bool
		hangs   bool
	}{
		"a refusal": {
			fault: simtarget.Fault{Refuse: &refusal},
			sees:  func(t *testing.T, c *client) { require.Equal(t, refusal, *c.receive().Error) },
		},
		"a delay": {
			fault:   simtarget.Fault{Delay: 20 * time.Millisecond},
			sees:    func(t *testing.T, c *client) { require.Nil(t, c.receive().Error) },
			created: true,
		},
		"an answer that is lost": {
			fault:   simtarget.Fault{After: simtarget.Silence},
			sees:    func(_ *testing.T, c *client) { c.silent() },
			created: true,
		},
		"a request that is lost": {
			fault: simtarget.Fault{Before: simtarget.Silence},
			sees:  func(_ *testing.T, c *client) { c.silent() },
		},
		"a connection that closes before": {
			fault: simtarget.Fault{Before: simtarget.Close},
			sees:  func(_ *testing.T, c *client) { c.closed() },
		},
		"a connection that closes after": {
			fault:   simtarget.Fault{After: simtarget.Close},
			sees:    func(_ *testing.T, c *client) { c.closed() },
			created: true,
		},
		"a garbled answer": {
			fault: simtarget.Fault{Garble: []byte("}nonsense")},
			sees: func(t *testing.T, c *client) {
				var r reply
				require.Error(t, c.in.Decode(&r))
			},
			created: true,
		},
		"a target that hangs before": {
			fault: simtarget.Fault{Before: simtarget.Hang},
			sees:  func(_ *testing.T, c *client) { c.silent() },
			hangs: true,
		},
		"a target that hangs after": {
			fault:   simtarget.Fault{After: simtarget.Hang},
			sees:    func(_ *testing.T, c *client) { c.silent() },
			created: true,
			hangs:   true,
		},
		"a target that dies before": {
			fault: simtarget.Fault{Before: simtarget.Kill},
			sees:  func(_ *testing.T, c *client) { c.closed() },
			dies:  true,
		},
		"a target that dies after": {
			fault:   simtarget.Fault{After: simtarget.Kill},
			sees:    func(_ *testing.T, c *client) { c.closed() },
			created: true,
			dies:    true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			file := newDiskFile(t, 66)
			fabric := simtarget.NewFabric()
			config := simtarget.Config{Inject: on(create, 2, test.fault), State: t.TempDir()}
			target := start(t, fabric, config)
			c := connect(t, target)
			c.newStore(file)
			c.create("a", 1)
			c.send(create, map[string]any{"lvs_name": "store", "lvol_name": "b", "size_in_mib": 1})
			test.sees(t, c)

			require.Equal(t, test.hangs, target.Hangs())
			if test.hangs {
				other := connect(t, target)
				other.send("rpc_get_methods", nil)
				other.silent()
			}
			if test.dies {
				<-target.Done()
				require.Error(t, target.Err())
			}
			if test.hangs || test.dies {
				target.Kill()
				target = start(t, fabric, simtarget.Config{Socket: target.Socket(), State: config.State})
				connect(t, target).newDisk(file)
			}
			c = connect(t, target)
			c.create("c", 1)
			var there []string
			for _, l := range c.lvols() {
				there = append(there, l.Name)
			}
			want := []string{"a", "c"}
			if test.created {
				want = []string{"a", "b", "c"}
			}
			require.Equal(t, want, there)
		})
	}
}

// What befalls one target can be done to another from the hook.
func TestAHookMayEndAnotherTarget(t *testing.T) {
	fabric := simtarget.NewFabric()
	victim := start(t, fabric, simtarget.Config{})
	target := start(t, fabric, simtarget.Config{})
	target.Inject(func(r simtarget.Request) simtarget.Fault {
		if r.Method == "bdev_get_bdevs" {
			victim.Kill()
		}
		return simtarget.Fault{}
	})
	c := connect(t, target)
	c.call("bdev_get_bdevs", nil)
	<-victim.Done()
	require.NoError(t, victim.Err(), "it did not end by itself")
	target.Inject(nil)
	c.call("bdev_get_bdevs", nil)
}
