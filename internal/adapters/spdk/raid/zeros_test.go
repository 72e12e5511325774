package raid_test

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/raid"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/ports"
	"github.com/rootgraft/rebuild/internal/randid"
)

// endAt closes the connection once instead of carrying a method out.
func endAt(target *targettest.Target, method string, ended *atomic.Bool) {
	target.Simulated().Inject(func(r simtarget.Request) simtarget.Fault {
		if r.Method == method && ended.CompareAndSwap(false, true) {
			return simtarget.Fault{Before: simtarget.Close}
		}
		return simtarget.Fault{}
	})
}

// single is a volume of one member on upstream, and a destination that is about to join it.
func single(t *testing.T) (f *fixture, v *volume, name string) {
	t.Helper()
	fabric := simtarget.NewFabric()
	f = &fixture{home: targettest.Simulate(t, fabric, simtarget.Upstream), to: targettest.Simulate(t, fabric, simtarget.Upstream)}
	v = newVolume(t, f.home)
	require.NoError(t, v.Leave(t.Context(), v.heads[1]))
	v.hosts, v.heads = v.hosts[:1], v.heads[:1]
	_, all := v.members(t)
	v.Mirror = openMirror(t, f.home, all.Name)
	return f, v, all.Name
}

// withoutZeros expects that clients never read the zeros that were a base, whatever base is read.
func (v *volume) withoutZeros(t *testing.T, home *targettest.Target) {
	t.Helper()
	for range 4 {
		v.reads(t)
	}
	whole, all := v.members(t)
	require.Equal(t, v.heads, whole)
	require.Len(t, all.Members, 1)
	require.ErrorIs(t, v.Leave(t.Context(), v.heads[0]), ports.ErrInvalid, "it is the last member")
	noNote(t, home)
}

func TestZerosLeaveAfterLostAnswer(t *testing.T) {
	t.Parallel()
	f, v, _ := single(t)
	b := prepare(t, v, openStore(t, f.to))
	b.graft(t, v)
	var refused, ended atomic.Bool
	f.home.Simulated().Inject(func(r simtarget.Request) simtarget.Fault {
		switch {
		case r.Method == "bdev_raid_create" && refused.CompareAndSwap(false, true):
			return simtarget.Fault{Refuse: &simtarget.Error{Code: -32603, Message: "Out of memory"}}
		case r.Method == "bdev_null_delete" && ended.CompareAndSwap(false, true):
			return simtarget.Fault{Before: simtarget.Close}
		}
		return simtarget.Fault{}
	})
	_, err := v.Join(t.Context(), b.run, b.way)
	require.ErrorContains(t, err, "Out of memory")
	require.True(t, ended.Load())
	v.withoutZeros(t, f.home)
}

func TestZerosLeaveAfterKilledProcesses(t *testing.T) {
	t.Parallel()
	f, v, name := single(t)
	var first, second atomic.Bool
	var err error
	v.Mirror, err = raid.OpenMirror(t.Context(), mortal(t, f.home, name, &first))
	require.NoError(t, err)
	b := prepare(t, v, openStore(t, f.to))
	b.graft(t, v)
	endAt(f.home, "bdev_raid_create", &first) // there is no RAID
	_, err = v.Join(t.Context(), b.run, b.way)
	require.ErrorIs(t, err, ports.ErrUnavailable)
	endAt(f.home, "bdev_null_delete", &second) // it is there, with the zeros
	_, err = raid.OpenMirror(t.Context(), mortal(t, f.home, name, &second))
	require.ErrorIs(t, err, ports.ErrUnavailable)
	v.Mirror = openMirror(t, f.home, name)
	v.withoutZeros(t, f.home)
}

func TestZerosLeaveMadeVolume(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	home := targettest.Simulate(t, simtarget.NewFabric(), simtarget.Upstream)
	h := openStore(t, home)
	run := ports.Run{Replica: "vol-1-r-0a0a0a0a", ID: randid.Hex(4)}
	head, err := h.Create(ctx, run.Replica, clusters*cluster)
	require.NoError(t, err)
	var ended atomic.Bool
	config := mortal(t, home, "made", &ended)
	config.New = true
	m, err := raid.OpenMirror(ctx, config)
	require.NoError(t, err)
	require.NoError(t, m.Begin(ctx, head))
	peer, err := m.Peer(ctx)
	require.NoError(t, err)
	way, err := h.Offer(ctx, run, ports.Way{ID: randid.Hex(4), Head: run.Replica}, peer)
	require.NoError(t, err)
	require.NoError(t, h.Show(ctx, run, way, head))
	require.NoError(t, m.Connect(ctx, run, way))
	endAt(home, "bdev_null_delete", &ended)
	require.ErrorIs(t, m.Make(ctx, way), ports.ErrUnavailable)

	next := &volume{Mirror: openMirror(t, home, "made")}
	whole, all := next.members(t)
	require.Equal(t, []string{head}, whole)
	require.Len(t, all.Members, 1)
	require.ErrorIs(t, next.Leave(ctx, head), ports.ErrInvalid)
	noNote(t, home)
}
