package porttest

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/ports"
)

var atOnceTests = []test{
	alone("lvols are created concurrently, and one name is given once", func(t *testing.T, h *subject) {
		const n = 8
		errs := inParallel(n, func(i int) error {
			_, err := h.Create(h.ctx, inFlight(i), h.bytes(1))
			return err
		})
		for _, err := range errs {
			require.NoError(t, err)
		}
		require.Len(t, h.names(), n)

		worked := 0
		for _, err := range inParallel(n, func(int) error {
			_, err := h.Create(h.ctx, replica, h.bytes(1))
			return err
		}) {
			if err == nil {
				worked++
				continue
			}
			require.ErrorIs(t, err, ports.ErrExists)
		}
		require.Equal(t, 1, worked)
		require.Len(t, h.names(), n+1)
	}),
	alone("concurrent grafts onto one parent work, or are busy and work later", func(t *testing.T, h *subject) {
		for _, clusters := range []uint64{2, 3} { // of the parent's size, and longer
			image := h.snapshotOf(snapshotNamed(fmt.Sprint("base", clusters)), 2, 9, 0, 1)
			var lvols []string
			for i := range 3 {
				l := h.create(inFlight(int(clusters)*10+i), clusters)
				h.fill(l, byte(i+1), 0)
				lvols = append(lvols, l)
			}
			for i, err := range inParallel(len(lvols), func(i int) error { return h.Graft(h.ctx, lvols[i], image) }) {
				if err != nil {
					require.ErrorIs(t, err, ports.ErrBusy)
					h.eventually(func() error { return h.Graft(h.ctx, lvols[i], image) })
				}
			}
			for i, l := range lvols {
				require.Equal(t, image, h.look(l).Parent)
				want := []byte{byte(i + 1), 9, 0}
				h.reads(l, want[:clusters]...)
			}
		}
	}),
	alone("concurrent clones of one snapshot work, or are busy and work later", func(t *testing.T, h *subject) {
		a := h.snapshotOf(snapshotNamed("a"), 2, 1, 0)
		for i, err := range inParallel(3, func(i int) error {
			_, err := h.Clone(h.ctx, a, fmt.Sprint("vol-", i), h.bytes(uint64(2+i)), "base")
			return err
		}) {
			if err != nil {
				require.ErrorIs(t, err, ports.ErrBusy)
				h.eventually(func() error {
					_, err := h.Clone(h.ctx, a, fmt.Sprint("vol-", i), h.bytes(uint64(2+i)), "base")
					return err
				})
			}
		}
		require.Equal(t, []string{"vol-0", "vol-1", "vol-1-r-4e5f6a7b-snap-a", "vol-2"}, h.names())
		for _, l := range h.list().Lvols {
			if l.UUID != a {
				require.Equal(t, a, l.Parent)
				require.Equal(t, h.record("base"), l.Record)
			}
		}
	}),
	alone("several lvols are sealed concurrently", func(t *testing.T, h *subject) {
		const n = 6
		var lvols []string
		for i := range n {
			l := h.create(inFlight(i), 2)
			h.fill(l, byte(i+1), 1)
			lvols = append(lvols, l)
		}
		sealed := make([]string, n)
		for _, err := range inParallel(n, func(i int) error {
			return untilFree(h.ctx, func() (err error) {
				sealed[i], err = h.Seal(h.ctx, lvols[i], snapshotNamed(fmt.Sprint("s", i)), ports.SealRecord{Attributes: morning})
				return err
			})
		}) {
			require.NoError(t, err)
		}
		require.Len(t, h.names(), n)
		for i, uuid := range sealed {
			require.Equal(t, snapshotNamed(fmt.Sprint("s", i)), h.look(uuid).Name)
			h.reads(uuid, 0, byte(i+1))
		}
	}),
	between("several snapshots are copied concurrently", func(t *testing.T, from, to *subject) {
		const n = 4
		var snapshots, lvols []string
		for i := range n {
			snapshots = append(snapshots, from.snapshotOf(snapshotNamed(fmt.Sprint("s", i)), 4, byte(i+1), 0, 1, 3))
			lvols = append(lvols, to.create(inFlight(i), 4))
		}
		for _, err := range inParallel(n, func(i int) error { return from.copy(from.ctx, snapshots[i], to, lvols[i], nil) }) {
			require.NoError(t, err, "copies of different snapshots are not in each other's way")
		}
		for i, l := range lvols {
			seed := byte(i + 1)
			to.reads(l, seed, seed, 0, seed)
		}
	}),
	between("two copies of one snapshot work, or one is busy and works later", func(t *testing.T, from, to *subject) {
		const clusters = 8
		a := from.snapshotOf(snapshotNamed("a"), clusters, 1, upTo(clusters)...)
		lvols := []string{to.create(inFlight(1), clusters), to.create(inFlight(2), clusters)}
		addresses := []ports.Address{to.receive(lvols[0], from), to.receive(lvols[1], from)}
		send := func(i int) error { return from.Copy(from.ctx, run, a, addresses[i], ignore) }
		errs := inParallel(2, send)
		require.False(t, errs[0] != nil && errs[1] != nil, "one has to work: %v; %v", errs[0], errs[1])
		for i, err := range errs {
			if err != nil {
				require.ErrorIs(t, err, ports.ErrBusy)
				from.eventually(func() error { return send(i) })
			}
		}
		for _, l := range lvols {
			to.reads(l, 1, 1, 1, 1, 1, 1, 1, 1)
		}
	}),
	between("grafts, seals and deletes work during a copy", func(t *testing.T, from, to *subject) {
		const clusters = 8
		a := from.snapshotOf(snapshotNamed("a"), clusters, 1, upTo(clusters)...)
		l := to.create(inFlight(1), clusters)
		image := to.snapshotOf(snapshotNamed("base"), 2, 2, 0)
		for _, err := range inParallel(2, func(i int) error {
			if i == 0 {
				return from.copy(from.ctx, a, to, l, nil)
			}
			other, err := to.Create(to.ctx, inFlight(2), to.bytes(2))
			if err != nil {
				return err
			}
			if err := to.Graft(to.ctx, other, image); err != nil {
				return err
			}
			sealed, err := to.Seal(to.ctx, other, snapshotNamed("other"), ports.SealRecord{})
			if err != nil {
				return err
			}
			return to.Delete(to.ctx, sealed)
		}) {
			require.NoError(t, err)
		}
		to.reads(l, 1, 1, 1, 1, 1, 1, 1, 1)
		require.Equal(t, []string{inFlight(1), snapshotNamed("base")}, to.names())
	}),
}

// inParallel makes n calls at the same time and returns their errors in order.
func inParallel(n int, call func(i int) error) []error {
	errs := make([]error, n)
	var start, done sync.WaitGroup
	start.Add(1)
	for i := range n {
		done.Go(func() {
			start.Wait()
			errs[i] = call(i)
		})
	}
	start.Done()
	done.Wait()
	return errs
}
