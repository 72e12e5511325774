package memory_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/ports"
)

var errTorn = errors.New("wire torn")

// always injects the fault into every call of the method.
func always(method string, fault memory.Fault) func(memory.Call) memory.Fault {
	return func(c memory.Call) memory.Fault {
		if c.Method == method {
			return fault
		}
		return memory.Fault{}
	}
}

func TestFaultBeforeDoesNothing(t *testing.T) {
	h := oneHost()
	l := create(t, h, "filling", 2)
	h.Inject(always("seal", memory.Fault{Before: errTorn}))
	_, err := h.Seal(t.Context(), l, "s", ports.SealRecord{})
	require.ErrorIs(t, err, errTorn)
	require.EqualError(t, err, "memory host disk-1: seal filling as s: wire torn")
	require.Equal(t, []string{"filling"}, names(t, h))
	h.Inject(nil)
	_, err = h.Seal(t.Context(), l, "s", ports.SealRecord{})
	require.NoError(t, err)
}

func TestFaultAfterLosesAnswer(t *testing.T) {
	from, to := twoHosts()
	from.Inject(func(memory.Call) memory.Fault { return memory.Fault{After: errTorn} })
	uuid, err := from.Create(t.Context(), "filling", 2*kib4)
	require.ErrorIs(t, err, errTorn)
	require.Empty(t, uuid)
	from.Inject(nil)
	require.Equal(t, []string{"filling"}, names(t, from))

	a := snapshot(t, from, "a", 2, 1, 0)
	l := create(t, to, "filling", 2)
	address := receive(t, to, l, from)
	from.Inject(always("copy", memory.Fault{After: errTorn}))
	require.ErrorIs(t, from.Copy(t.Context(), run, a, address, nil), errTorn)
	require.EqualValues(t, 1, look(t, to, l).Own.Count)
}

func TestFaultDuringCopy(t *testing.T) {
	for _, after := range []uint64{0, 1, 2, 3} {
		from, to := twoHosts()
		a := snapshot(t, from, "a", 4, 1, 0, 2, 3)
		l := create(t, to, "filling", 4)
		from.Inject(always("copy", memory.Fault{Before: errTorn, AfterClusters: after}))
		require.ErrorIs(t, from.Copy(t.Context(), run, a, receive(t, to, l, from), nil), errTorn)
		require.Equal(t, after, look(t, to, l).Own.Count)
		require.Equal(t, after*kib4, from.Sent())
		require.Equal(t, after*kib4, to.Received())
		require.Zero(t, from.CopiedLocally())
	}
}

func TestInjectSeesMethodCountAndName(t *testing.T) {
	h := oneHost()
	a := snapshot(t, h, "a", 2, 1, 0)
	var calls []memory.Call
	h.Inject(func(c memory.Call) memory.Fault {
		calls = append(calls, c)
		return memory.Fault{}
	})
	l := create(t, h, "filling", 2)
	require.NoError(t, h.Graft(t.Context(), l, a))
	clone, err := h.Clone(t.Context(), a, "head", 2*kib4, "")
	require.NoError(t, err)
	_, err = h.Snapshot(t.Context(), clone, "b", morning)
	require.NoError(t, err)
	_, err = h.Seal(t.Context(), l, "s", ports.SealRecord{})
	require.NoError(t, err)
	require.NoError(t, h.Delete(t.Context(), clone))
	require.NoError(t, h.Release(t.Context(), run))
	require.Error(t, h.Delete(t.Context(), "nobody"))
	require.Equal(t, []memory.Call{
		{Method: "create", N: 2, Name: "filling"},
		{Method: "graft", N: 1, Name: "filling", UUID: l},
		{Method: "clone", N: 1, Name: "head", UUID: a},
		{Method: "snapshot", N: 1, Name: "b", UUID: clone},
		{Method: "seal", N: 2, Name: "s", UUID: l},
		{Method: "delete", N: 1, Name: "head", UUID: clone},
		{Method: "release", N: 1},
		{Method: "delete", N: 2, UUID: "nobody"},
	}, calls)
}

func TestInjectMayCallHostAndCancel(t *testing.T) {
	h := oneHost()
	ctx, cancel := context.WithCancel(t.Context())
	h.Inject(func(c memory.Call) memory.Fault {
		if c.Method == "create" {
			names(t, h)
			cancel()
		}
		return memory.Fault{}
	})
	_, err := h.Create(ctx, "filling", kib4)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, ports.ErrUnavailable)
	require.Empty(t, names(t, h))
}

func TestDelayEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from, to := twoHosts()
		a := snapshot(t, from, "a", 4, 1, 0, 1, 2, 3)
		l := create(t, to, "filling", 4)
		address := receive(t, to, l, from)
		from.Inject(func(memory.Call) memory.Fault { return memory.Fault{Delay: time.Minute} })

		begun := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := from.Create(ctx, "other", kib4)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, ports.ErrUnavailable)
		require.Equal(t, time.Second, time.Since(begun))

		// 15 s per cluster: two are written after 40 s.
		ctx, cancel = context.WithTimeout(t.Context(), 40*time.Second)
		defer cancel()
		require.ErrorIs(t, from.Copy(ctx, run, a, address, nil), context.DeadlineExceeded)
		require.EqualValues(t, 2, look(t, to, l).Own.Count)

		from.Inject(nil)
		require.Equal(t, []string{"a"}, names(t, from), "the name is not taken")
		create(t, from, "other", 1)
		require.NoError(t, from.Copy(t.Context(), run, a, address, nil), "the source is free")
	})
}

func TestDelayedFaultHoldsLocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := oneHost()
		a := snapshot(t, h, "a", 2, 1, 0)
		l := create(t, h, "filling", 2)
		h.Inject(always("graft", memory.Fault{Delay: time.Second, Before: errTorn}))
		grafted := make(chan error, 1)
		go func() { grafted <- h.Graft(t.Context(), l, a) }()
		synctest.Wait()
		h.Inject(nil)
		require.ErrorIs(t, h.Graft(t.Context(), l, a), ports.ErrBusy)
		require.ErrorIs(t, <-grafted, errTorn)
		require.Empty(t, look(t, h, l).Parent)
		require.NoError(t, h.Graft(t.Context(), l, a))
	})
}

// A target that crashes at a call restarts at once with its state: that before the
// call, or after it.
func TestRestartFault(t *testing.T) {
	for name, c := range map[string]struct {
		fault memory.Fault
		left  []string
	}{
		"before it": {memory.Fault{Before: errTorn, Restart: true}, []string{"filling"}},
		"after it":  {memory.Fault{After: errTorn, Restart: true}, []string{"filling", "other"}},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := twoHosts()
			address := receive(t, to, create(t, to, "filling", 2), from)
			to.Inject(always("create", c.fault))
			_, err := to.Create(t.Context(), "other", kib4)
			require.ErrorIs(t, err, errTorn)
			to.Inject(nil)
			require.Equal(t, c.left, names(t, to))
			a := snapshot(t, from, "a", 2, 1, 0)
			require.ErrorIs(t, from.Copy(t.Context(), run, a, address, nil), ports.ErrUnavailable, "the address is void")
		})
	}
	h := oneHost()
	h.Inject(always("create", memory.Fault{Restart: true}))
	_, err := h.Create(t.Context(), "other", kib4)
	require.ErrorIs(t, err, ports.ErrUnavailable)
	h.Inject(nil)
	require.Equal(t, []string{"other"}, names(t, h))
}

func TestSpoiledCopyReportsSuccess(t *testing.T) {
	for name, c := range map[string]struct {
		spoil memory.Spoil
		own   []int
		left  []uint64
		bytes map[uint64]byte // the first one of a cluster
	}{
		"other bytes":                    {memory.SpoilBytes, []int{0, 2}, []uint64{0, 2}, map[uint64]byte{0: 1, 2: 3 ^ 0x55}},
		"another place":                  {memory.SpoilPlace, []int{0, 2}, []uint64{0, 1}, map[uint64]byte{0: 1, 1: 3}},
		"another place, and none free":   {memory.SpoilPlace, []int{0, 1, 2, 3}, []uint64{0, 1, 2, 3}, map[uint64]byte{3: 4}},
		"one too few":                    {memory.SpoilLess, []int{0, 2}, []uint64{0}, map[uint64]byte{0: 1}},
		"one too many":                   {memory.SpoilMore, []int{0, 2}, []uint64{0, 1, 2}, map[uint64]byte{1: 0}},
		"one too many of none":           {memory.SpoilMore, nil, []uint64{0}, map[uint64]byte{0: 0}},
		"one too few of none":            {memory.SpoilLess, nil, nil, nil},
		"one too many, and none is free": {memory.SpoilMore, []int{0, 1, 2, 3}, []uint64{0, 1, 2, 3}, map[uint64]byte{3: 4}},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := twoHosts()
			filling := create(t, from, "a-filling", 4)
			for _, i := range c.own {
				p := make([]byte, kib4)
				p[0] = byte(i + 1)
				require.NoError(t, from.WriteAt(filling, p, uint64(i)*kib4))
			}
			a, err := from.Seal(t.Context(), filling, "a", ports.SealRecord{})
			require.NoError(t, err)
			l := create(t, to, "filling", 4)
			from.Inject(always("copy", memory.Fault{Spoil: c.spoil}))
			require.NoError(t, from.Copy(t.Context(), run, a, receive(t, to, l, from), nil))
			own, err := to.OwnClusters(l)
			require.NoError(t, err)
			require.ElementsMatch(t, c.left, own)
			for at, b := range c.bytes {
				p := make([]byte, 1)
				require.NoError(t, to.ReadAt(l, p, at*kib4))
				require.Equal(t, b, p[0], "cluster %d", at)
			}
			source, err := from.OwnClusters(a)
			require.NoError(t, err)
			require.Len(t, source, len(c.own), "the snapshot is as it was")
		})
	}
}

// Copies go on after their engine crashes, including one that it was about to start;
// their callers get an error at once.
func TestOrphanedCopyGoesOn(t *testing.T) {
	for name, orphan := range map[string]func(from *memory.Host) memory.Fault{
		"that watched it":   func(*memory.Host) memory.Fault { return memory.Fault{Delay: 4 * time.Second} },
		"that had begun it": func(*memory.Host) memory.Fault { return memory.Fault{Delay: 4 * time.Second, Unwatched: true} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				from, to := twoHosts()
				a := snapshot(t, from, "a", 4, 1, 0, 1, 2, 3)
				l := create(t, to, "filling", 4)
				address := receive(t, to, l, from)
				from.Inject(always("copy", orphan(from)))
				ctx, cancel := context.WithCancel(t.Context())
				begun := time.Now()
				told := make(chan error, 1)
				late := false
				go func() {
					told <- from.Copy(ctx, run, a, address, func(done, _ uint64) { late = late || done > 0 })
				}()
				synctest.Wait()
				from.Orphan()
				require.ErrorIs(t, <-told, ports.ErrUnavailable)
				require.Zero(t, time.Since(begun))
				cancel()
				from.Inject(nil)
				require.ErrorIs(t, from.Copy(t.Context(), run, a, address, nil), ports.ErrBusy, "it goes on")
				time.Sleep(3500 * time.Millisecond)
				require.EqualValues(t, 3, look(t, to, l).Own.Count)
				time.Sleep(time.Second)
				require.EqualValues(t, 4, look(t, to, l).Own.Count)
				require.False(t, late, "nobody is told of its progress")
				require.NoError(t, from.Copy(t.Context(), run, a, address, nil), "it is over")
			})
		})
	}
}
