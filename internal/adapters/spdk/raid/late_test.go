package raid_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/freezer"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/ports"
)

// joining is a volume on upstream, and a destination that can join it in a freeze.
func joining(t *testing.T) (home *targettest.Target, v *volume, b *rebuilt) {
	t.Helper()
	fabric := simtarget.NewFabric()
	home = targettest.Simulate(t, fabric, simtarget.Upstream)
	v = newVolume(t, home)
	b = prepare(t, v, openStore(t, targettest.Simulate(t, fabric, simtarget.Upstream)))
	return home, v, b
}

// TestFreezeEndsInRemake has a freeze end while there is no RAID: clients go on when there is one.
func TestFreezeEndsInRemake(t *testing.T) {
	t.Parallel()
	home, v, b := joining(t)
	freeze, end := context.WithCancel(t.Context())
	defer end()
	thawing := make(chan struct{})
	var once sync.Once
	var there, early atomic.Bool
	var later atomic.Int32 // tries to make the RAID after the thaw has begun
	home.Simulated().Inject(func(r simtarget.Request) simtarget.Fault {
		switch r.Method {
		case "bdev_raid_create":
			end()
			select {
			case <-thawing:
				there.Store(later.Add(1) == 4)
			default:
			}
			if !there.Load() {
				return simtarget.Fault{Refuse: &simtarget.Error{Code: -32603, Message: "Out of memory"}}
			}
		case "nvmf_subsystem_listener_set_ana_state":
			if freeze.Err() != nil && !there.Load() {
				early.Store(true)
			}
		}
		return simtarget.Fault{}
	})
	resume := func(ctx context.Context) error {
		once.Do(func() { close(thawing) })
		return v.Resume(ctx)
	}
	err := freezer.Func(v.Suspend, resume).Freeze(freeze, time.Minute, func(ctx context.Context) error {
		b.graft(t, v)
		_, err := v.Join(ctx, b.run, b.way)
		return err
	})
	require.ErrorIs(t, err, ports.ErrThawed)
	require.True(t, there.Load())
	require.False(t, early.Load(), "clients went on without a RAID")
	v.write(t, 0, cluster)
	v.reads(t)
	noNote(t, home)
}

// TestTooLateForRemake has so little of a freeze left that the RAID is not deleted in it.
func TestTooLateForRemake(t *testing.T) {
	t.Parallel()
	home, v, b := joining(t)
	b.graft(t, v)
	var deleted atomic.Bool
	home.Simulated().Inject(func(r simtarget.Request) simtarget.Fault {
		if r.Method == "bdev_raid_delete" {
			deleted.Store(true)
		}
		return simtarget.Fault{}
	})
	late, end := context.WithTimeout(t.Context(), 400*time.Millisecond)
	defer end()
	_, err := v.Join(late, b.run, b.way)
	require.ErrorIs(t, err, ports.ErrUnavailable)
	require.False(t, deleted.Load())
	v.reads(t)
	noNote(t, home)
}

// TestFreezeEndsInGrow has a RAID of the Longhorn branch grow by a head whose target has died, with
// an answer that is lost or later than the freeze. The RAID keeps a head that it could not read,
// until the freeze of the same call or the one that undoes the cut.
func TestFreezeEndsInGrow(t *testing.T) {
	t.Parallel()
	for name, late := range map[string]bool{"answer lost": false, "freeze over": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fabric := simtarget.NewFabric()
			home, to := targettest.Simulate(t, fabric, simtarget.Fork), targettest.Simulate(t, fabric, simtarget.Fork)
			v := newVolume(t, home)
			b := prepare(t, v, openStore(t, to))
			b.graft(t, v)
			to.Kill(t)
			freeze, end := context.WithCancel(t.Context())
			defer end()
			home.Simulated().Inject(func(r simtarget.Request) simtarget.Fault {
				switch {
				case r.Method != "bdev_raid_grow_base_bdev":
				case late:
					end()
				default:
					return simtarget.Fault{After: simtarget.Close}
				}
				return simtarget.Fault{}
			})
			err := freezer.Func(v.Suspend, v.Resume).Freeze(freeze, time.Minute, func(ctx context.Context) error {
				_, err := v.Join(ctx, b.run, b.way)
				return err
			})
			require.Error(t, err)
			if late {
				require.Eventually(t, func() bool { return keepsUnread(t, home) }, time.Minute, time.Millisecond)
				err := freezer.Func(v.Suspend, v.Resume).Freeze(t.Context(), time.Minute, func(ctx context.Context) error {
					return v.Leave(ctx, b.head)
				})
				require.NoError(t, err)
			}
			require.False(t, keepsUnread(t, home))
			v.write(t, 0, cluster)
			v.reads(t)
			to.Restart(t)
			require.NoError(t, v.Release(t.Context(), b.run))
			noNote(t, home)
		})
	}
}

// keepsUnread reports whether a RAID keeps a base that it does not use.
func keepsUnread(t *testing.T, home *targettest.Target) bool {
	t.Helper()
	var raids []rpc.RAID
	home.Call(t, "bdev_raid_get_bdevs", map[string]any{"category": "all"}, &raids)
	return slices.ContainsFunc(raids, func(r rpc.RAID) bool {
		return slices.ContainsFunc(r.Bases, func(b rpc.RAIDBase) bool { return b.Name != "" && !b.Configured })
	})
}
