package app_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/ports"
)

// slowToTidy is a host whose Seal has something left to do once the snapshot is
// there.
type slowToTidy struct {
	*memory.Host

	tidy    func(snapshot string) error
	grafted func(parent string)
}

func (h *slowToTidy) Seal(ctx context.Context, uuid, name string, seal ports.SealRecord) (string, error) {
	snapshot, err := h.Host.Seal(ctx, uuid, name, seal)
	if err != nil {
		return "", err
	}
	if err := h.tidy(snapshot); err != nil {
		return "", err
	}
	return snapshot, nil
}

func (h *slowToTidy) Graft(ctx context.Context, uuid, parent string) error {
	h.grafted(parent)
	return h.Host.Graft(ctx, uuid, parent)
}

// Each seal but the
// last ends only when something was grafted onto the snapshot.
func TestGraftOverlapsCleanupOfSeal(t *testing.T) {
	const n = 5
	b, request := newChainFixture(t, n)
	var mu sync.Mutex
	changed := sync.NewCond(&mu)
	onto, seals := make(map[string]bool), 0
	request.Destination.Host = &slowToTidy{
		Host: b.destination,
		tidy: func(snapshot string) error {
			mu.Lock()
			defer mu.Unlock()
			for seals++; seals < n && !onto[snapshot]; {
				changed.Wait()
			}
			return nil
		},
		grafted: func(parent string) {
			mu.Lock()
			defer mu.Unlock()
			onto[parent] = true
			changed.Broadcast()
		},
	}
	_, err := app.New(nil).Rebuild(t.Context(), request)
	require.NoError(t, err)
	requireEqualViews(t, b, sourceName, copyName, true)
}

// Other snapshots have it as their parent by then. No head is created, and the next run
// copies it again if it cannot be proven.
func TestLateSealFailureEndsRebuild(t *testing.T) {
	for _, flavour := range []memory.Flavour{memory.Fork, memory.Upstream} {
		t.Run(fmt.Sprint(flavour), func(t *testing.T) {
			b, request := newPlainFixtureOn(t, flavour)
			var once sync.Once
			request.Destination.Host = &slowToTidy{
				Host: b.destination,
				tidy: func(string) (err error) {
					once.Do(func() { err = fmt.Errorf("the rest is not empty: %w", ports.ErrCorrupt) })
					return err
				},
				grafted: func(string) {},
			}
			_, err := app.New(nil).Rebuild(t.Context(), request)
			require.ErrorIs(t, err, ports.ErrCorrupt)
			left := list(t, b.destination, copyName)
			require.Nil(t, left.Head)
			require.Empty(t, left.InFlight)
			request.Destination.Host = b.destination
			report, err := app.New(nil).Rebuild(t.Context(), request)
			require.NoError(t, err)
			if flavour == memory.Upstream {
				require.EqualValues(t, fieldSnapshots*cluster, report.CopiedBytes, "nothing is proven here")
			}
			requireEqualViews(t, b, sourceName, copyName, true)
		})
	}
}

// However many workers there are.
func TestSealWaitsForGraftAndCounts(t *testing.T) {
	b, request := newChainFixture(t, 20)
	request.Parallel = 8
	inject(b.destination, on("seal").doesTo(func(c memory.Call) {
		l, err := b.destination.Look(t.Context(), c.UUID)
		require.NoError(t, err)
		require.NotEmpty(t, l.Parent, "%s is sealed before it hangs on something", c.Name)
	}))
	_, err := app.New(nil).Rebuild(t.Context(), request)
	require.NoError(t, err)

	// Of the count that a seal waits for, at the source.
	b, request = newChainFixture(t, 3)
	looks := on("look").of("s2").nth(2).fails(ports.ErrInvalid) // for good
	inject(b.source, looks)
	_, err = app.New(nil).Rebuild(t.Context(), request)
	require.ErrorIs(t, err, ports.ErrInvalid)
	require.Equal(t, 2, looks.calls())
	require.Len(t, list(t, b.destination, copyName).Snapshots, 2, "what was not counted is not sealed")
}
