package porttest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/ports"
)

var claimTests = []test{
	alone("a claim excludes another one until it is released", func(t *testing.T, h *subject) {
		claimer := h.claimer()
		release, err := claimer.Claim(h.ctx, replica)
		require.NoError(t, err)
		h.refuses(ports.ErrBusy, func() error { _, err := claimer.Claim(h.ctx, replica); return err }, "claim again")
		other, err := claimer.Claim(h.ctx, replica+"0")
		require.NoError(t, err, "another name is free")
		release()
		release, err = claimer.Claim(h.ctx, replica)
		require.NoError(t, err)
		release()
		other()
	}),
	alone("a claim does not block calls to the store", func(t *testing.T, h *subject) {
		release, err := h.claimer().Claim(h.ctx, replica)
		require.NoError(t, err)
		defer release()
		uuid := h.create(replica, 1)
		require.NoError(t, h.Delete(h.ctx, uuid))
	}),
	alone("shared leases exclude exclusive ones", func(t *testing.T, h *subject) {
		leaser := h.leaser()
		shared := ports.Lease{Shared: true, Holder: "a reader"}
		first, err := leaser.Lease(h.ctx, replica, shared)
		require.NoError(t, err)
		second, err := leaser.Lease(h.ctx, replica, ports.Lease{Shared: true, Holder: "another reader"})
		require.NoError(t, err, "two may read")
		h.refuses(ports.ErrBusy, func() error { _, err := leaser.Lease(h.ctx, replica, ports.Lease{}); return err }, "lease alone what two share")
		first()
		h.refuses(ports.ErrBusy, func() error { _, err := leaser.Claim(h.ctx, replica); return err }, "claim what one still shares")
		second()
		alone, err := leaser.Lease(h.ctx, replica, ports.Lease{Holder: "a writer"})
		require.NoError(t, err)
		h.refuses(ports.ErrBusy, func() error { _, err := leaser.Lease(h.ctx, replica, shared); return err }, "share what another one has alone")
		alone()
		claimed, err := leaser.Claim(h.ctx, replica)
		require.NoError(t, err)
		h.refuses(ports.ErrBusy, func() error { _, err := leaser.Lease(h.ctx, replica, shared); return err }, "share what another one has claimed")
		claimed()
	}),
	alone("the error names the holders of a lease", func(t *testing.T, h *subject) {
		leaser := h.leaser()
		holders := func() []string {
			_, err := leaser.Claim(h.ctx, replica)
			var held *ports.HeldError
			require.ErrorAs(t, err, &held)
			require.ErrorIs(t, err, ports.ErrBusy)
			for _, holder := range held.Holders {
				require.ErrorContains(t, err, holder)
			}
			return held.Holders
		}
		var all []func()
		for _, reader := range []string{"the rebuild of vol-1-r-8c9d0e1f", "the rebuild of vol-1-r-2a3b4c5d"} {
			release, err := leaser.Lease(h.ctx, replica, ports.Lease{Shared: true, Holder: reader})
			require.NoError(t, err)
			all = append(all, release)
		}
		other, err := leaser.Lease(h.ctx, replica+"0", ports.Lease{Holder: "somebody on something else"})
		require.NoError(t, err)
		require.ElementsMatch(t, []string{"the rebuild of vol-1-r-8c9d0e1f", "the rebuild of vol-1-r-2a3b4c5d"}, holders())
		all[0]()
		require.Equal(t, []string{"the rebuild of vol-1-r-2a3b4c5d"}, holders())
		all[1]()
		long := strings.Repeat("é", 400)
		release, err := leaser.Lease(h.ctx, replica, ports.Lease{Holder: long})
		require.NoError(t, err)
		told := holders()
		require.Len(t, told, 1)
		require.True(t, strings.HasPrefix(long, told[0]) && len(told[0]) >= 200, "%q", told[0])
		release()
		release, err = leaser.Lease(h.ctx, replica, ports.Lease{})
		require.NoError(t, err)
		h.refuses(ports.ErrBusy, func() error { _, err := leaser.Claim(h.ctx, replica); return err }, "claim what somebody has who is not named")
		release()
		other()
	}),
	alone("Identity agrees with List", func(t *testing.T, h *subject) {
		identifier, ok := h.Instance.Host.(ports.Identifier)
		if !ok {
			t.Skip("this host is asked for its store by a list")
		}
		uuid, name := identifier.Identity()
		require.Equal(t, h.store.UUID, uuid)
		require.Equal(t, h.store.Name, name)
	}),
	between("End ends one run and not another one of the replica", func(t *testing.T, from, to *subject) {
		ender, ok := to.Instance.Host.(ports.Ender)
		if !ok {
			t.Skip("this host ends all runs of a replica at once")
		}
		a := from.snapshotOf(snapshotNamed("a"), 2, 1, 0)
		l, other := to.create(inFlight(1), 2), to.create(inFlight(2), 2)
		address := to.receive(l, from)
		peer, err := from.Peer(from.ctx)
		require.NoError(t, err)
		ended := ports.Run{Replica: replica, ID: "0000cafe"}
		_, err = to.Receive(to.ctx, ended, other, peer)
		require.NoError(t, err)
		for range 2 { // the second time there is nothing
			require.NoError(t, ender.End(to.ctx, ended))
		}
		collector, ok := to.Instance.Host.(ports.Collector)
		require.True(t, ok, "who ends single runs has to list them")
		opened, err := collector.Opened(to.ctx)
		require.NoError(t, err)
		for _, o := range opened {
			require.Equal(t, run.ID, o.Run.ID, o.What)
		}
		require.NoError(t, from.Copy(from.ctx, run, a, address, ignore))
		to.reads(l, 1, 0)
	}),
	between("runs of equal replica names on two stores are separate", func(t *testing.T, from, to *subject) {
		here := ports.Run{Replica: replica, Store: missing, ID: "0000cafe"}
		there := ports.Run{Replica: replica, Store: to.store.UUID, ID: "0000cafe"}
		a := from.snapshotOf(snapshotNamed("a"), 2, 1, 0)
		l := to.create(inFlight(1), 2)
		peer, err := from.Peer(from.ctx)
		require.NoError(t, err)
		address, err := to.Receive(to.ctx, there, l, peer)
		require.NoError(t, err)
		for range 2 {
			for _, host := range []*subject{from, to} {
				require.NoError(t, host.Release(host.ctx, here))
			}
		}
		require.NoError(t, from.Copy(from.ctx, there, a, address, ignore))
		to.reads(l, 1, 0)
		for _, host := range []*subject{from, to} {
			require.NoError(t, host.Release(host.ctx, there))
		}
	}),
	between("opened resources are listed until the run is released", func(t *testing.T, from, to *subject) {
		collector, ok := to.Instance.Host.(ports.Collector)
		if !ok {
			t.Skip("this host does not list what runs have opened")
		}
		to.receive(to.create(inFlight(1), 2), from)
		opened, err := collector.Opened(to.ctx)
		require.NoError(t, err)
		if len(opened) == 0 {
			t.Skip("within one target nothing is opened for a copy")
		}
		for _, o := range opened {
			require.Equal(t, run, o.Run)
			require.NotEmpty(t, o.What)
			later := ports.Run{Replica: o.Run.Replica, ID: "0000ffff"}
			require.NoError(t, to.Release(to.ctx, later))
			require.NoError(t, to.Release(to.ctx, later))
		}
		opened, err = collector.Opened(to.ctx)
		require.NoError(t, err)
		require.Empty(t, opened)
	}),
}

func (s *subject) claimer() ports.Claimer {
	claimer, ok := s.Instance.Host.(ports.Claimer)
	if !ok {
		s.t.Skip("this host cannot tell who else is at work")
	}
	return claimer
}

func (s *subject) leaser() ports.Leaser {
	leaser, ok := s.Instance.Host.(ports.Leaser)
	if !ok {
		s.t.Skip("this host cannot tell who reads")
	}
	return leaser
}
