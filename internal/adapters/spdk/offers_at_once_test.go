package spdk

import (
	"context"
	"net"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Two hosts of one target offer the two paths of a way: the second one offers while the first
// one is about to send any of its calls. Neither removes the other's path.
func TestTwoHostsOfATargetOfferOneWay(t *testing.T) {
	t.Parallel()
	fabric := simtarget.NewFabric()
	from, to := targettest.Simulate(t, fabric, simtarget.Fork), openNew(t, targettest.Simulate(t, fabric, simtarget.Fork), 32)
	other := openNew(t, from, 32)
	store := from.NewStore(t, 32)
	for call, came := int64(1), true; came; call++ {
		writes := &countedWrites{}
		host, err := Open(t.Context(), Config{Socket: from.Socket, Lvstore: store, Dial: writes.dial})
		require.NoError(t, err)
		run, way, ways := newRun(), ports.Way{ID: newID()}, make([]ports.Address, 2)
		came = false
		writes.before(call, func() {
			came = true
			ways[1] = offer(t, run, other, ports.Way{ID: way.ID, Path: 1}, to)
		})
		ways[0] = offer(t, run, host, way, to)
		if came {
			require.NoError(t, to.Connect(t.Context(), run, ways...), "call %d", call)
			cuts := [2]string{snapshotOf(t, from, host, "cut-"+run.ID, 2, 1), snapshotOf(t, from, other, "cut-"+run.ID, 2, 1)}
			require.NoError(t, host.Show(t.Context(), run, ways[0], cuts[0]))
			require.NoError(t, other.Show(t.Context(), run, ways[1], cuts[1]))
			head := create(t, to, domain.InFlightLvolName(run.Replica, newID()), 2)
			require.NoError(t, to.GraftExternal(t.Context(), run, head, ways...))
			require.NoError(t, to.Delete(t.Context(), head))
			require.NoError(t, host.Hide(t.Context(), run, ways[0]))
			require.NoError(t, other.Hide(t.Context(), run, ways[1]))
			require.NoError(t, host.Delete(t.Context(), cuts[0]))
			require.NoError(t, other.Delete(t.Context(), cuts[1]))
		}
		for _, h := range []*Host{to, host, other} {
			require.NoError(t, h.Release(t.Context(), run))
		}
		require.NoError(t, host.Close())
	}
}

// countedWrites calls a function once, before a write to a target.
type countedWrites struct {
	left atomic.Int64
	do   func()
}

// before has do called before the n-th write from now on.
func (c *countedWrites) before(n int64, do func()) {
	c.do = do
	c.left.Store(n)
}

func (c *countedWrites) dial(ctx context.Context, socket string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	return countedConn{conn, c}, err
}

type countedConn struct {
	net.Conn
	*countedWrites
}

func (c countedConn) Write(p []byte) (int, error) {
	if c.left.Add(-1) == 0 {
		c.do()
	}
	return c.Conn.Write(p)
}
