package nvmetcp

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmetcp/wire"
)

func TestZeroesAndDeallocations(t *testing.T) {
	const size = 1 << 20
	d := newDisk(4096, size)
	n := open(t, d)
	want := bytes.Repeat([]byte{7}, size)
	require.NoError(t, n.Write(t.Context(), want, 0))

	require.NoError(t, n.WriteZeroes(t.Context(), 8192, 4096))
	clear(want[8192:12288])
	require.True(t, d.holds(want))
	require.NoError(t, n.Deallocate(t.Context(), 1<<19, 1<<19))
	clear(want[1<<19:])
	require.True(t, d.holds(want))

	for _, use := range []func(context.Context, uint64, uint64) error{n.WriteZeroes, n.Deallocate} {
		require.ErrorContains(t, use(t.Context(), 0, 0), "whole blocks")
		require.ErrorContains(t, use(t.Context(), 512, 4096), "whole blocks")
		require.ErrorContains(t, use(t.Context(), size-4096, 8192), "it has 1048576 bytes")
		d.failWith(errors.New("broken"))
		require.ErrorContains(t, use(t.Context(), 0, 4096), "write fault")
		d.failWith(nil)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, use(ended, 0, 4096), context.Canceled)
	}
	require.True(t, d.holds(want))
}

// What a host sends that is not this package's is looked at, too.
func TestRangesAreChecked(t *testing.T) {
	n := open(t, newDisk(4096, 1<<20))
	ranges := func(count int, first uint64, change func(*wire.Entry)) error {
		e := wire.NewCommand(wire.OpManage, 1)
		e.Transfers(wire.RangeSize, wire.SGLTransport)
		e.DeallocatesRanges(1)
		change(e)
		data := make([]byte, wire.RangeSize)
		le.PutUint32(data[4:], uint32(count))
		le.PutUint64(data[8:], first)
		c, err := n.session.io.start(t.Context(), e, nil, nil, data)
		require.NoError(t, err)
		<-c.done
		return c.err
	}
	plain := func(*wire.Entry) {}
	require.NoError(t, ranges(1, 255, plain))
	require.NoError(t, ranges(0, 0, plain))
	require.ErrorContains(t, ranges(2, 255, plain), "beyond the end")
	require.ErrorContains(t, ranges(1, 1<<63, plain), "beyond the end")
	require.ErrorContains(t, ranges(1, 0, func(e *wire.Entry) { le.PutUint32(e[40:], 1) }), "invalid field")
	require.ErrorContains(t, ranges(1, 0, func(e *wire.Entry) { le.PutUint32(e[44:], 0) }), "invalid field")
}
