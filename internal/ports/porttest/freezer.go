package porttest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/ports"
)

// moment is the time in which a write of a client shows that it was not stopped.
const moment = 50 * time.Millisecond

var errOfWork = errors.New("the error of work")

var freezerTests = []test{
	between("clients stand still in a freeze, and go on afterwards", func(t *testing.T, a, b *subject) {
		m := mirrorOver(a, b)
		m.start()
		for range 3 {
			m.awaitWrites(5)
			require.NoError(t, m.Freezer.Freeze(a.ctx, patience, func(context.Context) error {
				time.Sleep(moment) // acknowledgements of earlier writes may still arrive
				before := m.clients.Stats().Writes
				time.Sleep(moment)
				if m.clients.Stats().Writes != before {
					t.Error("a client has written")
				}
				return nil
			}))
		}
		m.awaitWrites(5)
		m.stop()
	}),
	between("the error of work is returned, and clients go on", func(t *testing.T, a, b *subject) {
		m := mirrorOver(a, b)
		m.start()
		err := m.Freezer.Freeze(a.ctx, patience, func(context.Context) error { return errOfWork })
		require.ErrorIs(t, err, errOfWork)
		require.NotErrorIs(t, err, ports.ErrThawed)
		m.awaitWrites(5)
		m.stop()
	}),
	between("clients go on when work panics", func(t *testing.T, a, b *subject) {
		m := mirrorOver(a, b)
		m.start()
		require.Panics(t, func() {
			_ = m.Freezer.Freeze(a.ctx, patience, func(context.Context) error { panic(errOfWork) })
		})
		m.awaitWrites(5)
		m.stop()
	}),
	between("clients go on at the limit while work goes on", func(t *testing.T, a, b *subject) {
		m := mirrorOver(a, b)
		m.start()
		err := m.Freezer.Freeze(a.ctx, time.Second, func(ctx context.Context) error {
			<-ctx.Done()
			m.awaitWrites(5)
			return errOfWork
		})
		require.ErrorIs(t, err, ports.ErrThawed)
		require.ErrorIs(t, err, errOfWork)
		m.stop()
	}),
	between("clients go on when the context ends", func(t *testing.T, a, b *subject) {
		m := mirrorOver(a, b)
		m.start()
		ctx, cancel := context.WithCancel(a.ctx)
		err := m.Freezer.Freeze(ctx, patience, func(ctx context.Context) error {
			cancel()
			<-ctx.Done()
			m.awaitWrites(5)
			return nil
		})
		require.ErrorIs(t, err, ports.ErrThawed)
		err = m.Freezer.Freeze(ctx, patience, func(context.Context) error {
			t.Error("work was called after the context ended")
			return nil
		})
		require.ErrorIs(t, err, ports.ErrNotFrozen)
		m.awaitWrites(5)
		m.stop()
	}),
	between("a thaw without a freeze is no error", func(t *testing.T, a, b *subject) {
		m := mirrorOver(a, b)
		require.NoError(t, m.Freezer.Thaw(a.ctx))
		m.start()
		m.awaitWrites(5)
		require.NoError(t, m.Freezer.Thaw(a.ctx))
		m.stop()
	}),
}
