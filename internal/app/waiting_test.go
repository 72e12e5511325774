package app_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/ports"
)

// waitingLog are the waits that somebody was told of, with the time since it began.
type waitingLog struct {
	mu    sync.Mutex
	began time.Time
	texts []string
	at    []time.Duration
}

func (h *waitingLog) tell(text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.texts, h.at = append(h.texts, text), append(h.at, time.Since(h.began).Round(time.Second))
}

func (h *waitingLog) Observe(e app.Event) {
	if e.Kind == app.EventWaiting {
		h.tell(e.Text)
	}
}

// busyFor answers busy to calls of that kind until so much time has passed.
func busyFor(method string, long time.Duration) *rule {
	end := time.Now().Add(long)
	return on(method).where(func(memory.Call) bool { return time.Now().Before(end) }).fails(ports.ErrBusy)
}

// A rebuild that waits for what is busy says for what, soon and then now and again.
func TestRebuildReportsWaiting(t *testing.T) {
	for _, test := range []struct {
		method   string
		onSource bool
		says     string
	}{
		{"graft", false, "graft"},
		{"delete", false, "delete"},
		{"seal", false, "seal"},
		{"clone", false, "clone"},
		{"copy", true, "copy"},
		{"snapshot", true, "snapshot"},
	} {
		t.Run(test.method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, request := newDamagedFixture(t, memory.Fork, memory.Fork)
				require.NoError(t, b.source.WriteAt(list(t, b.source, sourceName).Head.UUID, []byte{1}, 0))
				told := &waitingLog{began: time.Now()}
				request.Observer = told
				at := b.destination
				if test.onSource {
					at = b.source
				}
				inject(at, busyFor(test.method, 40*time.Second))
				_, err := app.New(nil).Rebuild(t.Context(), request)
				require.NoError(t, err)
				require.GreaterOrEqual(t, len(told.texts), 2)
				require.Less(t, told.at[0], 5*time.Second, "soon")
				for _, text := range told.texts {
					require.Contains(t, text, test.says)
					require.Contains(t, text, "vol-1-r-", "of what")
				}
				require.Less(t, len(told.texts), 10, "not all the time")
			})
		})
	}
}

// Waits of a moment are not told.
func TestShortWaitIsNotReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, request := newDamagedFixture(t, memory.Fork, memory.Fork)
		told := &waitingLog{began: time.Now()}
		request.Observer = told
		inject(b.destination, busyFor("graft", time.Second))
		_, err := app.New(nil).Rebuild(t.Context(), request)
		require.NoError(t, err)
		require.Empty(t, told.texts)
	})
}

// Rebuilds of one process wait for each other: for a snapshot that both copy, and
// for the image that one of them fetches.
func TestRebuildReportsWaitForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, request := newWideFixture(t, 1, 40)
		engine := app.New(nil)
		var rebuilds sync.WaitGroup
		told := &waitingLog{began: time.Now()}
		for _, replica := range []string{copyName, "vol-1-r-8c9d0e1f"} {
			request.Destination = app.Site{Host: b.destination, Replica: replica}
			request.Bandwidth = []*app.Bandwidth{app.NewBandwidth(2 * cluster)} // 20 s
			request.Observer = told
			rebuilds.Go(func() {
				_, err := engine.Rebuild(t.Context(), request)
				require.NoError(t, err)
			})
			synctest.Wait()
		}
		rebuilds.Wait()
		require.Equal(t, []string{"for 2s now: another run of this process, which uses lvol vol-1-r-0a1b2c3d-snap-a on lvstore disk-1"}, told.texts)
	})
}

// So do the commands that work on one replica.
func TestInPlaceCommandsReportWaiting(t *testing.T) {
	for method, do := range map[string]func(context.Context, *app.Engine, app.Site) error{
		"snapshot": func(ctx context.Context, e *app.Engine, at app.Site) error {
			_, err := e.CreateSnapshot(ctx, at, "later")
			return err
		},
		"delete": func(ctx context.Context, e *app.Engine, at app.Site) error {
			_, err := e.DeleteReplica(ctx, at, nil)
			return err
		},
	} {
		t.Run(method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, request := newWideFixture(t, 1, 4)
				told := &waitingLog{began: time.Now()}
				inject(b.source, busyFor(method, 10*time.Second))
				require.NoError(t, do(app.OnWaiting(t.Context(), told.tell), app.New(nil), request.Source))
				require.Len(t, told.texts, 1)
				require.Contains(t, told.texts[0], method)
				require.Contains(t, told.texts[0], "vol-1-r-0a1b2c3d")
			})
		})
	}
}
