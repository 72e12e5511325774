package porttest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

var cloneTests = []test{
	alone("a clone is writable, empty and reads as its snapshot", func(t *testing.T, h *subject) {
		a := h.snapshotOf(snapshotNamed("a"), 3, 1, 0, 2)
		head := h.clone(a, replica)
		require.Equal(t, domain.Lvol{UUID: head, Name: replica, Parent: a, Size: h.bytes(3)}, h.look(head))
		h.reads(head, 1, 0, 1)
	}),
	alone("a write into a clone changes no other lvol", func(t *testing.T, h *subject) {
		a := h.snapshotOf(snapshotNamed("a"), 2, 1, 0)
		head, other := h.clone(a, replica), h.clone(a, "vol-2-r-4e5f6a7b")
		h.fill(head, 2, 0, 1)
		h.reads(head, 2, 2)
		h.reads(other, 1, 0)
		h.reads(a, 1, 0)
	}),
	alone("a clone may be longer than its snapshot: zeros beyond its end", func(t *testing.T, h *subject) {
		a := h.snapshotOf(snapshotNamed("a"), 2, 1, 0, 1)
		head, err := h.Clone(h.ctx, a, replica, h.bytes(4), "")
		require.NoError(t, err)
		require.Equal(t, domain.Lvol{UUID: head, Name: replica, Parent: a, Size: h.bytes(4)}, h.look(head))
		h.reads(head, 1, 1, 0, 0)
		h.fill(head, 2, 3)
		h.reads(head, 1, 1, 0, 2)
		require.Equal(t, []string{replica, snapshotNamed("a")}, h.names())
	}),
	alone("a clone without a snapshot is an empty lvol without a parent", func(t *testing.T, h *subject) {
		head, err := h.Clone(h.ctx, "", replica, h.bytes(2), "")
		require.NoError(t, err)
		require.Equal(t, domain.Lvol{UUID: head, Name: replica, Size: h.bytes(2)}, h.look(head))
		h.reads(head, 0, 0)
		require.Equal(t, []string{replica}, h.names())
	}),
	alone("a clone has its record if the host keeps records", func(t *testing.T, h *subject) {
		a := h.snapshotOf(snapshotNamed("a"), 1, 1, 0)
		for name, c := range map[string]struct {
			snapshot string
			clusters uint64
		}{"same-size": {a, 1}, "longer": {a, 2}, "of-nothing": {"", 1}} {
			for _, record := range []string{"base", domain.RecordNoBase} {
				head, err := h.Clone(h.ctx, c.snapshot, name+"-"+record, h.bytes(c.clusters), record)
				require.NoError(t, err)
				require.Equal(t, h.record(record), h.look(head).Record, "%s", name)
			}
		}
	}),
	alone("a clone of a writable lvol is refused", func(t *testing.T, h *subject) {
		l := h.create(inFlight(1), 2)
		for what, clusters := range map[string]uint64{"same size": 2, "longer": 3} {
			h.refuses(ports.ErrInvalid, func() error {
				_, err := h.Clone(h.ctx, l, replica, h.bytes(clusters), "")
				return err
			}, what)
		}
	}),
	alone("a clone that would be shorter than its snapshot is refused", func(t *testing.T, h *subject) {
		a := h.snapshotOf(snapshotNamed("a"), 3, 1, 0)
		for _, record := range []string{"", "base"} {
			h.refuses(ports.ErrInvalid, func() error {
				_, err := h.Clone(h.ctx, a, replica, h.bytes(2), record)
				return err
			}, "record "+record)
		}
	}),
	alone("a clone of a missing snapshot is refused", func(t *testing.T, h *subject) {
		h.refuses(ports.ErrNotFound, func() error {
			_, err := h.Clone(h.ctx, missing, replica, h.bytes(2), "base")
			return err
		}, "clone")
	}),
}

// record is what is listed where that was recorded.
func (s *subject) record(record string) string {
	if !s.store.Records {
		return ""
	}
	return record
}
