package raid_test

import (
	"context"
	"net"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/raid"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/ports"
)

// changing are the calls of a Join that change something.
var changing = map[simtarget.Flavour][]string{
	simtarget.Fork: {"bdev_raid_grow_base_bdev"},
	simtarget.Upstream: {
		"bdev_null_create", "nvmf_subsystem_remove_ns", "bdev_raid_delete", "bdev_raid_create",
		"nvmf_subsystem_add_ns", "bdev_null_delete",
	},
}

// eachChange plays a test for each of these calls, which ends the connection before or after
// it takes effect.
func eachChange(t *testing.T, not map[string]bool, play func(t *testing.T, f *fixture, arm func(), ended *atomic.Bool)) {
	t.Parallel()
	for flavour, methods := range changing {
		for _, method := range methods {
			for when, fault := range map[string]simtarget.Fault{"before": {Before: simtarget.Close}, "after": {After: simtarget.Close}} {
				name := when + " " + method
				if not[name] {
					continue
				}
				t.Run(flavour.String()+" "+name, func(t *testing.T) {
					t.Parallel()
					fabric := simtarget.NewFabric()
					f := &fixture{home: targettest.Simulate(t, fabric, flavour), to: targettest.Simulate(t, fabric, flavour)}
					var ended atomic.Bool
					play(t, f, func() {
						f.home.Simulated().Inject(func(r simtarget.Request) simtarget.Fault {
							if r.Method == method && ended.CompareAndSwap(false, true) {
								return fault
							}
							return simtarget.Fault{}
						})
					}, &ended)
				})
			}
		}
	}
}

func TestJoinWithLostAnswer(t *testing.T) {
	eachChange(t, nil, func(t *testing.T, f *fixture, arm func(), ended *atomic.Bool) {
		v := newVolume(t, f.home)
		b := prepare(t, v, openStore(t, f.to))
		b.graft(t, v)
		arm()
		member, err := v.Join(t.Context(), b.run, b.way)
		require.True(t, ended.Load())
		v.write(t, cluster, cluster)
		v.reads(t)
		whole, all := v.members(t)
		if err == nil {
			require.Contains(t, whole, b.head)
			require.Equal(t, b.head, member.Head)
		} else {
			require.ErrorIs(t, err, ports.ErrUnavailable)
			require.Error(t, all.CheckUnbroken(member))
		}
		require.Subset(t, whole, v.heads)
		b.end(t, v)
		v.write(t, 0, cluster)
		v.reads(t)
		noNote(t, f.home)
	})
}

// sharesWrite are calls that never arrive without those of the same write.
var sharesWrite = map[string]bool{"before bdev_null_create": true, "before nvmf_subsystem_add_ns": true}

func TestJoinOfKilledProcess(t *testing.T) {
	eachChange(t, sharesWrite, func(t *testing.T, f *fixture, arm func(), ended *atomic.Bool) {
		v := newVolume(t, f.home)
		_, all := v.members(t)
		healthy := v.Mirror
		var err error
		v.Mirror, err = raid.OpenMirror(t.Context(), mortal(t, f.home, all.Name, ended))
		require.NoError(t, err)
		b := prepare(t, v, openStore(t, f.to))
		b.graft(t, v)
		arm()
		_, err = v.Join(t.Context(), b.run, b.way)
		require.ErrorIs(t, err, ports.ErrUnavailable)

		v.Mirror = openMirror(t, f.home, all.Name)
		v.write(t, 0, cluster)
		v.reads(t)
		whole, _ := v.members(t)
		require.Subset(t, whole, v.heads)
		b.end(t, v)
		require.NoError(t, healthy.Close())
		noNote(t, f.home)

		next := prepare(t, v, openStore(t, f.to))
		next.cut(t, v)
		v.write(t, cluster, cluster)
		next.end(t, v)
		v.reads(t)
	})
}

// mortal is the configuration of a process that reaches its target until it has ended.
func mortal(t *testing.T, target *targettest.Target, name string, ended *atomic.Bool) raid.MirrorConfig {
	return raid.MirrorConfig{
		Socket: target.Socket, RAID: name, Logger: zaptest.NewLogger(t),
		Dial: func(ctx context.Context, socket string) (net.Conn, error) {
			if ended.Load() {
				return nil, syscall.ECONNREFUSED
			}
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
	}
}

// noNote expects that the target has no helper bdev any more.
func noNote(t *testing.T, target *targettest.Target) {
	t.Helper()
	var bdevs []struct {
		Product string `json:"product_name"`
	}
	target.Call(t, "bdev_get_bdevs", nil, &bdevs)
	for _, b := range bdevs {
		require.NotEqual(t, "Null disk", b.Product)
	}
}
