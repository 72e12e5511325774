package porttest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/ports"
)

var copyTests = []test{
	between("own clusters are copied to their positions, and nothing else", func(t *testing.T, from, to *subject) {
		a := from.snapshotOf(snapshotNamed("a"), 4, 1, 0, 1, 2)
		b := from.create(inFlight(1), 4)
		from.fill(b, 2, 1)
		from.fill(b, 3, 3)
		from.graft(b, a)
		b = from.seal(b, snapshotNamed("b"))
		before := from.list()

		l := to.create(inFlight(1), 4)
		from.copies(b, to, l)
		require.EqualValues(t, 2, to.look(l).Own.Count)
		to.reads(l, 0, 2, 0, 3)
		require.Equal(t, before, from.list(), "the source is as it was")
	}),
	between("an empty snapshot is copied", func(t *testing.T, from, to *subject) {
		a := from.snapshotOf(snapshotNamed("a"), 2, 1)
		l := to.create(inFlight(1), 2)
		from.copies(a, to, l)
		require.Zero(t, to.look(l).Own.Count)
		to.reads(l, 0, 0)
	}),
	between("clusters that the snapshot lacks are not changed", func(t *testing.T, from, to *subject) {
		a := from.snapshotOf(snapshotNamed("a"), 4, 1, 1, 2)
		l := to.create(inFlight(1), 4)
		to.fill(l, 2, 0, 1)
		from.copies(a, to, l)
		to.reads(l, 2, 1, 1, 0)
		require.EqualValues(t, 3, to.look(l).Own.Count)
	}),
	between("written zeros are copied and mask the parent", func(t *testing.T, from, to *subject) {
		a := from.snapshotOf(snapshotNamed("a"), 3, 0, 1)
		parent := to.snapshotOf(snapshotNamed("parent"), 3, 2, 0, 1, 2)
		l := to.create(inFlight(1), 3)
		from.copies(a, to, l)
		require.EqualValues(t, 1, to.look(l).Own.Count)
		to.graft(l, parent)
		to.reads(l, 2, 0, 2)
	}),
	between("an lvol that has a parent can be copied into", func(t *testing.T, from, to *subject) {
		a := from.snapshotOf(snapshotNamed("a"), 3, 1, 1)
		parent := to.snapshotOf(snapshotNamed("parent"), 3, 2, 0, 1)
		l := to.create(inFlight(1), 3)
		to.graft(l, parent)
		from.copies(a, to, l)
		require.EqualValues(t, 1, to.look(l).Own.Count)
		to.reads(l, 2, 1, 0)
		to.reads(parent, 2, 2, 0)
	}),
	between("a longer lvol can be copied into", func(t *testing.T, from, to *subject) {
		a := from.snapshotOf(snapshotNamed("a"), 2, 1, 0, 1)
		l := to.create(inFlight(1), 4)
		from.copies(a, to, l)
		to.reads(l, 1, 1, 0, 0)
	}),
	between("copies that are grafted and sealed equal their snapshots", func(t *testing.T, from, to *subject) {
		a := from.snapshotOf(snapshotNamed("a"), 3, 1, 0, 1, 2)
		b := from.snapshotOf(snapshotNamed("b"), 3, 2, 1)
		from.graft(b, a)
		copied := map[string]string{}
		for i, uuid := range []string{b, a} {
			l := to.create(inFlight(i), 3)
			from.copies(uuid, to, l)
			copied[uuid] = l
		}
		copied[a] = to.seal(copied[a], snapshotNamed("a"))
		to.graft(copied[b], copied[a])
		copied[b] = to.seal(copied[b], snapshotNamed("b"))
		from.reads(b, 1, 2, 1)
		to.reads(copied[b], 1, 2, 1)
		to.reads(copied[a], 1, 1, 1)
	}),
	alone("within one host", func(t *testing.T, h *subject) {
		a := h.snapshotOf(snapshotNamed("a"), 3, 1, 0, 2)
		l := h.create(inFlight(1), 3)
		h.copies(a, h, l)
		h.reads(l, 1, 0, 1)
		require.EqualValues(t, 2, h.look(l).Own.Count)
		h.fill(l, 2, 0)
		h.reads(a, 1, 0, 1)
	}),
	between("both ways at once", func(t *testing.T, x, y *subject) {
		a := x.snapshotOf(snapshotNamed("a"), 2, 1, 0)
		b := y.snapshotOf(snapshotNamed("b"), 2, 2, 1)
		inY, inX := y.create(inFlight(1), 2), x.create(inFlight(1), 2)
		x.copies(a, y, inY)
		y.copies(b, x, inX)
		x.reads(inX, 0, 2)
		y.reads(inY, 1, 0)
	}),
	between("progress only grows and ends at the number of own clusters", func(t *testing.T, from, to *subject) {
		for _, own := range [][]uint64{{0, 1, 2, 5, 6, 7}, {3}, nil} {
			a := from.snapshotOf(snapshotNamed("a"), 8, 1, own...)
			l := to.create(inFlight(1), 8)
			var done, totals []uint64
			require.NoError(t, from.copy(from.ctx, a, to, l, func(d, total uint64) {
				done, totals = append(done, d), append(totals, total)
			}))
			require.IsNonDecreasing(t, append([]uint64{0}, done...))
			for _, total := range totals {
				require.EqualValues(t, len(own), total)
			}
			if len(own) > 0 {
				require.NotEmpty(t, done)
				require.EqualValues(t, len(own), done[len(done)-1])
			}
			from.delete(a)
			to.delete(l)
		}
	}),
	between("a copy from a writable lvol is refused", func(t *testing.T, from, to *subject) {
		head := from.create(replica, 2)
		from.fill(head, 1, 0)
		l := to.create(inFlight(1), 2)
		to.refuses(ports.ErrInvalid, func() error { return from.copy(from.ctx, head, to, l, nil) }, "copy")
	}),
	between("a copy to a shorter lvol is refused", func(t *testing.T, from, to *subject) {
		l := to.create(inFlight(1), 2)
		for name, positions := range map[string][]uint64{"beyond": {0, 2}, "within": {0}} {
			a := from.snapshotOf(snapshotNamed(name), 3, 1, positions...)
			to.refuses(ports.ErrInvalid, func() error { return from.copy(from.ctx, a, to, l, nil) }, name)
		}
	}),
	between("a copy of a missing snapshot is refused", func(t *testing.T, from, to *subject) {
		l := to.create(inFlight(1), 2)
		to.refuses(ports.ErrNotFound, func() error { return from.copy(from.ctx, missing, to, l, nil) }, "copy")
	}),
	between("a copy into a full store is ErrNoSpace, and works after a delete", func(t *testing.T, from, to *subject) {
		if to.store.FreeClusters > 256 {
			t.Skip("this host's store is too large to be filled")
		}
		a := from.snapshotOf(snapshotNamed("a"), 4, 1, 0, 1, 2, 3)
		full := to.create(inFlight(1), to.store.FreeClusters)
		for i := range to.store.FreeClusters - 2 {
			to.fill(full, 2, i)
		}
		l := to.create(inFlight(2), 4)
		err := from.copy(from.ctx, a, to, l, nil)
		require.ErrorIs(t, err, ports.ErrNoSpace)
		isOfOneKind(t, err)
		to.delete(l)
		to.delete(full)
		l = to.create(inFlight(2), 4)
		from.copies(a, to, l)
		to.reads(l, 1, 1, 1, 1)
	}),
	between("a cancelled copy does not affect later ones", func(t *testing.T, from, to *subject) {
		const clusters = 16
		a := from.snapshotOf(snapshotNamed("a"), clusters, 1, upTo(clusters)...)
		before := to.list()
		l := to.create(inFlight(1), clusters)
		ctx, cancel := context.WithCancel(from.ctx)
		defer cancel()
		err := from.copy(ctx, a, to, l, func(done, _ uint64) {
			if done > 0 {
				cancel()
			}
		})
		if err == nil { // it was over before
			require.EqualValues(t, clusters, to.look(l).Own.Count)
		} else {
			isOfOneKind(t, err)
		}
		to.delete(l)
		require.Equal(t, before, to.list())

		// What the cancelled copy was writing must not land in the lvol that
		// is received next.
		next := to.create(inFlight(2), clusters)
		empty := from.snapshotOf(snapshotNamed("empty"), clusters, 1)
		from.copies(empty, to, next)
		require.Zero(t, to.look(next).Own.Count)

		again := to.create(inFlight(3), clusters)
		from.eventually(func() error { return from.copy(from.ctx, a, to, again, nil) })
		require.EqualValues(t, clusters, to.look(again).Own.Count)
		require.Zero(t, to.look(next).Own.Count)
	}),
	between("a copy ends when its lvol is deleted, and the source is free", func(t *testing.T, from, to *subject) {
		const clusters = 16
		a := from.snapshotOf(snapshotNamed("a"), clusters, 1, upTo(clusters)...)
		l := to.create(inFlight(1), clusters)
		begun, ended := make(chan struct{}), make(chan error, 1)
		go func() {
			first := true
			ended <- from.copy(from.ctx, a, to, l, func(done, _ uint64) {
				if done > 0 && first {
					first = false
					close(begun)
				}
			})
		}()
		select {
		case <-begun:
		case <-from.ctx.Done():
			require.Fail(t, "no progress")
		}
		to.eventually(func() error { return to.Delete(to.ctx, l) })
		<-ended // with an error or none: it may have been over
		require.Empty(t, to.names())
		again := to.create(inFlight(1), clusters)
		from.eventually(func() error { return from.copy(from.ctx, a, to, again, nil) })
		require.EqualValues(t, clusters, to.look(again).Own.Count)
	}),
}

// copy receives, copies and withdraws. progress may be nil.
func (s *subject) copy(ctx context.Context, snapshot string, to *subject, into string, progress ports.Progress) error {
	peer, err := s.Peer(s.ctx)
	if err != nil {
		return err
	}
	address, err := to.Receive(to.ctx, run, into, peer)
	if err != nil {
		return err
	}
	if progress == nil {
		progress = func(_, _ uint64) {}
	}
	copied := s.Copy(ctx, run, snapshot, address, progress)
	if err := to.Withdraw(to.ctx, run, into); err != nil {
		return err
	}
	return copied
}

func (s *subject) copies(snapshot string, to *subject, into string) {
	s.t.Helper()
	require.NoError(s.t, s.copy(s.ctx, snapshot, to, into, nil))
}

// upTo are the positions 0 to n-1.
func upTo(n uint64) []uint64 {
	positions := make([]uint64, n)
	for i := range positions {
		positions[i] = uint64(i)
	}
	return positions
}
