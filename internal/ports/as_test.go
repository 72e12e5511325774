package ports_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/ports"
)

// bare is a host that can do nothing beside what every host can.
type bare struct{ ports.Host }

// counting can count, too.
type counting struct{ bare }

func (counting) Count(context.Context, string) (uint64, error) { return 7, nil }

// wrapper has every capability that it knows of.
type wrapper struct{ ports.Host }

func (w wrapper) Unwrap() ports.Host { return w.Host }

func (w wrapper) Count(ctx context.Context, uuid string) (uint64, error) {
	counter, _ := ports.As[ports.Counter](w.Host)
	own, err := counter.Count(ctx, uuid)
	return own * 10, err
}

func TestAsWalksWrappers(t *testing.T) {
	_, ok := ports.As[ports.Counter](bare{})
	require.False(t, ok)
	_, ok = ports.As[ports.Counter](wrapper{wrapper{bare{}}})
	require.False(t, ok, "the host at the bottom cannot")
	_, ok = ports.As[ports.Merger](wrapper{counting{}})
	require.False(t, ok, "neither can")
	_, ok = ports.As[ports.Merger](nil)
	require.False(t, ok)

	counter, ok := ports.As[ports.Counter](wrapper{wrapper{counting{}}})
	require.True(t, ok)
	own, err := counter.Count(t.Context(), "")
	require.NoError(t, err)
	require.EqualValues(t, 700, own, "the outermost answers")
}

func TestCannotIsUnsupported(t *testing.T) {
	require.ErrorIs(t, ports.Cannot("merge snapshots"), ports.ErrUnsupported)
	require.EqualError(t, ports.Cannot("merge snapshots"), "this host cannot merge snapshots: unsupported")
}
