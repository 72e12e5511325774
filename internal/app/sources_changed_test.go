package app_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Rule 14 for who has really served: its snapshot merges while it is copied, or
// before the copy is sealed.
func TestMergeOnSecondarySourceIsDetected(t *testing.T) {
	for _, when := range []string{"copy", "withdraw", "graft", "look"} {
		t.Run(when, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newMultiSource(t, memory.Fork, forks, chain(6, 8, 10))
				makeImage(t, g.destination, 4)
				var mu sync.Mutex
				began := on("copy").takes(time.Second) // copies that the second one serves
				found := false                         // one of them grew before it was sealed
				merging := make(chan struct{}, 1)
				var merges sync.WaitGroup
				merge := func() {
					select { // looking at the destination asks for a merge, too
					case merging <- struct{}{}:
						defer func() { <-merging }()
					default:
						return
					}
					for below, grows := range map[string]string{"s2": "s3", "s4": "s5"} {
						uuid := g.builders[1].uuids[below]
						if uuid == "" || g.sources[1].DeleteMerging(uuid) != nil { // it is being copied
							continue
						}
						delete(g.builders[1].uuids, below)
						_, sealed := list(t, g.destination, copyName).Snapshot(grows)
						mu.Lock()
						found = found || began.bySnapshot()[grows] > 0 && !sealed
						mu.Unlock()
					}
				}
				if when == "copy" {
					began.does(func() { merges.Go(func() { time.Sleep(time.Second / 2); merge() }) })
				} else {
					inject(g.destination, on(when).after(began).does(merge))
				}
				looks := on("look").after(began)
				if when == "look" {
					looks.does(merge)
				}
				inject(g.sources[1], began, looks)
				copies(g.sources[0], 2*time.Second)
				report, err := app.New(nil).Rebuild(t.Context(), g.request)
				require.NoError(t, err)
				merges.Wait()
				require.Positive(t, began.calls())
				g.requireEqual(0)
				require.Empty(t, report.Violations)
				if found {
					require.Equal(t, app.SourceLost, report.Sources[1].State)
					require.Regexp(t, "clusters of its own now|not found", report.Sources[1].Reason)
				}
				t.Log("a copy that it served grew before it was sealed:", found)
			})
		})
	}
}

// Rule 14 is for the primary, too, where another one has served: a snapshot that
// has merged there since is planned again.
func TestMergeOnPrimaryIsDetected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newMultiSource(t, memory.Fork, forks, chain(6, 8, 10))
		makeImage(t, g.destination, 4)
		copies(g.sources[0], 2*time.Second)
		var mu sync.Mutex
		second := copies(g.sources[1], time.Second)
		grown := ""
		var replanned atomic.Bool
		g.destination.Inject(func(c memory.Call) memory.Fault {
			for i := range 5 {
				below, above := fmt.Sprint("s", i), fmt.Sprint("s", i+1)
				mu.Lock()
				if c.Method == "seal" && grown == above && strings.HasSuffix(c.Name, above) && !replanned.Load() {
					t.Errorf("%s is sealed as it was before it grew", above)
				}
				now := c.Method == "seal" && strings.HasSuffix(c.Name, below) && second.bySnapshot()[above] > 0 && grown == ""
				if now {
					grown = above
				}
				mu.Unlock()
				// It was compared a moment ago, and what hangs on it grows now.
				for now && errors.Is(g.sources[0].DeleteMerging(g.builders[0].uuids[below]), ports.ErrBusy) {
					time.Sleep(100 * time.Millisecond)
				}
			}
			return memory.Fault{}
		})
		again := 0
		g.request.Observer = observe(func(e app.Event) {
			if e.Kind == app.EventAgain {
				again++
				replanned.Store(true)
			}
		})
		report, err := app.New(nil).Rebuild(t.Context(), g.request)
		require.NoError(t, err)
		require.NotEmpty(t, grown, "the second source has served nothing in the chain")
		require.Equal(t, 1, again)
		require.Equal(t, app.SourcePrimary, report.Sources[0].State)
		g.requireEqual(0)
	})
}

// What is not seen to be whole as long as its source answers is not believed.
func TestCopyDiscardedWhenSourceRecheckFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newMultiSource(t, memory.Fork, forks, wide(1, 4)) // one copy for each
		makeImage(t, g.destination, 4)
		copies(g.sources[0], 2*time.Second)
		copied := copies(g.sources[1], time.Second)
		inject(g.sources[1], copied, on("look").after(copied).fails(errNoAnswer))
		report, err := app.New(nil).Rebuild(t.Context(), g.request)
		require.NoError(t, err)
		require.Positive(t, copied.calls())
		require.Empty(t, report.Sources[1].Snapshots)
		require.Len(t, report.Sources[0].Snapshots, 2)
		g.requireEqual(0)
	})
}
