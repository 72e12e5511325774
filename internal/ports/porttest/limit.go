package porttest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/ports"
)

// These tests do not measure rates, which would depend on time: they check that a tiny
// limit delays a copy, and that a lifted one does not.
var limitTests = []test{
	between("a limit slows a copy down until it is lifted", func(t *testing.T, from, to *subject) {
		const clusters = 24
		limiter := to.limiter()
		a := from.snapshotOf(snapshotNamed("a"), clusters, 1, upTo(clusters)...)
		l := to.create(inFlight(1), clusters)
		require.NoError(t, limiter.Limit(to.ctx, l, 1))
		lifted := false
		err := from.copy(from.ctx, a, to, l, func(done, total uint64) {
			if !lifted && done < total {
				lifted = true
				go func() {
					if err := limiter.Limit(to.ctx, l, 0); err != nil {
						t.Errorf("lift the limit: %v", err)
					}
				}()
			}
		})
		require.NoError(t, err)
		require.True(t, lifted, "the copy was not held back")
		require.EqualValues(t, clusters, to.look(l).Own.Count)
		sealed := to.seal(l, snapshotNamed("b"))
		require.EqualValues(t, clusters, to.look(sealed).Own.Count)
		require.Equal(t, []string{snapshotNamed("b")}, to.names())
	}),
	between("a limit can be changed during a copy, and a slow copy can be cancelled", func(t *testing.T, from, to *subject) {
		const clusters = 24
		limiter := to.limiter()
		a := from.snapshotOf(snapshotNamed("a"), clusters, 1, upTo(clusters)...)
		l := to.create(inFlight(1), clusters)
		require.NoError(t, limiter.Limit(to.ctx, l, 2))
		ctx, cancel := context.WithCancel(from.ctx)
		defer cancel()
		err := from.copy(ctx, a, to, l, func(uint64, uint64) {
			if limiter.Limit(to.ctx, l, 1) == nil {
				cancel()
			}
		})
		require.Error(t, err)
		to.delete(l)
		from.eventually(func() error { return from.Delete(from.ctx, a) })
	}),
	alone("a limit of a missing lvol is refused, and lifting no limit is no error", func(t *testing.T, h *subject) {
		limiter := h.limiter()
		h.refuses(ports.ErrNotFound, func() error { return limiter.Limit(h.ctx, missing, 1<<20) }, "limit")
		l := h.create(inFlight(1), 1)
		require.NoError(t, limiter.Limit(h.ctx, l, 0))
		require.NoError(t, limiter.Limit(h.ctx, l, 1<<63))
		require.NoError(t, limiter.Limit(h.ctx, l, 1<<63))
		if err := limiter.Limit(h.ctx, l, 0); err != nil {
			require.ErrorIs(t, err, ports.ErrBusy, "nobody writes to it")
			isOfOneKind(t, err)
		}
		h.delete(l)
	}),
}

func (s *subject) limiter() ports.Limiter {
	s.t.Helper()
	limiter, ok := s.Instance.Host.(ports.Limiter)
	if !ok {
		s.t.Skip("this host does not limit what is written to it")
	}
	return limiter
}
