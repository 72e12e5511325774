package nvmetcp

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmetcp/wire"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget/nvmeserver"
)

func random(seed byte, n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(p)
	return p
}

func TestReadsWhatIsWritten(t *testing.T) {
	for name, change := range map[string]func(*nvmeserver.Limits){
		"as SPDK":                      func(*nvmeserver.Limits) {},
		"data in small PDUs":           func(l *nvmeserver.Limits) { l.Data, l.Answer = 4096, 1000 },
		"data far into a PDU":          func(l *nvmeserver.Limits) { l.Align = 31 },
		"an answer after the data":     func(l *nvmeserver.Limits) { l.Success = false },
		"two pages a command":          func(l *nvmeserver.Limits) { l.Transfer = 1 },
		"few entries in a queue":       func(l *nvmeserver.Limits) { l.Entries, l.Transfer = 32, 2 },
		"long transfers in small PDUs": func(l *nvmeserver.Limits) { l.Data, l.Transfer, l.Align = 4096, 7, 7 },
	} {
		t.Run(name, func(t *testing.T) {
			const size = 3<<20 + 8*512
			d := newDisk(512, size)
			server := nvmeserver.NewServer(&shown{disks: map[uint32]*disk{1: d}})
			change(&server.Limits)
			n := find(t, dial(t, serve(t, server)), 1)
			require.EqualValues(t, size, n.Size())
			require.EqualValues(t, 512, n.BlockSize())
			require.Equal(t, d.nguid, n.NGUID())

			want := random(1, size)
			require.NoError(t, n.Write(t.Context(), want, 0))
			require.True(t, d.holds(want))
			got := make([]byte, size)
			require.NoError(t, n.Read(t.Context(), got, 0))
			require.True(t, bytes.Equal(want, got))

			piece := random(2, 512*700)
			require.NoError(t, n.Write(t.Context(), piece, 512*301))
			copy(want[512*301:], piece)
			require.True(t, d.holds(want))
			require.NoError(t, n.Read(t.Context(), got[:512*3], 512*300))
			require.True(t, bytes.Equal(want[512*300:512*303], got[:512*3]))
			require.NoError(t, n.Read(t.Context(), nil, 0))
		})
	}
}

func TestConcurrentReadsAndWrites(t *testing.T) {
	const each, users = 256 << 10, 16
	d := newDisk(4096, each*users)
	n := open(t, d)
	var all sync.WaitGroup
	for user := range users {
		all.Go(func() {
			got := make([]byte, each)
			for round := range byte(3) {
				want := random(byte(user)+round, each)
				if err := n.Write(t.Context(), want, uint64(user*each)); err != nil {
					t.Error(err)
				}
				if err := n.Read(t.Context(), got, uint64(user*each)); err != nil || !bytes.Equal(want, got) {
					t.Errorf("user %d reads other bytes: %v", user, err)
				}
			}
		})
	}
	all.Wait()
}

func TestConnectIsRefused(t *testing.T) {
	address := serve(t, nvmeserver.NewServer(&shown{}))
	_, err := Dial(t.Context(), Config{Address: address, NQN: subNQN, HostNQN: hostNQN + "2"})
	require.ErrorContains(t, err, "connect: this host is not allowed")
	var refusal *wire.StatusError
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, wire.StatusHostNotAllowed, refusal.Status)
	_, err = Dial(t.Context(), Config{Address: address, NQN: subNQN + "2", HostNQN: hostNQN})
	require.ErrorContains(t, err, "no such subsystem")
	_, err = Dial(t.Context(), Config{Address: address, NQN: subNQN})
	require.ErrorContains(t, err, "HostNQN")
	_, err = Dial(t.Context(), Config{Address: "127.0.0.1:1", NQN: subNQN, HostNQN: hostNQN})
	require.ErrorContains(t, err, subNQN+" at 127.0.0.1:1")
}

func TestNamespacesComeAndGo(t *testing.T) {
	s := &shown{disks: map[uint32]*disk{}}
	session := dial(t, serve(t, nvmeserver.NewServer(s)))
	_, err := session.Namespace(t.Context(), 7)
	require.ErrorContains(t, err, "no such namespace")
	s.set(7, newDisk(512, 4096))
	n := find(t, session, 7)
	require.NoError(t, n.Read(t.Context(), make([]byte, 4096), 0))
	s.set(7, nil)
	var refusal *wire.StatusError
	require.ErrorAs(t, n.Read(t.Context(), make([]byte, 4096), 0), &refusal)
	require.Equal(t, wire.StatusInvalidNamespace, refusal.Status)
	s.set(7, newDisk(512, 1024))
	require.ErrorContains(t, n.Read(t.Context(), make([]byte, 4096), 0), "beyond the end")
}

func TestOutOfRangeIsNotSent(t *testing.T) {
	n := open(t, newDisk(4096, 8192))
	p := make([]byte, 8192)
	require.ErrorContains(t, n.Read(t.Context(), p[:100], 0), "whole blocks of 4096")
	require.ErrorContains(t, n.Read(t.Context(), p[:4096], 512), "whole blocks")
	require.ErrorContains(t, n.Read(t.Context(), p, 4096), "it has 8192 bytes")
	require.ErrorContains(t, n.Write(t.Context(), p, 1<<63), "it has 8192 bytes")
	require.NoError(t, n.Write(t.Context(), p, 0), "the session goes on")
}

func TestDiskErrorIsAStatus(t *testing.T) {
	d := newDisk(512, 1<<20)
	n := open(t, d)
	d.failWith(errors.New("broken"))
	require.ErrorContains(t, n.Read(t.Context(), make([]byte, 1<<20), 0), "unrecovered read error (status 0x281)")
	require.ErrorContains(t, n.Write(t.Context(), make([]byte, 1<<20), 0), "write fault")
	d.failWith(&wire.StatusError{Status: wire.StatusCapacityExceeded})
	require.ErrorContains(t, n.Write(t.Context(), make([]byte, 512), 0), "capacity exceeded")
	d.failWith(nil)
	require.NoError(t, n.Write(t.Context(), make([]byte, 512), 0))
}

func TestContextEndsHangingCommandAndSession(t *testing.T) {
	for _, write := range []bool{false, true} {
		d := newDisk(512, 64<<20)
		n := open(t, d)
		use := n.Read
		if write {
			use = n.Write
		}
		gate := d.stop()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- use(ctx, make([]byte, 64<<20), 0) }()
		<-d.reached
		cancel()
		require.ErrorIs(t, <-ended, context.Canceled)
		close(gate)
		require.ErrorIs(t, n.Read(t.Context(), make([]byte, 512), 0), context.Canceled)
	}
}

func TestCommandTimesOut(t *testing.T) {
	d := newDisk(512, 4096)
	address := serve(t, nvmeserver.NewServer(&shown{disks: map[uint32]*disk{1: d}}))
	session, err := Dial(t.Context(), Config{Address: address, NQN: subNQN, HostNQN: hostNQN, Timeout: time.Second})
	require.NoError(t, err)
	defer session.Close()
	n := find(t, session, 1)
	defer close(d.stop())
	require.ErrorContains(t, n.Read(t.Context(), make([]byte, 512), 0), "no answer for 1s")
}

func TestCommandsEndWithTheConnection(t *testing.T) {
	for _, end := range []func(*nvmeserver.Server, *Session){
		func(server *nvmeserver.Server, _ *Session) { server.Disconnect(subNQN) },
		func(server *nvmeserver.Server, _ *Session) { server.DisconnectHost(subNQN, hostNQN) },
		func(_ *nvmeserver.Server, session *Session) { _ = session.Close() },
	} {
		d := newDisk(512, 4096)
		server := nvmeserver.NewServer(&shown{disks: map[uint32]*disk{1: d}})
		session := dial(t, serve(t, server))
		n := find(t, session, 1)
		gate := d.stop()
		ended := make(chan error)
		go func() { ended <- n.Read(t.Context(), make([]byte, 4096), 0) }()
		<-d.reached
		end(server, session)
		require.Error(t, <-ended)
		close(gate)
		require.Error(t, n.Read(t.Context(), make([]byte, 4096), 0))
		_, err := session.Namespace(t.Context(), 1)
		require.Error(t, err)
	}
}

func TestDialEndsWithItsContextAndTimeout(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	ctx, cancel := context.WithCancel(t.Context())
	config := Config{Address: silent.Addr().String(), NQN: subNQN, HostNQN: hostNQN}
	go func() {
		conn, err := silent.Accept()
		if err == nil {
			defer conn.Close()
			cancel()
			<-t.Context().Done()
		}
	}()
	_, err = Dial(ctx, config)
	require.ErrorIs(t, err, context.Canceled)
	config.Timeout = 50 * time.Millisecond
	_, err = Dial(t.Context(), config)
	require.ErrorContains(t, err, "timeout")
}

func TestClosedServerServesNobody(t *testing.T) {
	server := nvmeserver.NewServer(&shown{})
	require.NoError(t, server.Close())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.ErrorIs(t, server.Serve(l), nvmeserver.ErrServerClosed)
}
