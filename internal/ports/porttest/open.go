package porttest

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/ports"
)

var openTests = []test{
	alone("writes of any offset and length are read back", func(t *testing.T, h *subject) {
		l := h.create(inFlight(1), 4)
		b := h.open(l)
		size := int(h.bytes(4))
		require.EqualValues(t, size, b.Size())
		want := make([]byte, size)
		random := rand.New(rand.NewPCG(1, 2))
		for range 40 {
			from := random.IntN(size)
			p := want[from:min(size, from+1+random.IntN(size/3))]
			for i := range p {
				p[i] = byte(random.Uint32())
			}
			h.writes(b, p, from)
			from = random.IntN(size)
			h.readsBytes(b, want[from:min(size, from+1+random.IntN(size/3))], from)
		}
		h.readsBytes(b, want, 0)
		require.NoError(t, b.Close())
		got := make([]byte, size)
		h.Read(t, l, got, 0)
		require.True(t, bytes.Equal(want, got), "somebody else reads other bytes")
	}),
	alone("the end is io.EOF as io.ReaderAt requires", func(t *testing.T, h *subject) {
		b := h.open(h.snapshotOf(snapshotNamed("a"), 1, 1, 0))
		want := h.content(1)
		p := make([]byte, 100)
		n, err := b.ReadAt(p, int64(len(want)-10))
		require.ErrorIs(t, err, io.EOF)
		require.Equal(t, want[len(want)-10:], p[:n])
		for _, offset := range []int{len(want), len(want) + 1, 1 << 40} {
			n, err = b.ReadAt(p, int64(offset))
			require.ErrorIs(t, err, io.EOF)
			require.Zero(t, n)
		}
		_, err = b.ReadAt(p, -1)
		require.ErrorIs(t, err, ports.ErrInvalid)
		n, err = b.ReadAt(nil, 0)
		require.NoError(t, err)
		require.Zero(t, n)
		all, err := io.ReadAll(io.NewSectionReader(b, 0, int64(b.Size())))
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, all))
	}),
	alone("bytes are read through ancestors of any size", func(t *testing.T, h *subject) {
		short := h.snapshotOf(snapshotNamed("short"), 2, 1, 0, 1)
		a := h.snapshotOf(snapshotNamed("a"), 4, 2, 1)
		h.graft(a, short)
		b := h.open(h.clone(a, replica))
		h.readsClusters(b, 1, 2, 0, 0)
		h.writes(b, h.content(3), int(h.bytes(3)))
		h.readsClusters(b, 1, 2, 0, 3)
		h.reads(a, 1, 2, 0, 0)
	}),
	alone("a partial write keeps the rest of the cluster", func(t *testing.T, h *subject) {
		parent := h.snapshotOf(snapshotNamed("parent"), 2, 1, 0)
		head := h.clone(parent, replica)
		b := h.open(head)
		for cluster, old := range []byte{1, 0} { // of the parent, and of no cluster
			want := bytes.Clone(h.content(old))
			want[3], want[4] = 'x', 'y'
			h.writes(b, []byte("xy"), cluster*len(want)+3)
			h.readsBytes(b, want, cluster*len(want))
		}
		require.EqualValues(t, 2, h.look(head).Own.Count)
		h.reads(parent, 1, 0)
	}),
	alone("old content of the store is never read", func(t *testing.T, h *subject) {
		all := make([]uint64, h.store.FreeClusters)
		for i := range all {
			all[i] = uint64(i)
		}
		earlier := h.create(inFlight(1), uint64(len(all)))
		h.fill(earlier, 9, all...)
		h.delete(earlier)
		b := h.open(h.create(inFlight(2), 3))
		h.readsClusters(b, 0, 0, 0)
		h.writes(b, []byte{1}, 5)
		want := bytes.Clone(h.content(0))
		want[5] = 1
		h.readsBytes(b, want, 0)
		h.readsBytes(b, h.content(0), len(want))
	}),
	alone("only written clusters are allocated", func(t *testing.T, h *subject) {
		l := h.create(inFlight(1), 8)
		b := h.open(l)
		h.writes(b, append(h.content(1), h.content(2)...), int(h.bytes(3)))
		require.EqualValues(t, 2, h.look(l).Own.Count)
		h.readsClusters(b, 0, 0, 0, 1, 2, 0, 0, 0)
		require.EqualValues(t, 2, h.look(l).Own.Count, "reading allocates nothing")
	}),
	alone("a write to a snapshot is refused", func(t *testing.T, h *subject) {
		a := h.snapshotOf(snapshotNamed("a"), 2, 1, 0)
		b := h.open(a)
		h.refuses(ports.ErrInvalid, func() error { _, err := b.WriteAt(h.content(2), 0); return err }, "write")
		h.readsClusters(b, 1, 0)
	}),
	alone("a write beyond the end is refused", func(t *testing.T, h *subject) {
		b := h.open(h.create(inFlight(1), 2))
		for _, offset := range []int64{-1, int64(h.bytes(2)) - 1, int64(h.bytes(2)), 1 << 40} {
			h.refuses(ports.ErrInvalid, func() error { _, err := b.WriteAt([]byte("xy"), offset); return err }, "write")
		}
		h.readsClusters(b, 0, 0)
		n, err := b.WriteAt(nil, int64(h.bytes(2)))
		require.NoError(t, err)
		require.Zero(t, n)
	}),
	alone("a full store is ErrNoSpace", func(t *testing.T, h *subject) {
		free := h.store.FreeClusters
		l := h.create(inFlight(1), free+4)
		b := h.open(l)
		var err error
		for i := uint64(0); i < free+4 && err == nil; i++ {
			_, err = b.WriteAt(h.content(1), int64(h.bytes(i)))
		}
		require.ErrorIs(t, err, ports.ErrNoSpace)
		isOfOneKind(t, err)
		h.readsBytes(b, h.content(1), 0)
	}),
	alone("concurrent reads and writes work within one cluster", func(t *testing.T, h *subject) {
		const users = 8
		parent := h.snapshotOf(snapshotNamed("parent"), 3, 1, 0, 1, 2)
		b := h.open(h.clone(parent, replica))
		want := append(append(h.content(1), h.content(1)...), h.content(1)...)
		part := len(want) / users
		var all sync.WaitGroup
		for user := range users {
			all.Go(func() {
				mine := want[user*part : (user+1)*part]
				for i := 0; i < part; i += part/3 + 1 {
					piece := mine[i:min(part, i+part/3+1)]
					for j := range piece {
						piece[j] = byte(user + j)
					}
					if _, err := b.WriteAt(piece, int64(user*part+i)); err != nil {
						t.Error(err)
					}
				}
				got := make([]byte, part)
				if _, err := b.ReadAt(got, int64(user*part)); err != nil || !bytes.Equal(mine, got) {
					t.Errorf("user %d reads other bytes than it wrote: %v", user, err)
				}
			})
		}
		all.Wait()
		h.readsBytes(b, want, 0)
	}),
	alone("several lvols are open at the same time", func(t *testing.T, h *subject) {
		a, l := h.snapshotOf(snapshotNamed("a"), 2, 1, 0), h.create(inFlight(1), 2)
		x, y := h.open(a), h.open(l)
		h.writes(y, h.content(2), 0)
		h.readsClusters(x, 1, 0)
		require.NoError(t, x.Close())
		h.readsClusters(y, 2, 0)
	}),
	alone("an open lvol is busy until it is closed", func(t *testing.T, h *subject) {
		l := h.create(inFlight(1), 2)
		b := h.open(l)
		h.refuses(ports.ErrBusy, func() error { _, err := h.opener().Open(h.ctx, run, l); return err }, "open")
		h.writes(b, h.content(1), 0)
		require.NoError(t, b.Close())
		require.NoError(t, b.Close(), "a second time")
		_, err := b.ReadAt(make([]byte, 1), 0)
		isOfOneKind(t, err)
		_, err = b.WriteAt(make([]byte, 1), 0)
		isOfOneKind(t, err)
		again := h.open(l)
		h.readsClusters(again, 1, 0)
		require.NoError(t, again.Close())
		a := h.seal(l, snapshotNamed("a"))
		sealed := h.open(a)
		h.readsClusters(sealed, 1, 0)
		require.NoError(t, sealed.Close())
		h.delete(a)
	}),
	alone("opening a missing lvol is refused", func(t *testing.T, h *subject) {
		h.refuses(ports.ErrNotFound, func() error { _, err := h.opener().Open(h.ctx, run, missing); return err }, "open")
	}),
	alone("Bytes end with the release of a run of the replica", func(t *testing.T, h *subject) {
		l := h.create(inFlight(1), 2)
		for _, ending := range []ports.Run{run, {Replica: replica, ID: "0000cafe"}} {
			b := h.open(l)
			require.NoError(t, h.Release(h.ctx, ending))
			_, err := b.ReadAt(make([]byte, 1), 0)
			isOfOneKind(t, err)
			_, err = b.WriteAt(h.content(1), 0)
			isOfOneKind(t, err)
		}
		h.readsClusters(h.open(l), 0, 0)
	}),
	alone("Bytes of another replica's run do not end", func(t *testing.T, h *subject) {
		b := h.open(h.snapshotOf(snapshotNamed("a"), 1, 1, 0))
		require.NoError(t, h.Release(h.ctx, ports.Run{Replica: replica + "0", ID: run.ID}))
		h.readsClusters(b, 1)
	}),
	alone("Bytes end with their context", func(t *testing.T, h *subject) {
		opener := h.opener()
		l := h.create(inFlight(1), 2)
		ctx, cancel := context.WithCancel(h.ctx)
		b, err := opener.Open(ctx, run, l)
		require.NoError(t, err)
		h.readsClusters(b, 0, 0)
		cancel()
		_, err = b.ReadAt(make([]byte, 1), 0)
		require.ErrorIs(t, err, ports.ErrUnavailable)
		isOfOneKind(t, err)
		_, err = b.WriteAt(h.content(1), 0)
		require.ErrorIs(t, err, ports.ErrUnavailable)
		require.NoError(t, b.Close())
		_, err = opener.Open(ctx, run, l)
		require.ErrorIs(t, err, ports.ErrUnavailable)
		require.Zero(t, h.look(l).Own.Count)
		h.readsClusters(h.open(l), 0, 0)
	}),
	alone("Bytes end with their lvol", func(t *testing.T, h *subject) {
		l := h.create(inFlight(1), 1)
		b := h.open(l)
		h.delete(l)
		_, err := b.ReadAt(make([]byte, 1), 0)
		isOfOneKind(t, err)
		require.NoError(t, b.Close())
	}),
	alone("Bytes end with a restart, and can be opened again", func(t *testing.T, h *subject) {
		h.opener()
		h.canRestart()
		a := h.snapshotOf(snapshotNamed("a"), 2, 1, 0)
		b := h.open(a)
		h.Restart(t)
		_, err := b.ReadAt(make([]byte, 1), 0)
		require.ErrorIs(t, err, ports.ErrUnavailable)
		isOfOneKind(t, err)
		_ = b.Close() // there is nothing to close any more; that is no harm
		require.NoError(t, h.Release(h.ctx, ports.Run{Replica: replica, ID: "0000cafe"}))
		h.readsClusters(h.open(a), 1, 0)
	}),
}

func (s *subject) opener() ports.Opener {
	s.t.Helper()
	opener, ok := s.Instance.Host.(ports.Opener)
	if !ok {
		s.t.Skip("this host opens nothing")
	}
	return opener
}

// open opens an lvol until the test ends.
func (s *subject) open(uuid string) ports.Bytes {
	s.t.Helper()
	b, err := s.opener().Open(s.ctx, run, uuid)
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = b.Close() })
	return b
}

func (s *subject) writes(b ports.Bytes, p []byte, offset int) {
	s.t.Helper()
	n, err := b.WriteAt(p, int64(offset))
	require.NoError(s.t, err)
	require.Len(s.t, p, n)
}

func (s *subject) readsBytes(b ports.Bytes, want []byte, offset int) {
	s.t.Helper()
	got := make([]byte, len(want))
	n, err := b.ReadAt(got, int64(offset))
	if err != nil {
		require.ErrorIs(s.t, err, io.EOF) // it may be told together with the last bytes
	}
	require.Len(s.t, want, n)
	require.True(s.t, bytes.Equal(want, got), "other bytes at %d", offset)
}

// readsClusters expects a view of clusters of those seeds.
func (s *subject) readsClusters(b ports.Bytes, seeds ...byte) {
	s.t.Helper()
	require.Equal(s.t, s.bytes(uint64(len(seeds))), b.Size())
	for i, seed := range seeds {
		s.readsBytes(b, s.content(seed), i*int(s.store.ClusterSize))
	}
}
