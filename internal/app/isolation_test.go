package app_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
)

// endsWithin is how long the calls of a host that hangs are waited for: one of a copy,
// and one of the clean-up after it. Adapters give up sooner.
const endsWithin = 15 * time.Minute

// What two rebuilds of one process may share, while the host of one hangs at any of
// its calls: the other one is not held up, or, where it has to wait for something
// that the first one holds, it goes on once that has ended.
func TestOtherRebuildsGoOn(t *testing.T) {
	t.Parallel()
	type pair struct {
		hung, other app.Request
		hangs       *memory.Host
	}
	for _, test := range []struct {
		name   string
		shares func(w *hostSet) pair
		waits  bool // for what the first one holds
	}{
		{"nothing", func(w *hostSet) pair {
			return pair{w.volume("v", "source", "destination"), w.volume("w", "third", "fourth"), w.hosts["destination"]}
		}, false},
		{"the names of the replicas, on other hosts", func(w *hostSet) pair {
			return pair{w.volume("v", "source", "destination"), w.volume("v", "third", "fourth"), w.hosts["destination"]}
		}, false},
		{"the source host", func(w *hostSet) pair {
			return pair{w.volume("v", "source", "destination"), w.volume("w", "source", "fourth"), w.hosts["destination"]}
		}, false},
		{"the destination host", func(w *hostSet) pair {
			return pair{w.volume("v", "source", "destination"), w.volume("w", "third", "destination"), w.hosts["source"]}
		}, false},
		{"the source replica", func(w *hostSet) pair {
			v := w.volume("v", "source", "destination")
			other := v
			other.Volume, other.Destination.Host = "w", w.hosts["fourth"]
			return pair{v, other, w.hosts["destination"]}
		}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for n := 1; ; n++ {
				over := false
				synctest.Test(t, func(t *testing.T) {
					w := newHostSet(t, memory.Fork, "source", "destination", "third", "fourth")
					p := test.shares(w)
					calls := hangFrom(p.hangs, n)
					engine := app.New(nil)
					var hung sync.WaitGroup
					began, ended := time.Now(), time.Duration(0)
					hung.Go(func() {
						_, _ = engine.Rebuild(t.Context(), p.hung)
						ended = time.Since(began)
					})
					synctest.Wait()
					_, err := engine.Rebuild(t.Context(), p.other)
					require.NoError(t, err, "call %d", n)
					took := time.Since(began)
					hung.Wait()
					if !test.waits {
						require.Zero(t, took, "call %d holds it up", n)
					}
					require.LessOrEqual(t, took, endsWithin, "call %d", n)
					require.LessOrEqual(t, ended, endsWithin, "call %d", n)
					w.requireRebuilt(p.other)
					over = calls.calls() < n
				})
				if over {
					break
				}
			}
		})
	}
}
