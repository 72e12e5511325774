package app_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/ports"
)

// A rebuild that was whole failed, and a cancelled one left lvols behind, for one
// answer that did not come in its clean-up.
func TestACleanUpIsDoneAgainAfterAPassingFailure(t *testing.T) {
	for _, lost := range []bool{false, true} {
		fault := memory.Fault{Before: ports.ErrUnavailable}
		if lost {
			fault = memory.Fault{After: ports.ErrUnavailable}
		}
		t.Run(map[bool]string{false: "a call is not done", true: "an answer is lost"}[lost], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, request := growPlain(t)
				releases := 0
				b.destination.Inject(func(c memory.Call) memory.Fault {
					if c.Method == "release" {
						if releases++; releases > 1 && releases <= 3 { // the first one begins the run
							return fault
						}
					}
					return memory.Fault{}
				})
				_, err := app.New(nil).Rebuild(t.Context(), request)
				require.NoError(t, err)
				require.Equal(t, 4, releases)

				b, request = growPlain(t)
				failFirst(b.source, "copy", 1000, memory.Fault{Before: ports.ErrInvalid})
				failing := map[string]int{"withdraw": 2, "delete": 2}
				b.destination.Inject(func(c memory.Call) memory.Fault {
					if failing[c.Method]--; failing[c.Method] >= 0 {
						return fault
					}
					return memory.Fault{}
				})
				_, err = app.New(nil).Rebuild(t.Context(), request)
				require.ErrorIs(t, err, ports.ErrInvalid)
				require.NotErrorIs(t, err, app.ErrCleanUp)
				require.LessOrEqual(t, failing["delete"], 1, "it had something to tidy up")
				require.Empty(t, list(t, b.destination, copyName).InFlight)
			})
		})
	}
}

// A host that is gone has nothing to tidy up, and is not waited for.
func TestACleanUpDoesNotWaitForAHostThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, request := growPlain(t)
		gone := false
		b.destination.Inject(func(c memory.Call) memory.Fault {
			if gone {
				return memory.Fault{Before: ports.ErrUnavailable}
			}
			return memory.Fault{}
		})
		b.source.Inject(func(c memory.Call) memory.Fault {
			if c.Method == "copy" {
				gone = true
				return memory.Fault{Before: ports.ErrInvalid}
			}
			return memory.Fault{}
		})
		request.Parallel = 1
		began := time.Now()
		_, err := app.New(nil).Rebuild(t.Context(), request)
		require.ErrorIs(t, err, app.ErrCleanUp, "it says that something may be left")
		require.Less(t, time.Since(began), 3*time.Second)
	})
}
