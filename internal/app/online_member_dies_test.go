package app_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
)

// TestMemberThatDiesInAFreezeThatEndsEarly: upstream makes its RAID again for the join, which takes as long
// as the dead member is waited for. The undo finds out which member it was, and the volume is cut again
// without it.
func TestMemberThatDiesInAFreezeThatEndsEarly(t *testing.T) {
	for member := range 2 {
		synctest.Test(t, func(t *testing.T) {
			b := newLiveFixture(t, 2, liveTree, memory.Config{})
			b.noTrims = true
			b.start(10 * time.Millisecond)
			defer b.clients.Stop()
			b.inject(func(_ int, c liveCall) memory.Fault {
				if c.Method == "join" && c.N == 1 {
					b.members[member].Kill()
					return memory.Fault{Delay: 2 * app.DefaultFreezeLimit}
				}
				return memory.Fault{Delay: 4 * time.Millisecond}
			})
			_, err := app.New(nil).RebuildOnline(t.Context(), b.request())
			require.NoError(t, err)
			b.stop()
			b.members[member].Start()
			b.requireWhole()
		})
	}
}
