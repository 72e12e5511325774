package memory_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/ports"
)

// The locks of a call, as measured on targets.
func TestLocks(t *testing.T) {
	// lvols: a and b are snapshots of the same size; head has no parent.
	type lvols struct{ a, b, head, filling string }
	seal := func(h *memory.Host, uuid, name string) error {
		_, err := h.Seal(context.Background(), uuid, name, ports.SealRecord{})
		return err
	}
	clone := func(h *memory.Host, uuid, name string) error {
		_, err := h.Clone(context.Background(), uuid, name, 2*kib4, "")
		return err
	}
	graft := func(h *memory.Host, uuid, parent string) error {
		return h.Graft(context.Background(), uuid, parent)
	}
	for name, c := range map[string]struct {
		slow   string
		first  func(h *memory.Host, l lvols) error
		second func(h *memory.Host, l lvols) error
		want   error
	}{
		"two grafts onto one parent": {
			"graft",
			func(h *memory.Host, l lvols) error { return graft(h, l.head, l.a) },
			func(h *memory.Host, l lvols) error { return graft(h, l.filling, l.a) },
			ports.ErrBusy,
		},
		"two grafts onto different parents": {
			"graft",
			func(h *memory.Host, l lvols) error { return graft(h, l.head, l.a) },
			func(h *memory.Host, l lvols) error { return graft(h, l.filling, l.b) },
			nil,
		},
		"two grafts of one lvol": {
			"graft",
			func(h *memory.Host, l lvols) error { return graft(h, l.head, l.a) },
			func(h *memory.Host, l lvols) error { return graft(h, l.head, l.b) },
			ports.ErrBusy,
		},
		"two clones of one snapshot": {
			"clone",
			func(h *memory.Host, l lvols) error { return clone(h, l.a, "c1") },
			func(h *memory.Host, l lvols) error { return clone(h, l.a, "c2") },
			ports.ErrBusy,
		},
		"a clone beside a graft onto the same snapshot": {
			"graft",
			func(h *memory.Host, l lvols) error { return graft(h, l.head, l.a) },
			func(h *memory.Host, l lvols) error { return clone(h, l.a, "c") },
			ports.ErrBusy,
		},
		"a delete of what something is being hung on": {
			"graft",
			func(h *memory.Host, l lvols) error { return graft(h, l.head, l.a) },
			func(h *memory.Host, l lvols) error { return h.Delete(context.Background(), l.a) },
			ports.ErrBusy,
		},
		"a seal beside the graft of the same lvol": {
			"graft",
			func(h *memory.Host, l lvols) error { return graft(h, l.filling, l.a) },
			func(h *memory.Host, l lvols) error { return seal(h, l.filling, "s") },
			ports.ErrBusy,
		},
		"two seals": {
			"seal",
			func(h *memory.Host, l lvols) error { return seal(h, l.filling, "s1") },
			func(h *memory.Host, l lvols) error { return seal(h, l.head, "s2") },
			nil,
		},
		"two seals under one name": {
			"seal",
			func(h *memory.Host, l lvols) error { return seal(h, l.filling, "s") },
			func(h *memory.Host, l lvols) error { return seal(h, l.head, "s") },
			ports.ErrExists,
		},
		"a resize beside a seal": {
			"seal",
			func(h *memory.Host, l lvols) error { return seal(h, l.filling, "s") },
			func(h *memory.Host, l lvols) error { return h.Resize(l.filling, kib4) },
			ports.ErrBusy,
		},
		"a look beside a graft": {
			"graft",
			func(h *memory.Host, l lvols) error { return graft(h, l.head, l.a) },
			func(h *memory.Host, l lvols) error { _, err := h.Look(context.Background(), l.head); return err },
			nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := oneHost()
				l := lvols{
					a:       snapshot(t, h, "a", 2, 1, 0),
					b:       snapshot(t, h, "b", 2, 2, 1),
					head:    create(t, h, "head", 2),
					filling: create(t, h, "filling", 2),
				}
				h.Inject(slow(c.slow))
				first := make(chan error, 1)
				go func() { first <- c.first(h, l) }()
				synctest.Wait()
				h.Inject(nil)
				begun := time.Now()
				require.ErrorIs(t, c.second(h, l), c.want)
				require.Zero(t, time.Since(begun), "nothing queues")
				require.NoError(t, <-first)
				require.Equal(t, time.Second, time.Since(begun))
				require.Equal(t, l.a, look(t, h, l.a).UUID, "still listed")
			})
		})
	}
}

func TestCopyLocksSourceOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from, to := twoHosts()
		a := snapshot(t, from, "a", 4, 1, 0, 1, 2, 3)
		l := create(t, to, "filling", 4)
		address := receive(t, to, l, from)
		other := receive(t, to, create(t, to, "other", 4), from)
		parent := snapshot(t, to, "parent", 4, 2)
		from.Inject(slow("copy"))
		copied := make(chan error, 1)
		go func() { copied <- from.Copy(t.Context(), run, a, address, nil) }()
		synctest.Wait()
		_, err := from.Clone(t.Context(), a, "clone", 4*kib4, "")
		require.ErrorIs(t, err, ports.ErrBusy)
		require.ErrorIs(t, from.Copy(t.Context(), run, a, other, nil), ports.ErrBusy)
		head := create(t, from, "head", 4)
		require.ErrorIs(t, from.Graft(t.Context(), head, a), ports.ErrBusy)
		require.NoError(t, to.Graft(t.Context(), l, parent))
		require.NoError(t, <-copied)
		require.NoError(t, from.Graft(t.Context(), head, a))
		require.EqualValues(t, 4, look(t, to, l).Own.Count)
	})
}

// Deleting an lvol that is being copied, grafted or sealed returns busy, and yet hides
// it until a restart. Never delete an lvol that is being copied.
func TestBusyDeleteHidesLvolUntilRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from, to := twoHosts()
		a := snapshot(t, from, "a", 2, 1, 0, 1)
		l := create(t, to, "filling", 2)
		address := receive(t, to, l, from)
		from.Inject(slow("copy"))
		copied := make(chan error, 1)
		go func() { copied <- from.Copy(t.Context(), run, a, address, nil) }()
		synctest.Wait()
		free := freeClusters(t, from)
		require.ErrorIs(t, from.Delete(t.Context(), a), ports.ErrBusy)
		require.Empty(t, names(t, from))
		require.ErrorIs(t, from.Delete(t.Context(), a), ports.ErrNotFound)
		require.Equal(t, free, freeClusters(t, from), "its clusters are still taken")
		require.NoError(t, <-copied, "the copy goes on")
		require.Empty(t, names(t, from))
		from.Restart()
		require.Equal(t, []string{"a"}, names(t, from))
		require.Equal(t, a, look(t, from, a).UUID)
		require.NoError(t, from.Delete(t.Context(), a))
		require.Equal(t, free+2, freeClusters(t, from))
	})
}

func TestHiddenLvolWithTakenNameStaysHidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := oneHost()
		a := snapshot(t, h, "a", 2, 1, 0)
		l := create(t, h, "filling", 2)
		h.Inject(slow("graft"))
		grafted := make(chan error, 1)
		go func() { grafted <- h.Graft(t.Context(), l, a) }()
		synctest.Wait()
		h.Inject(nil)
		require.ErrorIs(t, h.Delete(t.Context(), l), ports.ErrBusy)
		require.NoError(t, <-grafted)
		create(t, h, "filling", 1)
		h.Restart()
		require.Equal(t, []string{"a", "filling"}, names(t, h))
		require.ErrorIs(t, h.Delete(t.Context(), a), ports.ErrInvalid, "the hidden one hangs on it")
	})
}

func TestRunningDeleteIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := oneHost()
		l := create(t, h, "filling", 2)
		h.Inject(slow("delete"))
		deleted := make(chan error, 1)
		go func() { deleted <- h.Delete(t.Context(), l) }()
		synctest.Wait()
		require.ErrorIs(t, h.Delete(t.Context(), l), ports.ErrBusy)
		create(t, h, "filling", 1)
		require.NoError(t, <-deleted)
		_, err := h.Create(t.Context(), "filling", kib4)
		require.ErrorIs(t, err, ports.ErrExists, "the name is the new one's")
		h.Restart()
		require.Equal(t, []string{"filling"}, names(t, h), "the old one is deleted for good")
	})
}

func TestSealOfDeletedLvolFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := oneHost()
		l := create(t, h, "filling", 2)
		h.Inject(slow("seal"))
		sealed := make(chan error, 1)
		go func() {
			_, err := h.Seal(t.Context(), l, "s", ports.SealRecord{})
			sealed <- err
		}()
		synctest.Wait()
		require.ErrorIs(t, h.Delete(t.Context(), l), ports.ErrBusy)
		require.ErrorIs(t, <-sealed, ports.ErrNotFound)
		require.Empty(t, names(t, h))
	})
}

func freeClusters(t *testing.T, h *memory.Host) uint64 {
	t.Helper()
	store, err := h.List(t.Context())
	require.NoError(t, err)
	return store.FreeClusters
}
