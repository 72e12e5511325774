package app_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
)

// At each call of a rebuild the garbage of both hosts is collected, by the same process
// and by another one: nothing goes, and the rebuild does not notice.
func TestGCTouchesNothingThatALiveRunOwns(t *testing.T) {
	t.Parallel()
	for _, flavour := range []memory.Flavour{memory.Fork, memory.Upstream} {
		for _, another := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v, another process: %v", flavour, another), func(t *testing.T) {
				t.Parallel()
				collected := 0
				for n := int64(1); ; n++ {
					over := false
					synctest.Test(t, func(t *testing.T) { over = collectAt(t, flavour, another, n) })
					if over {
						break
					}
					collected++
				}
				require.Greater(t, collected, 30)
			})
		}
	}
}

func collectAt(t *testing.T, flavour memory.Flavour, another bool, n int64) (over bool) {
	w := newHostSet(t, flavour, "source", "destination")
	request := w.volume("own", "source", "destination")
	engine := app.New(nil)
	collector := engine
	if another {
		collector = app.New(nil)
	}
	var calls atomic.Int64
	var collecting atomic.Bool
	ended := make(chan struct{})
	meet := func(memory.Call) memory.Fault {
		if collecting.Load() || calls.Add(1) != n {
			return memory.Fault{}
		}
		collecting.Store(true)
		go func() {
			defer close(ended)
			for name, host := range w.hosts {
				removed, err := collector.RemoveGarbage(t.Context(), host)
				if err != nil {
					t.Errorf("call %d: collect on the %s: %v", n, name, err)
				}
				for _, l := range removed.Lvols {
					if l.Stays == "" {
						t.Errorf("call %d: %s was removed from the %s", n, l.Lvol.Name, name)
					}
				}
				for _, o := range removed.Opened {
					if o.Stays == "" {
						t.Errorf("call %d: %v was closed on the %s", n, o, name)
					}
				}
			}
			collecting.Store(false)
		}()
		return memory.Fault{Delay: time.Second} // the collection is over by then
	}
	for _, host := range w.hosts {
		host.Inject(meet)
	}
	report, err := engine.Rebuild(t.Context(), request)
	for _, host := range w.hosts {
		host.Inject(nil)
	}
	if calls.Load() < n {
		require.NoError(t, err)
		return true
	}
	<-ended
	require.NoError(t, err, "call %d", n)
	require.EqualValues(t, 4*cluster, report.CopiedBytes, "call %d: it copied once", n)
	w.requireRebuilt(request)
	return false
}
