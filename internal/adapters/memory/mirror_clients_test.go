package memory_test

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/liveclient"
)

// clientsOf starts clients of a mirror.
func clientsOf(t *testing.T, m *memory.Mirror) *liveclient.Clients {
	t.Helper()
	c, err := liveclient.Start(m, liveclient.Config{Size: int64(m.Size()), Seed: 1, Unit: kib4, Longest: 3000})
	require.NoError(t, err)
	return c
}

// byMember reads one member of a mirror.
type byMember struct {
	*memory.Mirror
	head string
}

func (b byMember) ReadAt(p []byte, offset int64) (int, error) {
	return len(p), b.ReadMember(b.head, p, offset)
}

var _ io.ReaderAt = byMember{}

// requireServed expects that no client saw an error or other bytes, and that all members
// have the bytes that were written.
func requireServed(t *testing.T, c *liveclient.Clients, m *memory.Mirror) {
	t.Helper()
	stats := c.Stop()
	require.NoError(t, stats.Failure)
	require.NoError(t, stats.FirstWrong)
	require.Greater(t, stats.Writes, uint64(100))
	for _, it := range volume(t, m).Members {
		if it.Mode != domain.ModeERR {
			require.NoError(t, c.Check(byMember{m, it.Head}), it.Name)
		}
	}
}

// rebuildUnder takes the live head into the mirror while clients go on. build is what is
// done before it is grafted onto the local copy of the cut.
func rebuildUnder(t *testing.T, build func(f *liveFixture, m *memory.Mirror)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := newLive(t)
		m := f.mirror()
		c := clientsOf(t, m)
		time.Sleep(time.Second)
		f.prepare(2)
		require.NoError(t, m.Suspend(t.Context()))
		cut := make([]byte, m.Size())
		require.NoError(t, f.sources[0].ReadAt(f.heads[0], cut, 0))
		f.cut()
		joined := f.join(m)
		require.NoError(t, m.Resume(t.Context()))
		time.Sleep(time.Second)
		build(f, m)
		time.Sleep(time.Second)
		filling := create(t, f.to, "cut-filling", 4)
		require.NoError(t, f.to.WriteAt(filling, cut, 0))
		local := sealed(t, f.to, filling, "cut")
		require.NoError(t, f.to.Graft(t.Context(), f.live, local))
		require.NoError(t, volume(t, m).CheckUnbroken(joined))
		require.NoError(t, f.to.Rename(t.Context(), f.live, "vol-1-r-4e5f6a7b"))
		require.NoError(t, f.to.Release(t.Context(), run))
		time.Sleep(time.Second)
		require.NoError(t, volume(t, m).CheckUnbroken(joined))
		requireServed(t, c, m)
	})
}

func TestClientsDoNotNoticeRebuild(t *testing.T) {
	rebuildUnder(t, func(*liveFixture, *memory.Mirror) {})
}

func TestClientsDoNotNoticeLostSource(t *testing.T) {
	rebuildUnder(t, func(f *liveFixture, _ *memory.Mirror) { f.sources[0].Kill() })
}

func TestClientsDoNotNoticeCancelledRebuild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newLive(t)
		m := f.mirror()
		c := clientsOf(t, m)
		f.prepare(1)
		require.NoError(t, m.Suspend(t.Context()))
		f.cut()
		f.join(m)
		require.NoError(t, m.Resume(t.Context()))
		time.Sleep(time.Second)
		require.NoError(t, m.Leave(t.Context(), f.live))
		require.NoError(t, f.to.HideHead(t.Context(), "vol-1-r-4e5f6a7b"))
		require.NoError(t, f.to.Delete(t.Context(), f.live))
		time.Sleep(time.Second)
		requireServed(t, c, m)
	})
}

// A head that joins without a freeze misses writes, and clients read them from it.
func TestClientsNoticeJoinWithoutFreeze(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newLive(t)
		m := f.mirror()
		c := clientsOf(t, m)
		f.prepare(1)
		f.cut()
		time.Sleep(time.Second)
		f.join(m)
		time.Sleep(time.Second)
		require.NotZero(t, c.Stop().Wrong)
	})
}
