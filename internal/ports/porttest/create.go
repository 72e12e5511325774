package porttest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/domain"
)

var createTests = []test{
	alone("a new lvol is empty, thin, writable and reads as zeros", func(t *testing.T, h *subject) {
		l := h.create(inFlight(1), 3)
		require.Equal(t, domain.Lvol{UUID: l, Name: inFlight(1), Size: h.bytes(3)}, h.look(l))
		h.reads(l, 0, 0, 0)
		h.fill(l, 7, 1)
		h.reads(l, 0, 7, 0)
	}),
	alone("an lvol may be longer than the store", func(t *testing.T, h *subject) {
		l := h.create(inFlight(1), h.store.TotalClusters+1)
		require.Equal(t, h.bytes(h.store.TotalClusters+1), h.look(l).Size)
		require.Zero(t, h.look(l).Own.Count)
	}),
	alone("a deleted lvol's bytes do not come back in a new one", func(t *testing.T, h *subject) {
		old := h.create(inFlight(1), 2)
		h.fill(old, 9, 0, 1)
		h.delete(old)
		l := h.create(inFlight(1), 2)
		require.NotEqual(t, old, l, "another lvol has another UUID")
		h.reads(l, 0, 0)
	}),
}
