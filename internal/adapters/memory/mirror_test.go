package memory_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

func volume(t *testing.T, m *memory.Mirror) domain.Volume {
	t.Helper()
	v, err := m.Volume(t.Context())
	require.NoError(t, err)
	return v
}

func modes(t *testing.T, m *memory.Mirror) (found []domain.Mode) {
	t.Helper()
	for _, it := range volume(t, m).Members {
		found = append(found, it.Mode)
	}
	return found
}

func TestMirrorWritesToAllMembers(t *testing.T) {
	f := newLive(t)
	m := f.mirror()
	f.prepare(2)
	f.cut()
	joined := f.join(m)
	require.Equal(t, f.live, joined.Head)
	n, err := m.WriteAt([]byte("across"), kib4-3)
	require.NoError(t, err)
	require.Equal(t, 6, n)
	require.NoError(t, m.WriteZeroes(2*kib4+1, 2))
	want := make([]byte, 4*kib4)
	_, err = m.ReadAt(want, 0)
	require.NoError(t, err)
	require.Equal(t, "\x07across\x00", string(want[kib4-4:kib4+4]))
	require.Equal(t, []byte{7, 0, 0, 7}, want[2*kib4:2*kib4+4])
	for _, head := range []string{f.heads[0], f.heads[1], f.live} {
		got := make([]byte, len(want))
		require.NoError(t, m.ReadMember(head, got, 0))
		require.Equal(t, want, got)
	}
	_, err = m.WriteAt([]byte{1}, 4*kib4)
	require.ErrorIs(t, err, ports.ErrInvalid)
	require.Equal(t, []domain.Mode{domain.ModeRW, domain.ModeRW, domain.ModeRW}, modes(t, m))
}

func TestMirrorTrim(t *testing.T) {
	f := newLive(t)
	m := f.mirror()
	require.NoError(t, m.Trim(0, kib4))
	require.NoError(t, m.Trim(2*kib4, kib4-1))
	require.EqualValues(t, 1, look(t, f.sources[0], f.heads[0]).Own.Count, "a cluster without a parent is given back")
	f.prepare(1)
	f.cut()
	f.join(m)
	_, err := m.WriteAt([]byte{9}, 2*kib4)
	require.NoError(t, err)
	require.NoError(t, m.Trim(0, 4*kib4))
	for i, h := range []*memory.Host{f.sources[0], f.sources[1], f.to} {
		head := []string{f.heads[0], f.heads[1], f.live}[i]
		require.EqualValues(t, 1, look(t, h, head).Own.Count, "over a parent it stays own")
		reads(t, h, head, 0, 0, 0, 0)
	}
}

func TestMirrorDropsFailingMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newLive(t)
		m := f.mirror()
		f.sources[0].Kill()
		begun := time.Now()
		_, err := m.WriteAt([]byte{1}, 0)
		require.NoError(t, err)
		require.Equal(t, memory.DefaultDropAfter, time.Since(begun))
		v := volume(t, m)
		require.Equal(t, domain.ModeERR, v.Members[0].Mode)
		require.Contains(t, v.Members[0].Reason, "disk-1/vol-1-r-0a1b2c3d")
		require.Equal(t, domain.ModeRW, v.Members[1].Mode)
		f.sources[0].Start()
		_, err = m.WriteAt([]byte{2}, 0)
		require.NoError(t, err)
		reads(t, f.sources[0], f.heads[0], 7)

		require.ErrorIs(t, m.Leave(t.Context(), f.heads[1]), ports.ErrInvalid, "the last one")
		require.NoError(t, m.Leave(t.Context(), f.heads[0]))
		require.NoError(t, m.Leave(t.Context(), f.heads[0]), "again")
		f.sources[1].Isolate()
		_, err = m.ReadAt(make([]byte, 1), 0)
		require.ErrorIs(t, err, ports.ErrUnavailable)
		f.sources[1].Rejoin()
		p := make([]byte, 1)
		_, err = m.ReadAt(p, 0)
		require.NoError(t, err, "the last one stays")
		require.EqualValues(t, 2, p[0])
	})
}

func TestMirrorWaitsForIsolatedMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newLive(t)
		m := f.mirror()
		f.sources[0].Isolate()
		go func() {
			time.Sleep(time.Second)
			f.sources[0].Rejoin()
		}()
		_, err := m.WriteAt([]byte{1}, 0)
		require.NoError(t, err)
		require.Equal(t, []domain.Mode{domain.ModeRW, domain.ModeRW}, modes(t, m))
		p := make([]byte, 1)
		require.NoError(t, m.ReadMember(f.heads[0], p, 0))
		require.EqualValues(t, 1, p[0])
	})
}

func TestIdleMirrorDropsUnreachableMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newLive(t)
		m := f.mirror()
		both := []domain.Mode{domain.ModeRW, domain.ModeRW}
		for range 2 {
			f.sources[0].Isolate()
			require.Equal(t, both, modes(t, m))
			time.Sleep(memory.DefaultDropAfter / 2)
			f.sources[0].Rejoin()
			require.Equal(t, both, modes(t, m))
			time.Sleep(memory.DefaultDropAfter)
		}
		f.sources[0].Isolate()
		require.Equal(t, both, modes(t, m))
		time.Sleep(memory.DefaultDropAfter)
		require.Equal(t, []domain.Mode{domain.ModeERR, domain.ModeRW}, modes(t, m))
	})
}

// The members and the live head that reads through the dead one are dropped; the other
// source stays.
func TestMirrorDropsMemberThatLostItsExternal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newLive(t)
		m := f.mirror()
		f.prepare(1)
		f.cut()
		joined := f.join(m)
		f.sources[0].Kill()
		for range 3 {
			_, err := m.ReadAt(make([]byte, 1), 0)
			require.NoError(t, err)
		}
		require.Equal(t, []domain.Mode{domain.ModeERR, domain.ModeRW, domain.ModeERR}, modes(t, m))
		require.Error(t, volume(t, m).CheckUnbroken(joined))
	})
}

func TestMirrorMembershipIsBrokenByLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newLive(t)
		m := f.mirror()
		first := f.join(m)
		require.NoError(t, volume(t, m).CheckUnbroken(first))
		require.NoError(t, m.Leave(t.Context(), f.live))
		second := f.join(m)
		require.False(t, first.Since.Equal(second.Since), "even at the same moment")
		require.Error(t, volume(t, m).CheckUnbroken(first))
	})
}

func TestMirrorJoinRefusals(t *testing.T) {
	f := newLive(t)
	m := f.mirror()
	peer, err := m.Peer(t.Context())
	require.NoError(t, err)
	at, err := f.to.Offer(t.Context(), run, ports.Way{ID: wayID}, peer)
	require.NoError(t, err)
	_, err = m.Join(t.Context(), run, at)
	require.ErrorIs(t, err, ports.ErrUnavailable, "not connected")
	require.NoError(t, m.Connect(t.Context(), run, at))
	_, err = m.Join(t.Context(), run, at)
	require.ErrorIs(t, err, ports.ErrUnavailable, "nothing is shown")
	require.NoError(t, f.to.Show(t.Context(), run, at, f.live))
	require.NoError(t, f.to.Resize(f.live, 5*kib4))
	_, err = m.Join(t.Context(), run, at)
	require.ErrorIs(t, err, ports.ErrInvalid, "another size")
	require.NoError(t, f.to.Resize(f.live, 4*kib4))
	_, err = m.Join(t.Context(), run, at)
	require.NoError(t, err)
	_, err = m.Join(t.Context(), run, at)
	require.ErrorIs(t, err, ports.ErrExists)
}

func TestMirrorFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newLive(t)
		m := f.mirror()
		m.Inject(always("leave", memory.Fault{Before: errTorn, Delay: time.Second}))
		require.ErrorIs(t, m.Leave(t.Context(), f.heads[0]), errTorn)
		require.Len(t, volume(t, m).Members, 2)
		m.Inject(always("leave", memory.Fault{After: errTorn}))
		require.ErrorIs(t, m.Leave(t.Context(), f.heads[0]), errTorn)
		require.Len(t, volume(t, m).Members, 1)
		m.Inject(nil)
		f.join(m)
		m.Inject(func(c memory.Call) memory.Fault {
			if c.Method == "member-write" && c.UUID == f.live {
				return memory.Fault{Before: errTorn}
			}
			return memory.Fault{}
		})
		_, err := m.WriteAt([]byte{1}, 0)
		require.NoError(t, err)
		require.Equal(t, errTorn.Error(), volume(t, m).Members[1].Reason)
		m.Inject(always("volume", memory.Fault{Kill: true}))
		_, err = m.Volume(t.Context())
		require.ErrorIs(t, err, ports.ErrUnavailable)
		_, err = m.WriteAt([]byte{1}, 0)
		require.ErrorIs(t, err, ports.ErrUnavailable)
	})
}

func TestMirrorWaitsForSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newLive(t)
		m := f.mirror()
		f.sources[0].Inject(slow("snapshot"))
		taken := make(chan error)
		go func() {
			_, err := f.sources[0].Snapshot(t.Context(), f.heads[0], "s", domain.Attributes{})
			taken <- err
		}()
		synctest.Wait()
		begun := time.Now()
		_, err := m.WriteAt([]byte{1}, 0)
		require.NoError(t, err)
		require.Equal(t, time.Second, time.Since(begun))
		require.NoError(t, <-taken)
		require.EqualValues(t, 1, look(t, f.sources[0], f.heads[0]).Own.Count, "it was written after the snapshot")
	})
}

func TestSuspendedMirrorHoldsWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newLive(t)
		m := f.mirror()
		m.Inject(always("member-write", memory.Fault{Delay: time.Second}))
		done := make(chan time.Time, 2)
		write := func() {
			_, err := m.WriteAt([]byte{1}, 0)
			if err != nil {
				t.Error(err)
			}
			done <- time.Now()
		}
		begun := time.Now()
		go write()
		synctest.Wait()
		ended, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		require.ErrorIs(t, m.Suspend(ended), ports.ErrUnavailable, "it is not over in time")
		cancel()
		require.NoError(t, m.Suspend(t.Context()))
		require.Equal(t, 2*time.Second, time.Since(begun), "a second for each member")
		<-done
		require.ErrorIs(t, m.Suspend(t.Context()), ports.ErrBusy)
		m.Inject(nil)
		go write()
		time.Sleep(time.Minute)
		require.Empty(t, done)
		require.NoError(t, m.Resume(t.Context()))
		require.Equal(t, begun.Add(2*time.Second+time.Minute), <-done)
	})
}

func TestCutTakesAllSnapshotsOrNone(t *testing.T) {
	f := newLive(t)
	m := memory.CuttingMirror{Mirror: f.mirror()}
	f.sources[1].Inject(always("snapshot", memory.Fault{Before: errTorn}))
	_, err := m.Cut(t.Context(), run, "cut", morning)
	require.ErrorIs(t, err, errTorn)
	for _, source := range f.sources {
		require.Equal(t, []string{"vol-1-r-0a1b2c3d"}, names(t, source))
	}
	reads(t, f.sources[0], f.heads[0], 7, 0, 7, 0)
	f.sources[1].Inject(nil)
	name, err := m.Cut(t.Context(), run, "cut", morning)
	require.NoError(t, err)
	require.Equal(t, "cut", name)
	for _, source := range f.sources {
		require.Equal(t, []string{"vol-1-r-0a1b2c3d", domain.SnapshotLvolName("vol-1-r-0a1b2c3d", "cut")}, names(t, source))
	}
}

func TestNewMirrorRefusals(t *testing.T) {
	f := newLive(t)
	_, err := f.fabric.NewMirror(memory.MirrorConfig{Name: "vol-1"})
	require.ErrorIs(t, err, ports.ErrInvalid)
	_, err = f.fabric.NewMirror(memory.MirrorConfig{Name: "vol-1", Heads: []memory.Head{{Host: f.to, UUID: "nobody"}}})
	require.ErrorIs(t, err, ports.ErrNotFound)
	m := f.mirror()
	require.Equal(t, domain.User{Kind: domain.UserRAID, Name: "vol-1"}, look(t, f.sources[0], f.heads[0]).UsedBy)
	m.Kill()
	require.False(t, look(t, f.sources[0], f.heads[0]).UsedBy.Any())
}
