package keylock

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

func TestTakeWaitsForTheHolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Locks
		release, err := l.Take(t.Context(), "b", "a", "b")
		require.NoError(t, err)
		_, ok := l.Try("a")
		require.False(t, ok)
		other, ok := l.Try("c")
		require.True(t, ok, "another key is free")
		other()

		taken := make(chan func())
		go func() {
			next, err := l.Take(t.Context(), "a")
			if err != nil {
				t.Error(err)
			}
			taken <- next
		}()
		synctest.Wait()
		select {
		case <-taken:
			t.Fatal("two have the lock")
		default:
		}
		release()
		(<-taken)()
		require.Empty(t, l.held, "nobody has a lock, so there is none")
	})
}

func TestTakeEndsWithItsContext(t *testing.T) {
	var l Locks
	release, err := l.Take(t.Context(), "b")
	require.NoError(t, err)
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	_, err = l.Take(ctx, "a", "b")
	require.ErrorIs(t, err, why)
	require.ErrorContains(t, err, "wait for b, which is in use")
	free, ok := l.Try("a")
	require.True(t, ok, "what was taken before is given back")
	free()
	release()
	require.Empty(t, l.held)
}
