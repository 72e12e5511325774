package spdk

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

func TestPerf(t *testing.T) {
	b := targettest.Binaries(t)[0]
	p := &pair{from: targettest.Start(t, b, 0), to: targettest.Start(t, b, 1)}
	for _, c := range []struct{ n, size int }{{64, 1}, {32, 4}, {8, 32}} {
		from, to := openNew(t, p.from, c.n*c.size+64), openNew(t, p.to, 2*c.n*c.size+64)
		ctx := t.Context()
		var snaps []string
		for i := range c.n {
			snaps = append(snaps, snapshotOf(t, p.from, from, fmt.Sprint("vol-0-snap-", i), 64, c.size))
			if i > 0 { require.NoError(t, from.Graft(ctx, snaps[i], snaps[i-1])) }
		}
		run := newRun()
		var addrs []ports.Address
		var ls []string
		for i := range c.n { l := create(t, to, fmt.Sprint("raw-", i), 64); ls = append(ls, l); addrs = append(addrs, receive(t, to, run, l, from)) }
		require.NoError(t, from.Copy(ctx, run, snaps[0], addrs[0], nil))
		s := time.Now()
		for i := range c.n { require.NoError(t, from.Copy(ctx, run, snaps[i], addrs[i], nil)) }
		raw := time.Since(s)
		for _, l := range ls { require.NoError(t, to.Withdraw(ctx, run, l)) }
		require.NoError(t, from.Release(ctx, run)); require.NoError(t, to.Release(ctx, run))
		for _, l := range ls { require.NoError(t, to.Delete(ctx, l)) }
		run = newRun()
		s = time.Now()
		require.NoError(t, from.Release(ctx, run)); require.NoError(t, to.Release(ctx, run))
		peer, _ := from.Peer(ctx)
		done := make([]chan string, c.n)
		sem := make(chan struct{}, 4)
		for i := range done { done[i] = make(chan string, 1) }
		go func() {
			for i := range c.n {
				sem <- struct{}{}
				go func() {
					defer func() { <-sem }()
					l, err := to.Create(ctx, domain.InFlightLvolName("vol-1", newID()), 64*cluster)
					if err != nil { panic(err) }
					a, err := to.Receive(ctx, run, l, peer)
					if err != nil { panic(err) }
					if err := from.Copy(ctx, run, snaps[i], a, nil); err != nil { panic(err) }
					if err := to.Withdraw(ctx, run, l); err != nil { panic(err) }
					done[i] <- l
				}()
			}
		}()
		parent := ""
		for i := range c.n {
			l := <-done[i]
			if parent != "" { require.NoError(t, to.Graft(ctx, l, parent)) }
			var err error
			parent, err = to.Seal(ctx, l, fmt.Sprint("vol-1-snap-", i), ports.SealRecord{})
			require.NoError(t, err)
		}
		_, err := to.Clone(ctx, parent, "vol-1", 64*cluster, "base")
		require.NoError(t, err)
		require.NoError(t, from.Release(ctx, run)); require.NoError(t, to.Release(ctx, run))
		all := time.Since(s)
		fmt.Printf("%d x %d MiB: raw %v, all %v, ratio %.2f\n", c.n, c.size, raw, all, float64(all)/float64(raw))
	}
}
