package porttest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/ports"
)

var nameTests = []test{
	alone("a taken name is refused", func(t *testing.T, h *subject) {
		a := h.snapshotOf(snapshotNamed("a"), 2, 1, 0)
		head := h.clone(a, replica)
		filling := h.create(inFlight(1), 2)
		for _, taken := range []string{snapshotNamed("a"), replica, inFlight(1)} {
			for what, give := range h.givers(a, head, filling) {
				h.refuses(ports.ErrExists, func() error { return give(taken) }, what+" "+taken)
			}
		}
	}),
	alone("a name may be as long as the limit, and not longer", func(t *testing.T, h *subject) {
		if h.store.NameLimit == 0 {
			t.Skip("this host has no limit")
		}
		a := h.snapshotOf(snapshotNamed("a"), 2, 1, 0)
		head := h.clone(a, replica)
		filling := h.create(inFlight(1), 2)
		for what, give := range h.givers(a, head, filling) {
			long := strings.Repeat(what[:1], h.store.NameLimit-len(what)) + what
			h.refuses(ports.ErrInvalid, func() error { return give("x" + long) }, what)
			if what == "clone-longer" {
				continue // may need a helper, whose name is longer still
			}
			require.NoError(t, give(long), "%s", what)
			require.Contains(t, h.names(), long)
		}
	}),
	alone("a name is free again when its lvol was deleted or sealed", func(t *testing.T, h *subject) {
		h.delete(h.create(replica, 1))
		h.create(replica, 1)
		h.seal(h.create(inFlight(1), 1), snapshotNamed("a"))
		h.create(inFlight(1), 1)
		require.Equal(t, []string{replica, inFlight(1), snapshotNamed("a")}, h.names())
	}),
	alone("one name may be the beginning of another", func(t *testing.T, h *subject) {
		h.create("vol-1", 1)
		h.create("vol-10", 1)
		h.seal(h.create(inFlight(1), 1), "vol-1-snap-x")
		h.seal(h.create(inFlight(1), 1), "vol-1-snap-x-snap-y")
		require.Equal(t, []string{"vol-1", "vol-1-snap-x", "vol-1-snap-x-snap-y", "vol-10"}, h.names())
	}),
}

// givers are all calls that give a name. Each of them works once.
func (s *subject) givers(snapshot, head, filling string) map[string]func(name string) error {
	return map[string]func(string) error{
		"create": func(name string) error {
			_, err := s.Create(s.ctx, name, s.bytes(1))
			return err
		},
		"clone": func(name string) error {
			_, err := s.Clone(s.ctx, snapshot, name, s.look(snapshot).Size, "")
			return err
		},
		"clone-longer": func(name string) error {
			_, err := s.Clone(s.ctx, snapshot, name, s.look(snapshot).Size+s.bytes(1), "")
			return err
		},
		"clone-of-nothing": func(name string) error {
			_, err := s.Clone(s.ctx, "", name, s.bytes(1), "")
			return err
		},
		"snapshot": func(name string) error {
			_, err := s.Snapshot(s.ctx, head, name, morning)
			return err
		},
		"seal": func(name string) error {
			_, err := s.Seal(s.ctx, filling, name, ports.SealRecord{Attributes: morning})
			return err
		},
	}
}
