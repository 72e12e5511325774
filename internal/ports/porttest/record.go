package porttest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

var recordTests = []test{
	alone("a record can be written on a head and written again", func(t *testing.T, h *subject) {
		recorder := h.recorder()
		head := h.create(replica, 2)
		h.fill(head, 1, 0)
		want := h.look(head)
		for _, record := range []string{"base", domain.RecordNoBase, "other-base"} {
			require.NoError(t, recorder.Record(h.ctx, head, record))
			want.Record = record
			require.Equal(t, want, h.look(head))
		}
	}),
	alone("snapshots and grafts keep the head's record, and snapshots have none", func(t *testing.T, h *subject) {
		recorder := h.recorder()
		head := h.create(replica, 2)
		require.NoError(t, recorder.Record(h.ctx, head, "base"))
		a, err := h.Snapshot(h.ctx, head, snapshotNamed("a"), morning)
		require.NoError(t, err)
		require.Equal(t, "base", h.look(head).Record)
		require.Empty(t, h.look(a).Record)
		h.graft(head, "")
		require.Equal(t, "base", h.look(head).Record)
		require.Empty(t, h.look(h.clone(a, "vol-2-r-4e5f6a7b")).Record, "a clone has only what it was given")
	}),
	alone("a record on a missing lvol is refused", func(t *testing.T, h *subject) {
		recorder := h.recorder()
		h.refuses(ports.ErrNotFound, func() error { return recorder.Record(h.ctx, missing, "base") }, "record")
	}),
	alone("a host without records is ErrUnsupported", func(t *testing.T, h *subject) {
		if h.store.Records {
			t.Skip("this host keeps records")
		}
		head := h.create(replica, 1)
		if recorder, ok := h.Instance.Host.(ports.Recorder); ok {
			h.refuses(ports.ErrUnsupported, func() error { return recorder.Record(h.ctx, head, "base") }, "record")
		}
		require.Empty(t, h.look(head).Record)
	}),
}

func (s *subject) recorder() ports.Recorder {
	if !s.store.Records {
		s.t.Skip("this host keeps no records")
	}
	require.Implements(s.t, (*ports.Recorder)(nil), s.Instance.Host)
	return s.Instance.Host.(ports.Recorder)
}
