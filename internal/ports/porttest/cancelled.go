package porttest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/ports"
)

var cancelledTests = []test{
	between("a call whose context has ended fails and changes nothing", func(t *testing.T, from, to *subject) {
		ended, cancel := context.WithCancel(from.ctx)
		a := from.snapshotOf(snapshotNamed("a"), 2, 1, 0)
		short := from.snapshotOf(snapshotNamed("short"), 1, 2, 0)
		filling := from.create(inFlight(1), 2)
		from.fill(filling, 3, 1)
		head := from.clone(a, replica)
		l := to.create(inFlight(1), 2)
		peer, err := from.Peer(from.ctx)
		require.NoError(t, err)
		address := to.receive(l, from)
		calls := map[string]func() error{
			"list":         func() error { _, err := from.List(ended); return err },
			"look":         func() error { _, err := from.Look(ended, a); return err },
			"create":       func() error { _, err := from.Create(ended, inFlight(2), from.bytes(1)); return err },
			"graft":        func() error { return from.Graft(ended, filling, a) },
			"graft longer": func() error { return from.Graft(ended, filling, short) },
			"detach":       func() error { return from.Graft(ended, head, "") },
			"seal":         func() error { _, err := from.Seal(ended, filling, snapshotNamed("b"), ports.SealRecord{}); return err },
			"snapshot":     func() error { _, err := from.Snapshot(ended, head, snapshotNamed("c"), morning); return err },
			"clone":        func() error { _, err := from.Clone(ended, a, "vol-2", from.bytes(2), "base"); return err },
			"clone longer": func() error { _, err := from.Clone(ended, a, "vol-3", from.bytes(3), "base"); return err },
			"delete":       func() error { return from.Delete(ended, head) },
			"receive":      func() error { _, err := to.Receive(ended, run, l, peer); return err },
			"copy":         func() error { return from.Copy(ended, run, a, address, ignore) },
		}
		if from.store.Records {
			calls["record"] = func() error { return from.recorder().Record(ended, head, "base") }
		}
		if from.store.Proves {
			calls["prove"] = func() error { _, err := from.prover().Prove(ended, []string{a}); return err }
		}
		cancel()
		source, destination := from.list(), to.list()
		for what, call := range calls {
			err := call()
			require.Error(t, err, "%s", what)
			isOfOneKind(t, err)
			require.Equal(t, source, from.list(), "%s", what)
			require.Equal(t, destination, to.list(), "%s", what)
		}
		require.NoError(t, to.Withdraw(to.ctx, run, l))
	}),
	between("the same calls work with a living context afterwards", func(t *testing.T, from, to *subject) {
		ended, cancel := context.WithCancel(from.ctx)
		cancel()
		filling := from.create(inFlight(1), 2)
		from.fill(filling, 1, 0)
		_, err := from.Seal(ended, filling, snapshotNamed("a"), ports.SealRecord{Attributes: morning})
		require.Error(t, err)
		a := from.seal(filling, snapshotNamed("a"))
		l := to.create(inFlight(1), 2)
		address := to.receive(l, from)
		require.Error(t, from.Copy(ended, run, a, address, ignore))
		require.NoError(t, to.Withdraw(to.ctx, run, l))
		from.copies(a, to, l)
		to.reads(l, 1, 0)
	}),
}
