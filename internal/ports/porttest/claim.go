package porttest

import (
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
	alone("a claim keeps nobody from the store", func(t *testing.T, h *subject) {
		release, err := h.claimer().Claim(h.ctx, replica)
		require.NoError(t, err)
		defer release()
		uuid := h.create(replica, 1)
		require.NoError(t, h.Delete(h.ctx, uuid))
	}),
	between("what a run has opened is listed until it is released", func(t *testing.T, from, to *subject) {
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
