package porttest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/ports"
)

var receiveTests = []test{
	between("an address is invalid after Withdraw", func(t *testing.T, from, to *subject) {
		a := from.snapshotOf(snapshotNamed("a"), 2, 1, 0)
		l := to.create(inFlight(1), 2)
		address := to.receive(l, from)
		require.NoError(t, to.Withdraw(to.ctx, run, l))
		err := from.Copy(from.ctx, run, a, address, ignore)
		require.Error(t, err)
		isOfOneKind(t, err)
		require.Zero(t, to.look(l).Own.Count)
	}),
	between("an invalid address does not reach the next lvol", func(t *testing.T, from, to *subject) {
		a := from.snapshotOf(snapshotNamed("a"), 2, 1, 0)
		l, next := to.create(inFlight(1), 2), to.create(inFlight(2), 2)
		address := to.receive(l, from)
		require.NoError(t, to.Withdraw(to.ctx, run, l))
		to.delete(l)
		valid := to.receive(next, from)
		require.Error(t, from.Copy(from.ctx, run, a, address, ignore))
		require.Zero(t, to.look(next).Own.Count)
		require.NoError(t, from.Copy(from.ctx, run, a, valid, ignore))
		to.reads(next, 1, 0)
	}),
	between("an lvol can be received again, and copied into again", func(t *testing.T, from, to *subject) {
		a := from.snapshotOf(snapshotNamed("a"), 2, 1, 0)
		b := from.snapshotOf(snapshotNamed("b"), 2, 2, 1)
		l := to.create(inFlight(1), 2)
		from.copies(a, to, l)
		from.copies(b, to, l)
		to.reads(l, 1, 2)
	}),
	between("several lvols are received concurrently", func(t *testing.T, from, to *subject) {
		a := from.snapshotOf(snapshotNamed("a"), 2, 1, 0)
		b := from.snapshotOf(snapshotNamed("b"), 2, 2, 1)
		x, y := to.create(inFlight(1), 2), to.create(inFlight(2), 2)
		toX, toY := to.receive(x, from), to.receive(y, from)
		require.NotEqual(t, toX, toY)
		require.NoError(t, from.Copy(from.ctx, run, b, toY, ignore))
		require.NoError(t, to.Withdraw(to.ctx, run, y))
		require.NoError(t, from.Copy(from.ctx, run, a, toX, ignore))
		to.reads(x, 1, 0)
		to.reads(y, 0, 2)
	}),
	alone("withdrawing an lvol that is not received is no error", func(t *testing.T, h *subject) {
		l := h.create(inFlight(1), 1)
		require.NoError(t, h.Withdraw(h.ctx, run, l))
		require.NoError(t, h.Withdraw(h.ctx, run, missing))
		h.receive(l, h)
		require.NoError(t, h.Withdraw(h.ctx, run, l))
		require.NoError(t, h.Withdraw(h.ctx, run, l))
	}),
	between("releasing a run of the replica ends its copies", func(t *testing.T, from, to *subject) {
		a := from.snapshotOf(snapshotNamed("a"), 2, 1, 0)
		l := to.create(inFlight(1), 2)
		address := to.receive(l, from)
		later := ports.Run{Replica: replica, ID: "0000cafe"}
		require.NoError(t, to.Release(to.ctx, later), "of a run of the same replica that crashed")
		require.Error(t, from.Copy(from.ctx, run, a, address, ignore))
		require.Zero(t, to.look(l).Own.Count)
		from.copies(a, to, l)
		to.reads(l, 1, 0)
	}),
	between("releasing a run does not end another replica's", func(t *testing.T, from, to *subject) {
		a := from.snapshotOf(snapshotNamed("a"), 2, 1, 0)
		l := to.create(inFlight(1), 2)
		address := to.receive(l, from)
		other := ports.Run{Replica: replica + "0", ID: "0badcafe"}
		require.NoError(t, to.Release(to.ctx, other))
		require.NoError(t, from.Release(from.ctx, other))
		require.NoError(t, from.Copy(from.ctx, run, a, address, ignore))
		to.reads(l, 1, 0)
	}),
	alone("releasing nothing is no error", func(t *testing.T, h *subject) {
		require.NoError(t, h.Release(h.ctx, run))
		require.NoError(t, h.Release(h.ctx, run))
	}),
	between("receiving a missing lvol is refused", func(t *testing.T, from, to *subject) {
		peer, err := from.Peer(from.ctx)
		require.NoError(t, err)
		to.refuses(ports.ErrNotFound, func() error {
			_, err := to.Receive(to.ctx, run, missing, peer)
			return err
		}, "receive")
	}),
	between("a copy into a snapshot is refused", func(t *testing.T, from, to *subject) {
		a := from.snapshotOf(snapshotNamed("a"), 2, 1, 0)
		b := to.snapshotOf(snapshotNamed("b"), 2, 2, 1)
		before := to.list()
		require.Error(t, from.copy(from.ctx, a, to, b, nil))
		require.Equal(t, before, to.list())
		to.reads(b, 0, 2)
	}),
	between("receiving a snapshot is refused", func(t *testing.T, from, to *subject) {
		b := to.snapshotOf(snapshotNamed("b"), 2, 2, 1)
		peer, err := from.Peer(from.ctx)
		require.NoError(t, err)
		to.refuses(ports.ErrInvalid, func() error {
			_, err := to.Receive(to.ctx, run, b, peer)
			return err
		}, "receive")
	}),
	between("each host has its own constant Peer", func(t *testing.T, x, y *subject) {
		px, err := x.Peer(x.ctx)
		require.NoError(t, err)
		py, err := y.Peer(y.ctx)
		require.NoError(t, err)
		again, err := x.Peer(x.ctx)
		require.NoError(t, err)
		require.NotEqual(t, px, py)
		require.Equal(t, px, again)
	}),
}

func ignore(_, _ uint64) {}

// receive makes the lvol a place that the other host can copy into.
func (s *subject) receive(uuid string, from *subject) ports.Address {
	s.t.Helper()
	peer, err := from.Peer(from.ctx)
	require.NoError(s.t, err)
	address, err := s.Receive(s.ctx, run, uuid, peer)
	require.NoError(s.t, err)
	return address
}
