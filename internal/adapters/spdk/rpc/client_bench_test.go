package rpc

import (
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/longhorn/go-spdk-helper/pkg/jsonrpc"
	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
)

// socketPoll is how often SPDK looks at its sockets (RPC_SELECT_INTERVAL).
const socketPoll = 4 * time.Millisecond

// BenchmarkTransport does the same calls with this client and with
// go-spdk-helper's, in one run and taking turns: 16 one after the other, and 64
// at once. x-faster is how many times this one is faster. It is done on a
// simulated target that polls its socket as SPDK does, and on each real target
// that is found. With -benchtime=30x it takes a minute or two.
func BenchmarkTransport(b *testing.B) {
	b.Run("simulated", func(b *testing.B) {
		dir, err := os.MkdirTemp("", "rpc") // b.TempDir can be too long for a socket
		require.NoError(b, err)
		target, err := simtarget.NewFabric().Start(simtarget.Config{Socket: filepath.Join(dir, "s"), Poll: socketPoll})
		require.NoError(b, err)
		defer func() {
			target.Kill()
			require.NoError(b, os.RemoveAll(dir))
		}()
		compareTransports(b, filepath.Join(dir, "s"))
	})
	b.Run("real", func(b *testing.B) {
		for _, binary := range targettest.Binaries(b) {
			b.Run(filepath.Base(filepath.Dir(binary)), func(b *testing.B) {
				target, err := targettest.Launch(binary)
				require.NoError(b, err)
				defer func() { require.NoError(b, target.Close()) }()
				compareTransports(b, target.Socket)
			})
		}
	})
}

func compareTransports(b *testing.B, socket string) {
	const method = "bdev_lvol_get_lvstores"
	ours := NewClient(socket, time.Minute, nil)
	defer ours.Close()
	conn, err := net.Dial("unix", socket)
	require.NoError(b, err)
	helper := jsonrpc.NewClient(b.Context(), conn)

	one := func() { require.NoError(b, ours.call(b.Context(), method, nil, nil)) }
	theirs := func() {
		if _, err := helper.SendCommand(method, nil); err != nil {
			b.Error(err)
		}
	}
	for _, shape := range []struct {
		name         string
		ours, theirs func()
	}{
		{"16 one after the other", repeat(one), repeat(theirs)},
		{"64 at once", func() {
			calls := make([]*Call, 64)
			for i := range calls {
				calls[i] = newCall(method, nil, nil)
			}
			ours.Do(b.Context(), Requests(calls)...)
			for _, c := range calls {
				require.NoError(b, c.Err)
			}
		}, func() {
			var all sync.WaitGroup
			for range 64 {
				all.Go(theirs)
			}
			all.Wait()
		}},
	} {
		b.Run(shape.name, func(b *testing.B) {
			var us, them time.Duration
			for b.Loop() {
				us += timeOf(shape.ours)
				them += timeOf(shape.theirs)
			}
			b.ReportMetric(us.Seconds()*1000/float64(b.N), "ms-ours")
			b.ReportMetric(them.Seconds()*1000/float64(b.N), "ms-helper")
			b.ReportMetric(them.Seconds()/us.Seconds(), "x-faster")
		})
	}
}

func timeOf(do func()) time.Duration {
	began := time.Now()
	do()
	return time.Since(began)
}

func repeat(do func()) func() {
	return func() {
		for range 16 {
			do()
		}
	}
}
